from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg
import pytest
from dagster_shared.serdes import serialize_value

from peebot_dagster.defs.posts import POSTS, posts_asset
from peebot_dagster.defs.resources import Store
from peebot_dagster.detectors.detector import Detector

MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEEBOT_POSTS", "dry_run")


def visit(connection: psycopg.Connection, started_at: datetime) -> None:
    connection.execute(
        "INSERT INTO detected_event (event_id, detector, detector_version, event_type, started_at, ended_at,"
        " state, confidence, payload) VALUES (gen_random_uuid(), 'urine_tank', '1', 'toilet_visit', %s, %s,"
        """ 'closed', 0.95, '{"amount_percent": 4, "amount_ml": 328, "upa_processing": false}')""",
        (started_at, started_at + MINUTE),
    )
    connection.commit()


def test_the_op_tweet_drains_the_outbox_once_and_shows_what_it_decided(
    database_url: str, connection: psycopg.Connection, instance: dg.DagsterInstance, jump: Detector
) -> None:
    now = datetime.now(UTC)
    visit(connection, now - 5 * MINUTE)
    visit(connection, now - 300 * MINUTE)
    store = {"store": Store(database_url=database_url)}

    first = dg.materialize([posts_asset([jump])], instance=instance, resources=store)
    second = dg.materialize([posts_asset([jump])], instance=instance, resources=store)

    assert [event.step_key for event in first.get_step_success_events()] == ["tweet"]
    (shown,) = [m.metadata for m in first.asset_materializations_for_node("tweet")]
    assert (shown["dry_run"].value, shown["skipped"].value) == (1, 1)
    (post,) = connection.execute("SELECT text FROM post WHERE state = 'dry_run'").fetchall()
    assert post[0] in str(shown["texts"].value)
    (shown_again,) = [m.metadata for m in second.asset_materializations_for_node("tweet")]
    assert (shown_again["dry_run"].value, shown_again["skipped"].value) == (0, 0)
    assert instance.get_latest_materialization_event(POSTS) is not None


def test_the_password_of_the_database_is_in_nothing_that_a_run_wrote(
    database_url: str, connection: psycopg.Connection, instance: dg.DagsterInstance, jump: Detector
) -> None:
    visit(connection, datetime.now(UTC) - 5 * MINUTE)
    password = connection.info.password

    result = dg.materialize(
        [posts_asset([jump])], instance=instance, resources={"store": Store(database_url=database_url)}
    )

    written = "".join(
        serialize_value(record.event_log_entry)
        for record in instance.get_records_for_run(result.run_id).records
    )
    assert "STEP_SUCCESS" in written
    assert password not in written


def test_a_posting_run_with_a_setting_that_is_not_understood_fails_in_a_sentence(
    database_url: str, instance: dg.DagsterInstance, jump: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEEBOT_POSTS", "dry-run")

    result = dg.materialize(
        [posts_asset([jump])],
        instance=instance,
        resources={"store": Store(database_url=database_url)},
        raise_on_error=False,
    )

    (failure,) = result.get_step_failure_events()
    data = failure.step_failure_data.user_failure_data
    assert data is not None
    assert (
        data.description
        == "Nothing is posted: PEEBOT_POSTS is 'dry-run'; it may be dry_run, or one or more of x, or not set."
    )
