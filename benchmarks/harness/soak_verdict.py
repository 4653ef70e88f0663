"""What a soak promises, and which of it was broken."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.harness.slopes import Trend
from benchmarks.harness.soak_events import EventsVerdict
from benchmarks.harness.soak_readings import ReadingsVerdict

LEAST_GROWTH_MB = 50.0
"""What a process may grow by in a soak, however small it is: less can't be told from its coming to rest."""
GROWTH_SHARE = 0.25
LEAST_HOURS = 0.2
"""Of less than 12 minutes no growth is told."""
BYTES_A_READING = 500.0
"""What PostgreSQL's folder may grow by for each reading: the row takes 160, the rest is write-ahead log that
is not yet used again, minutes, events and Dagster's own tables."""
DATABASE = "postgres"
_ENOUGH_HAPPENED = 8


def memory_is_judged(memory: Mapping[str, Trend | None]) -> bool:
    """Whether the soak was long enough to tell of any process whether it grows."""
    return any(trend is not None and trend.hours >= LEAST_HOURS for trend in memory.values())


def broken_promises(
    readings: ReadingsVerdict,
    events: EventsVerdict,
    memory: Mapping[str, Trend | None],
    disk: Mapping[str, Trend | None],
    spool_bytes: int,
    shared_buffers_mb: float = 0.0,
) -> list[str]:
    """One line for each promise that was broken. Memory is told in MB by process, disk in MB by folder.

    PostgreSQL takes its shared buffers little by little after each start: by so much it may grow besides.
    """
    broken = []
    if readings.said == 0 or readings.stored == 0:
        broken.append("nothing was said or nothing was stored: nothing was measured")
    if events.true == 0 and events.hidden >= _ENOUGH_HAPPENED:
        broken.append("no event happened in sight: of events nothing was measured")
    if events.true and not events.posted:
        broken.append("events happened in sight and none was posted: of posts nothing was measured")
    for count, what in (
        (readings.lost, "readings lost while the link says LIVE"),
        (readings.strange, "readings stored that were never sent"),
        (readings.doubled, "readings stored twice"),
    ):
        if count:
            broken.append(f"{count:,} {what}, as {'; '.join(readings.examples)}")
    for told, what in (
        (events.missed, "events missed"),
        (events.invented, "events that did not happen"),
        (events.doubled, "events told twice"),
        (events.posted_twice, "posts too many"),
        (events.astray, "posts of which ledger and timeline disagree"),
    ):
        if told:
            broken.append(f"{len(told)} {what}: {'; '.join(told[:5])}")
    for name, trend in memory.items():
        if trend is None or trend.hours < LEAST_HOURS:
            continue
        filling = shared_buffers_mb if name == DATABASE else 0.0
        if trend.growth > max(LEAST_GROWTH_MB, GROWTH_SHARE * trend.mean) + filling:
            broken.append(f"{name} grows by {trend.per_hour:,.0f} MB an hour")
    for name, trend in disk.items():
        if trend is None or trend.hours < LEAST_HOURS:
            continue
        explained = readings.stored * BYTES_A_READING / 1e6 if name == DATABASE else 0.0
        if trend.growth > LEAST_GROWTH_MB + explained:
            broken.append(f"the folder of {name} grows by {trend.per_hour:,.0f} MB an hour")
    if spool_bytes:
        broken.append(f"the spool still holds {spool_bytes:,} bytes")
    return broken
