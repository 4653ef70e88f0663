from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
import yaml
from dagster_shared.serdes import serialize_value

from peebot_dagster.defs.posts import POSTS, posting_complaint, posting_is_due, posts_asset
from peebot_dagster.defs.resources import Store
from peebot_dagster.detectors.detector import Detector
from peebot_dagster.posts import x_publisher
from peebot_dagster.posts.publishers import PlatformError
from tests.peebot_dagster.posts.platforms.bluesky import ACCESS_TOKEN, APP_PASSWORD, HANDLE, FakeBluesky
from tests.peebot_dagster.posts.platforms.loopback import Answer, LoopbackPlatform
from tests.peebot_dagster.posts.platforms.mastodon import ACCESS_TOKEN as MASTODON_TOKEN
from tests.peebot_dagster.posts.platforms.mastodon import FakeMastodon
from tests.peebot_dagster.posts.platforms.x import CREDENTIALS as X_CREDENTIALS
from tests.peebot_dagster.posts.platforms.x import FakeX, LoopbackAdapter

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
    assert all(f"> {line}" in str(shown["texts"].value) for line in post[0].splitlines())
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


@pytest.fixture
def platforms(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, LoopbackPlatform]]:
    """The three platforms on loopback, and their credentials in the environment."""
    servers = {"x": FakeX(), "bluesky": FakeBluesky(), "mastodon": FakeMastodon()}
    monkeypatch.setattr(x_publisher, "TimeoutAdapter", lambda *_: LoopbackAdapter(servers["x"].url))
    monkeypatch.setenv("PEEBOT_POSTS", "x,bluesky,mastodon")
    for field, secret in X_CREDENTIALS.items():
        monkeypatch.setenv(f"PEEBOT_X_{field.upper()}", secret)
    monkeypatch.setenv("PEEBOT_BLUESKY_HANDLE", HANDLE)
    monkeypatch.setenv("PEEBOT_BLUESKY_APP_PASSWORD", APP_PASSWORD)
    monkeypatch.setenv("PEEBOT_BLUESKY_SERVICE", servers["bluesky"].url)
    monkeypatch.setenv("PEEBOT_MASTODON_URL", servers["mastodon"].url)
    monkeypatch.setenv("PEEBOT_MASTODON_ACCESS_TOKEN", MASTODON_TOKEN)
    with ExitStack() as stack:
        for server in servers.values():
            stack.enter_context(server.serving())
        yield servers


def test_one_run_posts_on_several_platforms_and_one_that_fails_does_not_stop_the_others(
    database_url: str,
    connection: psycopg.Connection,
    instance: dg.DagsterInstance,
    jump: Detector,
    platforms: dict[str, LoopbackPlatform],
) -> None:
    visit(connection, datetime.now(UTC) - 5 * MINUTE)
    platforms["x"].answers = [Answer(503, b"over capacity")]
    store = {"store": Store(database_url=database_url)}

    first = dg.materialize([posts_asset([jump])], instance=instance, resources=store)
    by_hand = dg.materialize([posts_asset([jump])], instance=instance, resources=store)

    assert by_hand.success
    assert [server.requests for server in platforms.values()] == [1, 1, 1]
    (shown,) = [m.metadata for m in first.asset_materializations_for_node("tweet")]
    assert (shown["sent"].value, shown["unknown"].value) == (2, 1)
    assert shown["platforms"].value == "x, bluesky, mastodon"
    decisions = [record.data for record in shown["decisions"].value.records]  # type: ignore[union-attr]
    assert [(d["platform"], d["decision"], str(d["reason"])[:8]) for d in decisions] == [
        ("x", "unknown", "http_503"),
        ("bluesky", "sent", ""),
        ("mastodon", "sent", ""),
    ]
    assert len({d["text"] for d in decisions}) == 1
    links = connection.execute("SELECT link FROM post WHERE state = 'sent' ORDER BY platform").fetchall()
    assert [(d["link"],) for d in decisions[1:]] == links
    assert all(link.startswith("https://") for (link,) in links)


@pytest.mark.parametrize("answer", [None, Answer(401, {"detail": "Unauthorized"}), Answer(200, b"[")])
def test_no_credential_is_in_anything_that_a_run_wrote(
    database_url: str,
    connection: psycopg.Connection,
    jump: Detector,
    platforms: dict[str, LoopbackPlatform],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    answer: Answer | None,
) -> None:
    caplog.set_level(logging.DEBUG)
    visit(connection, datetime.now(UTC) - 5 * MINUTE)
    for server in platforms.values():
        server.answers = [answer] if answer else []

    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        result = dg.materialize(
            [posts_asset([jump])], instance=instance, resources={"store": Store(database_url=database_url)}
        )
        run = instance.get_run_record_by_id(result.run_id)

    assert [server.requests for server in platforms.values()] == [1, 1, 1]
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"STEP_SUCCESS" in content for content in written)
    shown = [repr(run), caplog.text, *capfd.readouterr(), *map(str, connection.execute("SELECT * FROM post"))]
    everything = b"".join([*written, *(text.encode() for text in shown)])
    secrets = [*X_CREDENTIALS.values(), APP_PASSWORD, ACCESS_TOKEN, MASTODON_TOKEN]
    assert [secret for secret in secrets if secret.encode() in everything] == []


def test_of_the_posting_runs_that_queue_the_pool_of_the_op_lets_one_go_at_a_time(jump: Detector) -> None:
    settings = yaml.safe_load((Path(__file__).parents[3] / "dagster.yaml").read_text())
    pools = settings["concurrency"]["pools"]
    assert posts_asset([jump]).op.pool == "posts"
    assert (pools["default_limit"], pools["granularity"]) == (1, "run")


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
        == "Nothing is posted: PEEBOT_POSTS is 'dry-run'; it may be dry_run, or one or more of "
        "x,bluesky,mastodon, or not set."
    )


def test_a_post_that_a_dead_run_left_claimed_makes_a_run_due_although_nothing_is_new(
    connection: psycopg.Connection, instance: dg.DagsterInstance
) -> None:
    now = datetime.now(UTC)
    visit(connection, now - 20 * MINUTE)
    connection.execute(
        "INSERT INTO post (event_id, platform, state, text, template, attempts, created_at, updated_at)"
        " SELECT event_id, 'dry_run', 'claimed', 'x', 'x', 1, %(at)s, %(at)s FROM detected_event",
        {"at": now - 6 * MINUTE},
    )
    connection.commit()
    assert posting_is_due(instance, connection, now)
    assert not posting_is_due(instance, connection, now - 2 * MINUTE), "it may still be on its way"


def test_a_platform_at_fault_is_complained_of_and_a_run_is_due_for_the_others_only(
    connection: psycopg.Connection, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    visit(connection, now - MINUTE)
    for name, value in (("URL", "http://mastodon.example"), ("ACCESS_TOKEN", MASTODON_TOKEN)):
        monkeypatch.setenv(f"PEEBOT_MASTODON_{name}", value)
    monkeypatch.setenv("PEEBOT_POSTS", "mastodon")
    with pytest.raises(PlatformError, match="PEEBOT_MASTODON_URL must begin with https://"):
        posting_is_due(instance, connection, now)

    for field, secret in X_CREDENTIALS.items():
        monkeypatch.setenv(f"PEEBOT_X_{field.upper()}", secret)
    monkeypatch.setenv("PEEBOT_POSTS", "x,mastodon")
    assert posting_is_due(instance, connection, now)
    assert "PEEBOT_MASTODON_URL must begin with https://" in posting_complaint()
    connection.execute(
        "INSERT INTO post (event_id, platform, state, reason) SELECT event_id, 'x', 'skipped', 'muted'"
        " FROM detected_event"
    )
    assert not posting_is_due(instance, connection, now)
