from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from peebot_dagster.posts.outbox import due_actions, publish_everywhere, publish_new_events
from peebot_dagster.posts.outcomes import Message, PublishRefused, PublishResult, PublishUncertain
from peebot_dagster.posts.policy import PostPolicy
from peebot_dagster.posts.publishers import DryRun
from peebot_dagster.posts.weighted_length import MAX_WEIGHTED_LENGTH, weighted_length
from peebot_dagster.posts.x_publisher import XPublisher

POLICY = PostPolicy()
NO_COOLDOWN = PostPolicy(cooldown=timedelta(0))

StoreEvent = Callable[..., uuid.UUID]


class Recorder:
    """A platform that keeps the texts, and raises the outcomes that it is given first."""

    platform = "x"

    def __init__(self, *outcomes: BaseException) -> None:
        self.texts: list[str] = []
        self._outcomes = list(outcomes)

    def publish(self, message: Message) -> PublishResult:
        self.texts.append(message.text)
        if self._outcomes:
            raise self._outcomes.pop(0)
        return PublishResult(f"id-{len(self.texts)}", f"https://x.com/i/web/status/{len(self.texts)}")


class Killed(BaseException):
    """The process ends here."""


def _ledger(connection: psycopg.Connection) -> list[dict[str, Any]]:
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("SELECT * FROM post ORDER BY created_at, event_id").fetchall()


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
    [row] = _ledger(connection)
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
    assert [(row["platform"], row["state"], row["reason"], row["text"]) for row in _ledger(connection)] == [
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
    assert {row["event_id"]: row["reason"] for row in _ledger(connection)} == expected
    assert Counter(row["state"] for row in _ledger(connection)) == {"skipped": 5, "sent": 1}


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
    assert "1234-secret" not in caplog.text + repr(_ledger(connection))
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
    assert _ledger(connection) == []
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
    assert _ledger(connection) == []


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


def test_a_process_that_dies_between_claim_and_record_leaves_a_post_that_is_never_sent_again(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    event_id = store_event()
    with pytest.raises(Killed):
        publish_new_events(connection, Recorder(Killed()), POLICY, lambda: now)
    [row] = _ledger(connection)
    assert row["state"] == "claimed"
    later = Recorder()
    assert publish_new_events(connection, later, POLICY, lambda: now + timedelta(minutes=4)) == []
    [decision] = publish_new_events(connection, later, POLICY, lambda: now + timedelta(minutes=5, seconds=1))
    assert (decision.event_id, decision.state, decision.reason) == (
        event_id,
        "unknown",
        "crashed_while_sending",
    )
    assert decision.text == row["text"]
    assert publish_new_events(connection, later, POLICY, lambda: now + timedelta(hours=2)) == []
    assert later.texts == []


def test_a_process_killed_while_x_holds_its_request_has_posted_at_most_once(
    database_url: str, connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    script = f"""
import time, psycopg
from datetime import datetime
from peebot_dagster.posts.outbox import publish_new_events
from peebot_dagster.posts.policy import PostPolicy
class Hanging:
    platform = "x"
    def publish(self, message):
        print("sending", flush=True)
        time.sleep(60)
with psycopg.connect({database_url!r}) as connection:
    now = datetime.fromisoformat({now.isoformat()!r})
    publish_new_events(connection, Hanging(), PostPolicy(), lambda: now)
"""
    store_event()
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "sending\n"
    process.kill()
    process.wait()
    process.stdout.close()
    later = Recorder()
    states = []
    for minutes in (0, 3, 6, 60):
        moment = now + timedelta(minutes=minutes)
        publish_new_events(connection, later, POLICY, lambda moment=moment: moment)
        states.append(_ledger(connection)[0]["state"])
    assert states == ["claimed", "claimed", "unknown", "unknown"]
    assert later.texts == []


def test_a_claim_of_a_run_that_has_died_makes_a_run_due_that_gives_it_up(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    store_event()
    with pytest.raises(Killed):
        publish_new_events(connection, Recorder(Killed()), POLICY, lambda: now)
    later = now + timedelta(minutes=5, seconds=1)
    assert due_actions(connection, ["x"], POLICY, now + timedelta(minutes=5)) == set()
    assert due_actions(connection, ["x"], POLICY, later) == {"give_up"}
    connection.commit()
    publish_new_events(connection, Recorder(), POLICY, lambda: later)
    assert due_actions(connection, ["x"], POLICY, later) == set()


def test_what_has_become_stale_while_a_platform_hung_is_not_sent_any_more(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    moments = [now]

    class Hanging(Recorder):
        def publish(self, message: Message) -> PublishResult:
            moments.append(now + timedelta(minutes=12))
            return super().publish(message)

    store_event(minutes_ago=6)
    store_event(minutes_ago=4)
    decisions = publish_new_events(connection, Hanging(), NO_COOLDOWN, lambda: moments[-1])
    assert [decision.reason or decision.state for decision in decisions] == ["sent", "stale"]


def test_a_crash_before_the_claim_sends_nothing_and_the_next_run_does(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_event()
    with monkeypatch.context() as patch:
        patch.setattr("peebot_dagster.posts.ledger.claim", lambda *args: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            publish_new_events(connection, Recorder(), POLICY, lambda: now)
    assert _ledger(connection) == []
    [decision] = publish_new_events(connection, Recorder(), POLICY, lambda: now)
    assert decision.state == "sent"


@pytest.mark.parametrize("policy", [POLICY, NO_COOLDOWN])
def test_runs_at_the_same_time_send_each_event_once_and_keep_the_cooldown(
    database_url: str,
    connection: psycopg.Connection,
    store_event: StoreEvent,
    now: datetime,
    x_server: Any,
    publisher_to: Callable[[str], XPublisher],
    policy: PostPolicy,
) -> None:
    events = [store_event(minutes_ago=minutes) for minutes in range(1, 9)]
    start = threading.Barrier(4)

    def run(_: int) -> list[Any]:
        with psycopg.connect(database_url) as own:
            start.wait()
            return publish_new_events(own, publisher_to(x_server.url), policy, lambda: now)

    with ThreadPoolExecutor(4) as pool:
        decisions = [decision for result in pool.map(run, range(4)) for decision in result]
    assert Counter(decision.event_id for decision in decisions) == Counter(events)
    sent = [decision.text for decision in decisions if decision.state == "sent"]
    assert Counter(x_server.texts) == Counter(sent)
    assert len(sent) == (8 if policy is NO_COOLDOWN else 1)
    assert len({decision.template for decision in decisions if decision.state == "sent"}) == len(sent)
    assert x_server.requests == len(sent)


def test_a_slow_platform_does_not_block_other_runs(
    database_url: str, connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    store_event(minutes_ago=2)
    sending, done = threading.Event(), threading.Event()

    class Slow(Recorder):
        def publish(self, message: Message) -> PublishResult:
            sending.set()
            assert done.wait(10)
            return super().publish(message)

    def run() -> list[Any]:
        with psycopg.connect(database_url) as own:
            return publish_new_events(own, Slow(), POLICY, lambda: now)

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(run)
        assert sending.wait(10)
        store_event(minutes_ago=1)
        [decision] = publish_new_events(connection, Recorder(), POLICY, lambda: now)
        done.set()
        assert decision.reason == "cooldown"
        assert [decision.state for decision in slow.result()] == ["sent"]


def test_what_x_really_took_is_recorded_although_another_run_had_given_it_up(
    database_url: str, connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    store_event()

    class GivenUpMeanwhile(Recorder):
        def publish(self, message: Message) -> PublishResult:
            with psycopg.connect(database_url) as other:
                publish_new_events(other, Recorder(), POLICY, lambda: now + timedelta(minutes=6))
            return super().publish(message)

    publish_new_events(connection, GivenUpMeanwhile(), POLICY, lambda: now)
    assert [(row["state"], row["external_id"], row["reason"]) for row in _ledger(connection)] == [
        ("sent", "id-1", None)
    ]


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


def test_a_connection_inside_a_transaction_is_refused_because_the_claim_would_not_be_safe(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    store_event()
    connection.execute("SELECT 1")
    publisher = Recorder()
    with pytest.raises(RuntimeError, match="outside of a transaction"):
        publish_new_events(connection, publisher, POLICY, lambda: now)
    assert publisher.texts == []


def test_a_connection_in_autocommit_works_as_well(
    database_url: str, store_event: StoreEvent, now: datetime
) -> None:
    store_event()
    with psycopg.connect(database_url, autocommit=True) as connection:
        [decision] = publish_new_events(connection, Recorder(), POLICY, lambda: now)
        assert decision.state == "sent"
        assert [row["state"] for row in _ledger(connection)] == ["sent"]
