"""telemetry_minute on whatever hypothesis thinks of, against pandas that samples each quarter second."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sql.test_telemetry_minute import (
    BEGIN,
    END,
    Aggregate,
    Link,
    Row,
    assert_equal,
    refresh,
    store,
    stored,
)

pytestmark = pytest.mark.every_edition(one_connection=True)

SAMPLE = timedelta(milliseconds=250)
SPAN = (END - BEGIN) // SAMPLE
# What has changed is carried on to the end of its hour, whatever range was asked for.
BEYOND = END.replace(minute=0) + timedelta(hours=1)
CHANNELS = (1, 337)

# Multiples of 5 s often coincide: with a minute, with a change of the link, with another reading.
within = st.one_of(st.integers(0, SPAN - 1), st.integers(0, SPAN // 20 - 1).map(lambda five: five * 20))
moments = st.one_of(within, within, st.integers(-40 * SPAN, -1)).map(lambda sample: BEGIN + sample * SAMPLE)
values = st.one_of(*[st.integers(0, 9).map(float)] * 5, st.none())
status = st.sampled_from([24, 24, 5, 2, 1])
rows = st.lists(
    st.builds(Row, st.sampled_from(CHANNELS), moments, values, status), min_size=5, max_size=40
).map(lambda found: [Row(row.channel, row.ts, row.value, row.status, i) for i, row in enumerate(found)])
MINUTES = (END - BEGIN) // timedelta(minutes=1)
splits = st.one_of(
    st.just([0, MINUTES]),
    st.just(list(range(MINUTES + 1))),
    st.just([0, 10, MINUTES]),  # at the full hour, which is midnight
    st.sets(st.integers(1, MINUTES - 1)).map(lambda cuts: [0, *sorted(cuts), MINUTES]),
)


@st.composite
def links(draw: st.DrawFn) -> list[Link]:
    found = []
    for source in draw(st.sets(st.sampled_from(["isslive", "simulator"]), min_size=1)):
        bounds = sorted(draw(st.sets(st.integers(-500, SPAN + 500), min_size=2, max_size=8)))
        for start, end in pairwise(bounds):
            state = draw(st.sampled_from(["LIVE", "LIVE", "LIVE", "LOS", "DOWN"]))
            at = BEGIN + end * SAMPLE
            is_current = end == bounds[-1] and draw(st.booleans())
            found.append(Link(source, state, BEGIN + start * SAMPLE, at, None if is_current else at))
    return found


def sampled(rows: Sequence[Row], links: Sequence[Link]) -> Aggregate:
    """What holds at each quarter second, and from that each minute; all moments are whole quarters."""
    clock = pd.date_range(BEGIN, BEYOND, freq=SAMPLE, inclusive="left")
    live = np.zeros(len(clock), dtype=bool)
    for link in links:
        if link.state == "LIVE":
            live |= (clock >= link.started_at) & (clock < (link.ended_at or link.last_seen_at))
    result: Aggregate = {}
    for channel in {row.channel for row in rows}:
        own = pd.DataFrame(
            [
                (row.ts, row.order, np.nan if row.known is None else row.known)
                for row in rows
                if row.channel == channel
            ],
            columns=["ts", "order", "value"],
        ).sort_values(["ts", "order"])
        position = np.searchsorted(own["ts"].dt.as_unit("us"), clock.as_unit("us"), side="right") - 1
        held = np.where((position >= 0) & live, own["value"].to_numpy()[position], np.nan)
        samples = pd.Series(held, index=clock)
        read = own[(own["ts"] >= BEGIN) & (own["ts"] < BEYOND)].set_index("ts")["value"]
        heard = read[live[((read.index - BEGIN) // SAMPLE).to_numpy(dtype=int)]]
        for minute, there in samples.groupby(samples.index.floor("min")):
            until = minute + timedelta(minutes=1)
            known = there.dropna()
            count = int(((read.index >= minute) & (read.index < until)).sum())
            instants = heard[(heard.index >= minute) & (heard.index < until)].dropna()
            if count or len(known):
                both = [*known, *instants]
                result[channel, minute.to_pydatetime()] = (
                    known.iloc[0] if len(known) else None,
                    known.iloc[-1] if len(known) else None,
                    min(both, default=None),
                    max(both, default=None),
                    known.mean() if len(known) else None,
                    count,
                    len(known) * SAMPLE.total_seconds(),
                )
    return result


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows, links=links(), splits=splits, again=splits, data=st.data())
def test_each_minute_is_what_sampling_says_however_the_range_is_split_and_whatever_comes_late_or_twice(
    connection: psycopg.Connection,
    rows: list[Row],
    links: list[Link],
    splits: list[int],
    again: list[int],
    data: st.DataObject,
) -> None:
    late = set(data.draw(st.sets(st.sampled_from(range(len(rows)))) if rows else st.just(set()), "late"))
    try:
        store(connection, [row for i, row in enumerate(rows) if i not in late], links)
        refresh_pieces(connection, splits)
        store(connection, rows)  # those that are late, and all others a second time
        refresh_pieces(connection, again)
        found, true = stored(connection), sampled(rows, links)
        asked = {key for key in found.keys() | true.keys() if key[1] < END}
        carried_on = found.keys() - asked
        assert carried_on <= true.keys()
        known = {key: true[key] for key in true.keys() & (asked | carried_on)}
        assert_equal(found, known, seed=0)
    finally:
        connection.rollback()


def refresh_pieces(connection: psycopg.Connection, cuts: Sequence[int]) -> None:
    for start, end in pairwise(cuts):
        refresh(connection, BEGIN + timedelta(minutes=start), BEGIN + timedelta(minutes=end))
