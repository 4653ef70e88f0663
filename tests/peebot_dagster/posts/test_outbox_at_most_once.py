"""Whoever dies, hangs or runs at the same time, no event is posted twice."""

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

from peebot_dagster.posts.outbox import due_actions, publish_new_events
from peebot_dagster.posts.outcomes import Message, PublishResult
from peebot_dagster.posts.policy import PostPolicy
from peebot_dagster.posts.x_publisher import XPublisher
from tests.peebot_dagster.posts.recorder import NO_COOLDOWN, POLICY, Killed, Recorder, ledger

StoreEvent = Callable[..., uuid.UUID]


def test_a_process_that_dies_between_claim_and_record_leaves_a_post_that_is_never_sent_again(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    event_id = store_event()
    with pytest.raises(Killed):
        publish_new_events(connection, Recorder(Killed()), POLICY, lambda: now)
    [row] = ledger(connection)
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
        states.append(ledger(connection)[0]["state"])
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
    assert ledger(connection) == []
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
    assert [(row["state"], row["external_id"], row["reason"]) for row in ledger(connection)] == [
        ("sent", "id-1", None)
    ]


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
        assert [row["state"] for row in ledger(connection)] == ["sent"]
