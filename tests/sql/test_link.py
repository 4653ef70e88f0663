"""link(): what several daemons have told of the link, as one; against a slow, obvious reference."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.every_edition(one_connection=True)

START = datetime(2025, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BEST_FIRST = ("LIVE", "LOS", "DOWN")
SOURCES = ("isslive", "isslive/standby", "simulator")

Interval = tuple[str, str, int, int, bool]
"""Source, state, start and end in minutes, and whether it is the current one of its source."""


@st.composite
def histories(draw: st.DrawFn) -> list[Interval]:
    """Of each source intervals in order, with gaps or without; the last may be current."""
    intervals: list[Interval] = []
    for source in SOURCES:
        edges = sorted(draw(st.lists(st.integers(0, 30), max_size=8)))
        for number, (start, end) in enumerate(pairwise(edges)):
            if draw(st.booleans()):
                is_last = number == len(edges) - 2
                state = draw(st.sampled_from(BEST_FIRST))
                intervals.append((source, state, start, end, is_last and draw(st.booleans())))
    return intervals


def store(connection: psycopg.Connection, intervals: list[Interval]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO link_interval (source, state, started_at, last_seen_at, ended_at)"
            " VALUES (%s, %s, %s, %s, %s)",
            [
                (
                    source,
                    state,
                    START + start * MINUTE,
                    START + end * MINUTE,
                    None if is_open else START + end * MINUTE,
                )
                for source, state, start, end, is_open in intervals
            ],
        )


def link(connection: psycopg.Connection, start: int, end: int) -> list[tuple[datetime, datetime, str]]:
    return connection.execute(
        "SELECT * FROM link(%s, %s)", (START + start * MINUTE, START + end * MINUTE)
    ).fetchall()


def minute_by_minute(intervals: list[Interval], start: int, end: int) -> list[tuple[datetime, datetime, str]]:
    pieces: list[tuple[datetime, datetime, str]] = []
    for minute in range(start, end):
        told = {state for _, state, begins, ends, _ in intervals if begins <= minute < ends}
        if not told:
            continue
        best = min(told, key=BEST_FIRST.index)
        begin = START + minute * MINUTE
        if pieces and pieces[-1][1:] == (begin, best):
            begin = pieces.pop()[0]
        pieces.append((begin, START + (minute + 1) * MINUTE, best))
    return pieces


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(intervals=histories(), start=st.integers(0, 30), length=st.integers(0, 31))
def test_each_moment_has_the_best_state_that_any_source_tells_and_none_where_none_tells(
    connection: psycopg.Connection, intervals: list[Interval], start: int, length: int
) -> None:
    with connection.transaction(force_rollback=True):
        store(connection, intervals)
        merged = link(connection, start, start + length)
        live = connection.execute(
            "SELECT * FROM live_intervals(%s, %s)",
            (START + start * MINUTE, START + (start + length) * MINUTE),
        ).fetchall()
    assert merged == minute_by_minute(intervals, start, start + length)
    assert live == [piece[:2] for piece in merged if piece[2] == "LIVE"]


def test_a_current_interval_counts_as_far_as_it_was_seen(connection: psycopg.Connection) -> None:
    store(connection, [("isslive", "LOS", 0, 5, True), ("isslive/standby", "LIVE", 2, 4, False)])
    assert link(connection, 1, 60) == [
        (START + 1 * MINUTE, START + 2 * MINUTE, "LOS"),
        (START + 2 * MINUTE, START + 4 * MINUTE, "LIVE"),
        (START + 4 * MINUTE, START + 5 * MINUTE, "LOS"),
    ]
