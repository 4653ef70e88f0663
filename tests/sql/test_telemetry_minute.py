"""telemetry_minute against a slow, obvious reference, and what it promises at the edges."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import psycopg
import pytest

pytestmark = pytest.mark.every_edition(one_connection=True)

MINUTE = timedelta(minutes=1)
BEGIN = datetime(2025, 1, 10, 23, 50, tzinfo=UTC)
END = datetime(2025, 1, 11, 0, 10, tzinfo=UTC)


@dataclass(frozen=True)
class Row:
    channel: int
    ts: datetime
    value: float | None
    status: int = 24
    order: int = 0

    @property
    def known(self) -> float | None:
        return None if self.status in (1, 2) else self.value


@dataclass(frozen=True)
class Link:
    source: str
    state: str
    started_at: datetime
    last_seen_at: datetime
    ended_at: datetime | None


Aggregate = dict[tuple[int, datetime], tuple[float | None, ...]]


def received_at(row: Row) -> datetime:
    """The later the measurement, the earlier it arrived: the order of arrival must not matter."""
    return END - (row.ts - BEGIN)


def store(connection: psycopg.Connection, rows: Sequence[Row], links: Sequence[Link] = ()) -> None:
    for row in rows:
        connection.execute("SELECT create_telemetry_chunks(%s, %s)", (row.ts, row.ts))
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO telemetry_reading VALUES (%s, %s, %s, %s, %s, %s, false, %s) ON CONFLICT DO NOTHING",
            [(r.channel, r.ts, received_at(r), r.value, str(r.value), r.status, r.order) for r in rows],
        )
        cursor.executemany(
            "INSERT INTO link_interval (source, state, started_at, last_seen_at, ended_at)"
            " VALUES (%s, %s, %s, %s, %s)",
            [(link.source, link.state, link.started_at, link.last_seen_at, link.ended_at) for link in links],
        )


def live(started_at: datetime, ended_at: datetime) -> Link:
    return Link("isslive", "LIVE", started_at, ended_at, ended_at)


def refresh(
    connection: psycopg.Connection, begin: datetime, end: datetime, step: timedelta | None = None
) -> int:
    total = 0
    while begin < end:
        until = min(begin + step, end) if step else end
        row = connection.execute("SELECT refresh_telemetry_minute(%s, %s)", (begin, until)).fetchone()
        assert row is not None
        total += row[0]
        begin = until
    return total


def stored(connection: psycopg.Connection) -> Aggregate:
    rows = connection.execute(
        "SELECT channel_id, minute, first_value, last_value, min_value, max_value, mean_value, readings,"
        " live_seconds FROM telemetry_minute ORDER BY channel_id, minute"
    )
    return {(row[0], row[1]): row[2:] for row in rows}


def reference(rows: Sequence[Row], links: Sequence[Link], begin: datetime, end: datetime) -> Aggregate:
    """Walks through every minute of every channel, piece by piece, as one would by hand."""
    result: Aggregate = {}
    lives = [(x.started_at, x.ended_at or x.last_seen_at) for x in links if x.state == "LIVE"]

    def is_live(instant: datetime) -> bool:
        return any(start <= instant < stop for start, stop in lives)

    for channel in {row.channel for row in rows}:
        own = sorted((row for row in rows if row.channel == channel), key=lambda row: (row.ts, row.order))
        minute = begin
        while minute < end:
            inside = [row for row in own if minute <= row.ts < minute + MINUTE]
            bounds = {bound for interval in lives for bound in interval if minute < bound < minute + MINUTE}
            cuts = sorted({minute, minute + MINUTE} | bounds | {row.ts for row in inside})
            pieces = []
            for start, stop in pairwise(cuts):
                before = [row for row in own if row.ts <= start]
                if is_live(start) and before and before[-1].known is not None:
                    pieces.append((before[-1].known, (stop - start).total_seconds()))
            seconds = sum(piece[1] for piece in pieces)
            there = [piece[0] for piece in pieces]
            there += [row.known for row in inside if is_live(row.ts) and row.known is not None]
            if pieces or inside:
                result[channel, minute] = (
                    pieces[0][0] if pieces else None,
                    pieces[-1][0] if pieces else None,
                    min(there, default=None),
                    max(there, default=None),
                    sum(value * duration for value, duration in pieces) / seconds if pieces else None,
                    len(inside),
                    seconds,
                )
            minute += MINUTE
    return result


def assert_equal(actual: Aggregate, expected: Aggregate, seed: int) -> None:
    assert actual.keys() == expected.keys(), seed
    for key, (*values, mean, readings, seconds) in expected.items():
        *actual_values, actual_mean, actual_readings, actual_seconds = actual[key]
        assert (actual_values, actual_readings) == (values, readings), (seed, key)
        assert actual_seconds == pytest.approx(seconds, abs=1e-5), (seed, key)
        assert actual_mean == (None if mean is None else pytest.approx(mean)), (seed, key)


def random_rows(rng: random.Random, begin: datetime, end: datetime, mean_gap_s: float) -> list[Row]:
    rows = []
    for channel in (1, 2, 337):
        if rng.random() < 0.7:
            silence = timedelta(days=rng.choice([0, 1, 20]), seconds=rng.randint(1, 90))
            rows.append(Row(channel, begin - silence, 7.0))
        at = begin + timedelta(seconds=rng.choice([0, 0, 30, 400]))
        while at < end + MINUTE:
            value = None if rng.random() < 0.05 else float(rng.randint(0, 9))
            rows.append(Row(channel, at, value, rng.choice([24] * 18 + [1, 2, 5]), len(rows)))
            # Multiples of 5 s often coincide: with a minute, with a change of the link, with another reading.
            gap_s = rng.expovariate(1 / mean_gap_s) // 5 * 5
            at += timedelta(seconds=rng.choice([0, 0.25, 5, 5, 10, 60, gap_s]))
    return rows


def random_links(rng: random.Random, begin: datetime, end: datetime) -> list[Link]:
    links = []
    for source in ("isslive", "simulator"):
        at = begin - timedelta(seconds=rng.choice([0, 3600]))
        while at < end:
            until = at + timedelta(seconds=rng.choice([5, 15, 60, 125, 600]))
            state = rng.choice(["LIVE", "LOS", "DOWN"])
            is_current = until >= end and rng.random() < 0.5
            links.append(Link(source, state, at, until, None if is_current else until))
            at = until + timedelta(seconds=rng.choice([0, 0, 45]))
    return links


@pytest.mark.parametrize("first_seed", [0, 10, 20])
def test_every_minute_is_what_the_reference_says_also_after_late_and_double_rows(
    connection: psycopg.Connection, first_seed: int
) -> None:
    for seed in range(first_seed, first_seed + 10):
        rng = random.Random(seed)
        rows, links = random_rows(rng, BEGIN, END, mean_gap_s=20), random_links(rng, BEGIN, END)
        late = [row for row in rows if rng.random() < 0.3]
        in_time = [row for row in rows if row not in late]

        store(connection, in_time, links)
        refresh(connection, BEGIN, END)
        assert_equal(stored(connection), reference(in_time, links, BEGIN, END), seed)

        late += rng.sample(in_time, 5)
        rng.shuffle(late)
        store(connection, late)
        count = refresh(connection, BEGIN, END)
        assert_equal(stored(connection), reference(rows, links, BEGIN, END), seed)
        assert count == len(stored(connection))
        connection.rollback()


@pytest.mark.parametrize("seed", [1, 2])
def test_minutes_hours_and_one_range_give_exactly_the_same(connection: psycopg.Connection, seed: int) -> None:
    rng = random.Random(seed)
    end = BEGIN + timedelta(hours=7)
    store(connection, random_rows(rng, BEGIN, end, mean_gap_s=90), random_links(rng, BEGIN, end))
    refresh(connection, BEGIN, end)
    whole = stored(connection)
    assert len(whole) > 500
    for step in (MINUTE, timedelta(hours=1)):
        connection.execute("TRUNCATE telemetry_minute")
        refresh(connection, BEGIN, end, step)
        assert stored(connection) == whole


def test_a_silent_minute_repeats_the_last_value_however_old_it_is(connection: psycopg.Connection) -> None:
    store(connection, [Row(5, BEGIN - timedelta(days=40), 3.0)], [live(BEGIN, BEGIN + MINUTE)])
    refresh(connection, BEGIN, END)
    assert stored(connection) == {(5, BEGIN): (3.0, 3.0, 3.0, 3.0, 3.0, 0, 60.0)}


def test_a_minute_without_link_has_no_row_and_a_reading_in_it_has_no_mean(
    connection: psycopg.Connection,
) -> None:
    store(connection, [Row(5, BEGIN, 3.0), Row(5, BEGIN + 2 * MINUTE, 4.0)], [live(BEGIN, BEGIN + MINUTE)])
    refresh(connection, BEGIN, END)
    assert stored(connection) == {
        (5, BEGIN): (3.0, 3.0, 3.0, 3.0, 3.0, 1, 60.0),
        (5, BEGIN + 2 * MINUTE): (None, None, None, None, None, 1, 0.0),
    }


def test_dither_is_weighted_by_time_not_by_rows(connection: psycopg.Connection) -> None:
    steps = [(0, 10.0), (54, 11.0), (55, 10.0), (58, 11.0), (59, 10.0)]
    rows = [Row(5, BEGIN + timedelta(seconds=second), value) for second, value in steps]
    store(connection, rows, [live(BEGIN, BEGIN + MINUTE)])
    refresh(connection, BEGIN, END)
    assert stored(connection)[5, BEGIN][4] == pytest.approx(10 + 2 / 60)


def test_minutes_that_lose_their_reason_disappear(connection: psycopg.Connection) -> None:
    store(connection, [Row(5, BEGIN, 3.0)], [live(BEGIN, END)])
    refresh(connection, BEGIN, END)
    assert len(stored(connection)) == 20
    connection.execute(
        "UPDATE link_interval SET ended_at = %(at)s, last_seen_at = %(at)s", {"at": BEGIN + MINUTE}
    )
    refresh(connection, BEGIN, END)
    assert list(stored(connection)) == [(5, BEGIN)]


def test_a_refresh_writes_only_the_minutes_that_change(connection: psycopg.Connection) -> None:
    store(connection, [Row(5, BEGIN, 3.0)], [live(BEGIN, END)])
    refresh(connection, BEGIN, END)
    connection.execute("UPDATE telemetry_minute SET mean_value = 9 WHERE minute = %s", (BEGIN + 5 * MINUTE,))
    connection.commit()
    refresh(connection, BEGIN, END)
    rewritten = connection.execute(
        "SELECT minute, mean_value FROM telemetry_minute WHERE xmin::text = pg_current_xact_id()::xid::text"
    ).fetchall()
    assert rewritten == [(BEGIN + 5 * MINUTE, 3.0)]


def test_a_late_reading_corrects_the_later_minutes_that_repeated_the_value_before_it(
    connection: psycopg.Connection,
) -> None:
    far = BEGIN + timedelta(hours=3)
    rows = [Row(5, BEGIN, 3.0), Row(6, BEGIN, 1.0), Row(5, far - MINUTE, 4.0)]
    links = [live(BEGIN, BEGIN + 5 * MINUTE), live(BEGIN + timedelta(minutes=90), far)]
    store(connection, rows, links)
    refresh(connection, BEGIN, far)
    late = Row(5, BEGIN + 2 * MINUTE, 8.0)
    store(connection, [late])
    refresh(connection, late.ts, late.ts + MINUTE)
    assert_equal(stored(connection), reference([*rows, late], links, BEGIN, far), seed=0)


def test_the_order_in_which_hours_are_refreshed_makes_no_difference(connection: psycopg.Connection) -> None:
    rng = random.Random(3)
    end = BEGIN + timedelta(hours=5)
    rows, links = random_rows(rng, BEGIN, end, mean_gap_s=900), random_links(rng, BEGIN, end)
    store(connection, rows, links)
    hours = [BEGIN + hour * timedelta(hours=1) for hour in range(5)]
    for hour in reversed(hours):
        refresh(connection, hour, hour + timedelta(hours=1))
    assert_equal(stored(connection), reference(rows, links, BEGIN, end), seed=3)


def test_a_range_inside_a_minute_refreshes_the_whole_minute(connection: psycopg.Connection) -> None:
    store(connection, [Row(5, BEGIN, 3.0)], [live(BEGIN, END)])
    refresh(connection, BEGIN + timedelta(seconds=30), BEGIN + timedelta(seconds=61))
    assert list(stored(connection)) == [(5, BEGIN), (5, BEGIN + MINUTE)]


@pytest.mark.several_connections
def test_refreshes_of_the_same_minutes_at_the_same_time_all_succeed(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        store(connection, [Row(channel, BEGIN, 3.0) for channel in range(1, 100)], [live(BEGIN, END)])

    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda _: refresh_alone(database_url, BEGIN, END), range(4)))
    assert rows == [99 * 20] * 4


@pytest.mark.several_connections
def test_refreshes_of_different_days_do_not_wait_for_each_other(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        store(connection, [Row(5, BEGIN, 3.0)], [live(BEGIN, END)])
    with psycopg.connect(database_url) as earlier, psycopg.connect(database_url) as later:
        later.execute("SET lock_timeout = '10s'")
        earlier.execute("SELECT lock_telemetry_minute(%s, %s)", (BEGIN, BEGIN))
        assert refresh(later, BEGIN.replace(day=11, hour=0, minute=0), END) == 10


@pytest.mark.several_connections
def test_what_comes_late_while_the_next_day_is_computed_reaches_that_day_too(database_url: str) -> None:
    midnight = BEGIN.replace(day=11, hour=0, minute=0)
    rows, links = [Row(5, BEGIN, 3.0)], [live(BEGIN, END)]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SELECT prepare_minutes(%s, %s)", (BEGIN, END))
        store(connection, rows, links)
        with ThreadPoolExecutor(1) as pool, psycopg.connect(database_url) as next_day:
            refresh(next_day, midnight, END)
            rows.append(Row(5, midnight - MINUTE, 7.0))
            store(connection, rows[1:])

            refreshed = pool.submit(refresh_alone, database_url, BEGIN, midnight)
            wait_until_locked_out(connection)
            next_day.commit()

            assert refreshed.result(timeout=30) == 10
        assert_equal(stored(connection), reference(rows, links, BEGIN, END), seed=0)


def refresh_alone(database_url: str, begin: datetime, end: datetime) -> int:
    with psycopg.connect(database_url) as connection:
        return refresh(connection, begin, end)


def wait_until_locked_out(connection: psycopg.Connection) -> None:
    """Until somebody waits for an advisory lock of this database."""
    query = """
        SELECT FROM pg_locks JOIN pg_database d ON d.oid = database
        WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
    """
    deadline = time.monotonic() + 30
    while connection.execute(query).rowcount == 0:
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.01)


def test_hours_and_days_are_weighted_by_the_seconds_live(connection: psycopg.Connection) -> None:
    hour = BEGIN.replace(minute=0)
    store(
        connection,
        [Row(5, hour - MINUTE, 1.0), Row(5, hour + timedelta(minutes=30), 4.0), Row(5, END, 6.0)],
        [live(hour, hour + timedelta(minutes=40)), live(END, END + MINUTE)],
    )
    refresh(connection, hour, END + MINUTE)
    hours = connection.execute("SELECT * FROM telemetry_hour ORDER BY hour").fetchall()
    days = connection.execute("SELECT * FROM telemetry_day ORDER BY day").fetchall()
    first, second = (1.0, 4.0, 1.0, 4.0, 1.75, 1, 2400.0), (6.0, 6.0, 6.0, 6.0, 6.0, 1, 60.0)
    assert hours == [(5, hour, *first), (5, END.replace(minute=0), *second)]
    assert days == [(5, hour.replace(hour=0), *first), (5, END.replace(minute=0), *second)]
