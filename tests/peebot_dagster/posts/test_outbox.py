from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from peebot_dagster.posts.outbox import publish_everywhere, publish_new_events
from peebot_dagster.posts.outcomes import Message, PublishRefused, PublishResult, PublishUncertain
from peebot_dagster.posts.policy import PostPolicy
from peebot_dagster.posts.publishers import DryRun
from peebot_dagster.posts.weighted_length import MAX_WEIGHTED_LENGTH, weighted_length
from tests.peebot_dagster.posts.recorder import NO_COOLDOWN, POLICY, Recorder, ledger

StoreEvent = Callable[..., uuid.UUID]


def test_a_fresh_visit_is_sent_once_and_the_ledger_tells_what_and_where(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    event_id = store_event()
    publisher = Recorder()
    [decision] = publish_new_events(connection, publisher, POLICY, lambda: now)
    assert (decision.event_id, decision.platform, decision.state) == (event_id, "x", "sent")
    assert (decision.external_id, decision.link) == ("id-1", "https://x.com/i/web/status/1")
    assert publisher.texts == [decision.text]
    assert weighted_length(publisher.texts[0]) <= MAX_WEIGHTED_LENGTH
    [row] = ledger(connection)
    assert {name: row[name] for name in ("event_id", "platform", "state", "text", "template", "reason")} == {
        "event_id": event_id,
        "platform": "x",
        "state": "sent",
        "text": decision.text,
        "template": decision.template,
        "reason": None,
    }
    assert (row["external_id"], row["attempts"], row["created_at"]) == ("id-1", 1, now)
    assert publish_new_events(connection, publisher, POLICY, lambda: now + timedelta(minutes=1)) == []
    assert len(publisher.texts) == 1


def test_a_dry_run_is_written_down_with_its_text(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    store_event()
    [decision] = publish_new_events(connection, DryRun(), POLICY, lambda: now)
    assert (decision.state, decision.external_id, decision.link) == ("dry_run", None, None)
    assert [(row["platform"], row["state"], row["reason"], row["text"]) for row in ledger(connection)] == [
        ("dry_run", "dry_run", "dry_run", decision.text)
    ]


def test_the_text_of_an_event_is_the_same_on_each_platform(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    store_event()
    [dry] = publish_new_events(connection, DryRun(), POLICY, lambda: now)
    [sent] = publish_new_events(connection, Recorder(), POLICY, lambda: now)
    assert dry.text == sent.text


def test_each_event_that_is_not_posted_has_a_reason(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    expected = {
        store_event(minutes_ago=20): "stale",
        store_event(minutes_ago=12, confidence=0.5): "low_confidence",
        store_event(minutes_ago=11, state="retracted"): "retracted",
        store_event(minutes_ago=90, state="retracted"): "retracted",
        store_event(minutes_ago=10): None,
        store_event(minutes_ago=2): "cooldown",
    }
    decisions = publish_new_events(connection, Recorder(), POLICY, lambda: now)
    assert {decision.event_id: decision.reason for decision in decisions} == expected
    assert {row["event_id"]: row["reason"] for row in ledger(connection)} == expected
    assert Counter(row["state"] for row in ledger(connection)) == {"skipped": 5, "sent": 1}


def test_what_a_replay_or_the_demo_played_is_not_posted_on_a_platform(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    for source, start, end in (("replay/b", 14, 10), ("simulator", 9, 5), ("isslive", 14, 0)):
        connection.execute(
            "INSERT INTO link_interval (source, state, started_at, last_seen_at, ended_at)"
            " VALUES (%(source)s, 'LIVE', %(start)s, %(end)s, %(end)s)",
            {
                "source": source,
                "start": now - timedelta(minutes=start),
                "end": now - timedelta(minutes=end),
            },
        )
    connection.commit()
    expected = {
        store_event(minutes_ago=12): "replay",
        store_event(minutes_ago=7): "demo",
        store_event(minutes_ago=2): None,
    }
    decisions = publish_new_events(connection, Recorder(), POLICY, lambda: now)
    assert {decision.event_id: decision.reason for decision in decisions} == expected


@pytest.mark.parametrize(("source", "origin"), [("simulator/b", "demo"), ("replay", "replay")])
def test_what_is_played_without_an_end_goes_on_until_a_real_feed_is_heard_anew(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime, source: str, origin: str
) -> None:
    def hear(source: str, started: float, last_seen: float) -> None:
        connection.execute(
            "INSERT INTO link_interval (source, state, started_at, last_seen_at) VALUES (%s, 'LIVE', %s, %s)",
            [source, now - timedelta(minutes=started), now - timedelta(minutes=last_seen)],
        )
        connection.commit()

    # It is the last of a daemon that was killed before it had confirmed what it had stored.
    hear(source, 12, 10)
    played = store_event(minutes_ago=9)
    [decision] = publish_new_events(connection, Recorder(), POLICY, lambda: now)
    assert (decision.event_id, decision.reason) == (played, origin)
    hear("isslive", 8, 0)
    late, real = store_event(minutes_ago=8.5), store_event(minutes_ago=7)
    decisions = publish_new_events(connection, Recorder(), POLICY, lambda: now)
    assert {decision.event_id: decision.reason for decision in decisions} == {late: origin, real: None}


def test_the_monthly_quota_of_x_counts_what_is_or_may_be_public(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    policy = PostPolicy(cooldown=timedelta(0), x_monthly_quota=3)
    publisher = Recorder(PublishRefused("forbidden"), PublishUncertain("timeout"))
    for minutes_ago in range(5, 0, -1):
        store_event(minutes_ago=minutes_ago)
    end_of_month = now.replace(month=11, day=30)
    decisions = publish_new_events(connection, publisher, policy, lambda: now)
    assert [decision.reason or decision.state for decision in decisions] == [
        "forbidden",
        "timeout",
        "sent",
        "quota",
        "quota",
    ]
    store_event(minutes_ago=(now - end_of_month) / timedelta(minutes=1))
    [decision] = publish_new_events(connection, publisher, policy, lambda: end_of_month)
    assert decision.state == "sent"


def test_after_a_rate_limit_nothing_is_sent_before_the_time_that_the_platform_gave(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    limit = PublishRefused("rate_limited", "until 09:10", now + timedelta(minutes=10))
    publisher = Recorder(limit)
    store_event(minutes_ago=2)
    store_event(minutes_ago=1)
    decisions = publish_new_events(connection, publisher, POLICY, lambda: now)
    assert [decision.reason for decision in decisions] == ["rate_limited: until 09:10", "rate_limited"]
    store_event(minutes_ago=-9)
    [sent] = publish_new_events(connection, publisher, POLICY, lambda: now + timedelta(minutes=10))
    assert (sent.state, len(publisher.texts)) == ("sent", 2)


def test_a_failure_of_a_kind_that_nobody_foresaw_is_never_sent_again_and_shows_no_more_than_its_kind(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    store_event()
    publisher = Recorder(LookupError("token 1234-secret"))
    [decision] = publish_new_events(connection, publisher, POLICY, lambda: now)
    assert (decision.state, decision.reason) == ("unknown", "unexpected_error: LookupError")
    assert "1234-secret" not in caplog.text + repr(ledger(connection))
    assert publish_new_events(connection, publisher, POLICY, lambda: now + timedelta(hours=1)) == []


def test_a_platform_that_does_not_answer_keeps_no_other_waiting_and_both_get_the_same_text(
    database_url: str, store_event: StoreEvent, now: datetime
) -> None:
    both_are_sending = threading.Barrier(2, timeout=20)

    class Slow(Recorder):
        def __init__(self, platform: str) -> None:
            super().__init__()
            self.platform = platform

        def publish(self, message: Message) -> PublishResult:
            both_are_sending.wait()
            return super().publish(message)

    x, mastodon = Slow("x"), Slow("mastodon")
    store_event()
    decisions = publish_everywhere(
        lambda: psycopg.connect(database_url), [x, mastodon], NO_COOLDOWN, lambda: now
    )
    assert [(decision.platform, decision.state) for decision in decisions] == [
        ("x", "sent"),
        ("mastodon", "sent"),
    ]
    assert x.texts == mastodon.texts


def test_several_platforms_get_the_same_text_and_what_one_answers_is_nothing_to_the_others(
    database_url: str, store_event: StoreEvent, now: datetime
) -> None:
    class Elsewhere(Recorder):
        platform = "mastodon"

    for outcome in (PublishRefused("unauthorized"), PublishUncertain("timeout"), OSError("unforeseen")):
        x, mastodon = Recorder(outcome), Elsewhere()
        store_event()
        decisions = publish_everywhere(
            lambda: psycopg.connect(database_url), [x, mastodon], NO_COOLDOWN, lambda: now
        )
        assert [decision.platform for decision in decisions] == ["x", "mastodon"]
        assert [decision.state for decision in decisions][1] == "sent"
        assert x.texts == mastodon.texts


def test_events_of_other_types_are_posted_about_only_when_they_are_named(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    store_event(event_type="tank_transfer", minutes_ago=2)
    policy = PostPolicy.model_validate({"event_types": ["toilet_visit", "tank_transfer"]})
    [decision] = publish_new_events(connection, Recorder(), policy, lambda: now)
    assert decision.state == "sent"


def test_an_open_visit_waits_without_a_row_until_it_is_sure(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    event_id = store_event(state="open", confidence=0.6)
    assert publish_new_events(connection, Recorder(), POLICY, lambda: now) == []
    assert ledger(connection) == []
    connection.execute("UPDATE detected_event SET confidence = 0.85 WHERE event_id = %s", [event_id])
    connection.commit()
    [decision] = publish_new_events(connection, Recorder(), POLICY, lambda: now)
    assert decision.state == "sent"


def test_a_confidence_is_enough_when_it_is_exactly_what_is_asked_for(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    store_event(confidence=0.9)
    [decision] = publish_new_events(connection, Recorder(), PostPolicy(min_confidence=0.9), lambda: now)
    assert decision.state == "sent"


@pytest.mark.parametrize("event_type", ["toilet_visit_masked", "dribble", "tank_transfer", "sensor_reset"])
def test_only_visits_are_posted(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime, event_type: str
) -> None:
    store_event(event_type=event_type)
    assert publish_new_events(connection, Recorder(), POLICY, lambda: now) == []
    assert ledger(connection) == []


def test_the_cooldown_holds_across_runs_and_ends(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    publisher = Recorder()
    store_event(minutes_ago=1)
    publish_new_events(connection, publisher, POLICY, lambda: now)
    store_event(minutes_ago=-20)
    [skipped] = publish_new_events(connection, publisher, POLICY, lambda: now + timedelta(minutes=21))
    assert skipped.reason == "cooldown"
    store_event(minutes_ago=-29.5)
    [sent] = publish_new_events(connection, publisher, POLICY, lambda: now + timedelta(minutes=30))
    assert sent.state == "sent"


@pytest.mark.parametrize(
    ("outcome", "state", "reason", "next_state"),
    [
        (PublishRefused("rate_limited", "until 09:30"), "failed", "rate_limited: until 09:30", "sent"),
        (PublishUncertain("timeout"), "unknown", "timeout", "skipped"),
    ],
)
def test_a_refusal_starts_no_cooldown_but_what_may_be_public_does(
    connection: psycopg.Connection,
    store_event: StoreEvent,
    now: datetime,
    outcome: Exception,
    state: str,
    reason: str,
    next_state: str,
) -> None:
    publisher = Recorder(outcome)
    first = store_event(minutes_ago=2)
    second = store_event(minutes_ago=1)
    decisions = publish_new_events(connection, publisher, POLICY, lambda: now)
    assert [(d.event_id, d.state) for d in decisions] == [(first, state), (second, next_state)]
    assert decisions[0].reason == reason
    assert publish_new_events(connection, publisher, POLICY, lambda: now + timedelta(hours=1)) == []


def test_a_backfill_publishes_nothing_and_is_skipped_in_one_statement(
    connection: psycopg.Connection, now: datetime
) -> None:
    connection.execute(
        "INSERT INTO detected_event (event_id, detector, detector_version, event_type, started_at, state,"
        " confidence, payload, detected_at) SELECT gen_random_uuid(), 'urine_tank', '1', 'toilet_visit',"
        " %(now)s - n * interval '1 hour', 'closed', 0.95, '{}', %(now)s FROM generate_series(1, 5000) n",
        {"now": now},
    )
    connection.commit()
    statements: list[Any] = []

    class Watched(psycopg.Cursor[Any]):
        def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            statements.append(query)
            return super().execute(query, *args, **kwargs)

    connection.cursor_factory = Watched
    publisher = Recorder()
    decisions = publish_new_events(connection, publisher, POLICY, lambda: now)
    assert len(decisions) == 5000
    assert {(decision.state, decision.reason) for decision in decisions} == {("skipped", "backfill")}
    assert publisher.texts == []
    assert len(statements) < 10


def test_posts_on_another_platform_cause_no_cooldown(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    store_event(minutes_ago=2)
    publish_new_events(connection, DryRun(), POLICY, lambda: now)
    [decision] = publish_new_events(connection, Recorder(), POLICY, lambda: now)
    assert decision.state == "sent"


def test_a_joke_is_not_told_twice_within_sixty_posts(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    for n in range(61):
        store_event(minutes_ago=14 - n / 6)
    decisions = publish_new_events(connection, DryRun(), NO_COOLDOWN, lambda: now)
    templates = [decision.template for decision in decisions]
    assert len(templates) == len(set(templates)) == 61
