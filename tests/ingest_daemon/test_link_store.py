from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from ingest_daemon.link import LinkState, Transition
from ingest_daemon.link_store import LinkRecorder

START = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
LIVE, LOS, DOWN = LinkState.LIVE, LinkState.LOS, LinkState.DOWN
Row = tuple[str, float, float, float | None]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def rows(connection: psycopg.Connection, source: str = "isslive") -> list[Row]:
    found = connection.execute(
        "SELECT state, extract(epoch FROM started_at - %(start)s)::float8,"
        " extract(epoch FROM last_seen_at - %(start)s)::float8,"
        " extract(epoch FROM ended_at - %(start)s)::float8"
        " FROM link_interval WHERE source = %(source)s ORDER BY started_at, link_interval_id",
        {"start": START, "source": source},
    ).fetchall()
    connection.commit()
    return found


def revisions(connection: psycopg.Connection) -> dict[datetime, int]:
    found = dict(connection.execute("SELECT hour, revision FROM telemetry_revision").fetchall())
    connection.commit()
    return found


def left_behind(connection: psycopg.Connection, state: LinkState) -> None:
    """A daemon that has confirmed `state` from 0 to 100 s, and is gone."""
    former = LinkRecorder("isslive")
    former.record(connection, Transition(state, at(0)))
    former.heartbeat(connection, at(100))


def test_transitions_become_adjoining_intervals_the_last_one_open(connection: psycopg.Connection) -> None:
    recorder = LinkRecorder("isslive")
    recorder.record(connection, Transition(DOWN, at(0)))
    recorder.record(connection, Transition(LIVE, at(10)))
    recorder.heartbeat(connection, at(12))
    assert rows(connection) == [("DOWN", 0, 10, 10), ("LIVE", 10, 12, None)]


def test_a_loss_that_becomes_known_later_takes_back_what_was_confirmed(
    connection: psycopg.Connection,
) -> None:
    recorder = LinkRecorder("isslive")
    recorder.record(connection, Transition(LIVE, at(0)))
    recorder.heartbeat(connection, at(30))
    recorder.record(connection, Transition(LOS, at(15)))
    assert rows(connection) == [("LIVE", 0, 15, 15), ("LOS", 15, 15, None)]


def test_the_same_transition_stored_again_changes_nothing(connection: psycopg.Connection) -> None:
    recorder = LinkRecorder("isslive")
    for _ in range(2):
        recorder.record(connection, Transition(LIVE, at(0)))
    assert rows(connection) == [("LIVE", 0, 0, None)]


@pytest.mark.parametrize("away_s", [0.25, 1.5, 100])
@pytest.mark.parametrize("state", [LIVE, LOS])
def test_the_time_between_two_daemons_is_down_however_short(
    connection: psycopg.Connection, state: LinkState, away_s: float
) -> None:
    left_behind(connection, state)
    back = 100 + away_s
    LinkRecorder("isslive").record(connection, Transition(state, at(back)))
    assert rows(connection) == [(state, 0, 100, 100), ("DOWN", 100, back, back), (state, back, back, None)]


def test_another_state_after_a_short_gap_does_not_hide_the_gap(connection: psycopg.Connection) -> None:
    left_behind(connection, LIVE)
    LinkRecorder("isslive").record(connection, Transition(LOS, at(100.5)))
    assert rows(connection) == [
        ("LIVE", 0, 100, 100),
        ("DOWN", 100, 100.5, 100.5),
        ("LOS", 100.5, 100.5, None),
    ]


def test_a_daemon_that_starts_down_after_a_gap_is_down_since_the_last_sign(
    connection: psycopg.Connection,
) -> None:
    left_behind(connection, LIVE)
    recorder = LinkRecorder("isslive")
    recorder.record(connection, Transition(DOWN, at(200)))
    recorder.heartbeat(connection, at(201))
    assert rows(connection) == [("LIVE", 0, 100, 100), ("DOWN", 100, 201, None)]


def test_down_goes_on_over_a_gap(connection: psycopg.Connection) -> None:
    left_behind(connection, DOWN)
    LinkRecorder("isslive").record(connection, Transition(LIVE, at(200)))
    assert rows(connection) == [("DOWN", 0, 200, 200), ("LIVE", 200, 200, None)]


def test_a_replay_that_starts_again_before_the_end_of_what_was_confirmed_takes_nothing_back(
    connection: psycopg.Connection,
) -> None:
    left_behind(connection, LIVE)
    recorder = LinkRecorder("isslive")
    recorder.record(connection, Transition(LIVE, at(40)))
    recorder.heartbeat(connection, at(60))
    recorder.record(connection, Transition(LOS, at(50)))
    assert rows(connection) == [("LIVE", 0, 100, 100), ("LOS", 100, 100, None)]


def test_sources_do_not_disturb_each_other(connection: psycopg.Connection) -> None:
    left_behind(connection, LIVE)
    LinkRecorder("replay").record(connection, Transition(LIVE, at(500)))
    assert rows(connection) == [("LIVE", 0, 100, None)]
    assert rows(connection, "replay") == [("LIVE", 500, 500, None)]


def test_a_heartbeat_before_the_first_transition_confirms_nothing(connection: psycopg.Connection) -> None:
    left_behind(connection, LIVE)
    LinkRecorder("isslive").heartbeat(connection, at(300))
    assert rows(connection) == [("LIVE", 0, 100, None)]


def test_every_hour_whose_live_time_changes_gets_a_new_revision(connection: psycopg.Connection) -> None:
    noon = START.replace(minute=0)
    recorder = LinkRecorder("isslive")
    recorder.record(connection, Transition(LIVE, at(0)))
    assert revisions(connection) == {noon: 1}
    recorder.heartbeat(connection, at(60))
    assert revisions(connection) == {noon: 1}
    recorder.heartbeat(connection, at(3600))
    assert revisions(connection) == {noon: 2, noon + timedelta(hours=1): 1}
    recorder.record(connection, Transition(LOS, at(1700)))
    assert revisions(connection) == {noon: 3, noon + timedelta(hours=1): 2}


def test_a_month_without_a_daemon_revises_its_two_edges_only(connection: psycopg.Connection) -> None:
    left_behind(connection, LIVE)
    before = revisions(connection)
    LinkRecorder("isslive").record(connection, Transition(LIVE, at(30 * 86_400)))
    changed = {hour for hour, revision in revisions(connection).items() if revision != before.get(hour)}
    assert changed == {START.replace(minute=0), START.replace(minute=0) + timedelta(days=30)}


@pytest.fixture
def keeper(database_url: str) -> Iterator[psycopg.Connection]:
    """The session of a daemon of the same source that came first."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def standby(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def test_of_two_daemons_of_one_source_one_keeps_the_link_and_they_do_not_fight(
    standby: psycopg.Connection, keeper: psycopg.Connection
) -> None:
    first, second = LinkRecorder("isslive"), LinkRecorder("isslive")
    first.record(keeper, Transition(LIVE, at(0)))
    second.record(standby, Transition(LIVE, at(10)))
    second.record(standby, Transition(DOWN, at(20)))
    second.heartbeat(standby, at(30))
    first.heartbeat(keeper, at(31))
    assert rows(standby) == [("LIVE", 0, 31, None)]


def test_a_standby_that_was_listening_takes_over_without_a_gap_however_late_it_learns(
    standby: psycopg.Connection, keeper: psycopg.Connection
) -> None:
    first, second = LinkRecorder("isslive"), LinkRecorder("isslive")
    first.record(keeper, Transition(LIVE, at(0)))
    second.record(standby, Transition(LIVE, at(10)))
    first.heartbeat(keeper, at(100))
    keeper.close()
    wait_until_unlocked(standby)
    second.heartbeat(standby, at(160))
    assert rows(standby) == [("LIVE", 0, 160, None)]


def test_what_the_standby_heard_after_the_last_sign_of_the_keeper_is_told_when_it_takes_over(
    standby: psycopg.Connection, keeper: psycopg.Connection
) -> None:
    first, second = LinkRecorder("isslive"), LinkRecorder("isslive")
    first.record(keeper, Transition(LIVE, at(0)))
    second.record(standby, Transition(LIVE, at(10)))
    first.heartbeat(keeper, at(100))
    second.record(standby, Transition(LOS, at(120)))
    second.record(standby, Transition(LIVE, at(140)))
    keeper.close()
    wait_until_unlocked(standby)
    second.heartbeat(standby, at(160))
    assert rows(standby) == [("LIVE", 0, 120, 120), ("LOS", 120, 140, 140), ("LIVE", 140, 160, None)]


def wait_until_unlocked(connection: psycopg.Connection) -> None:
    held = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    deadline = time.monotonic() + 60
    while connection.execute(held).fetchone() != (0,):
        assert time.monotonic() < deadline, "the lock is still held"
        time.sleep(0.01)
