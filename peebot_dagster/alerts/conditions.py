"""What somebody is to be told of: pure verdicts from facts. No Dagster, no SQL, no clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from peebot_dagster.store import FeedState

DOWN_LIMIT = timedelta(minutes=10)
VISITLESS_LIMIT = timedelta(hours=24)
"""On the real station 10 to 36 visits a day were seen (72 days of 2024/25)."""
SPOOL_LIMIT = timedelta(minutes=5)
FAILURE_COUNTS_FOR = timedelta(days=1)
"""A run that was started by hand, failed and is never tried again must not be an alert for ever."""

HAND_MADE = "__ASSET_JOB"
"""Dagster's name for runs of assets that belong to no job."""


@dataclass(frozen=True)
class Spool:
    """What waits in the spool of the daemon at `host:port`; None when it could not be asked."""

    daemon: str
    readings: int | None


@dataclass(frozen=True)
class JobEnd:
    """How the newest run of a job ended that nobody will retry, and when (UTC)."""

    job: str
    run_id: str
    failed: bool
    at: datetime


@dataclass(frozen=True)
class Facts:
    """All that alerts are about; `newest_visit_at` (UTC) is the begin of the newest visit."""

    feed: FeedState
    newest_visit_at: datetime | None
    spools: Sequence[Spool]
    job_ends: Sequence[JobEnd]


@dataclass(frozen=True)
class Condition:
    """Something wrong that may last. `since` is None where no fact tells: it is when it was first seen.

    It is told once it has lasted for `patience`.
    """

    key: str
    title: str
    advice: str
    ending: str
    since: datetime | None
    patience: timedelta


@dataclass(frozen=True)
class Judgement:
    """The conditions that are there now, and the keys of those of which nothing is known just now."""

    standing: Sequence[Condition]
    unknown: frozenset[str]


def judge(facts: Facts, now: datetime) -> Judgement:
    """What stands at `now` (UTC), whether it has lasted long enough to be told or not."""
    return Judgement(
        [
            *_feed(facts.feed),
            *_visits(facts.newest_visit_at, now),
            *_spools(facts.spools),
            *_runs(facts.job_ends, now),
        ],
        frozenset(_spool_key(spool) for spool in facts.spools if spool.readings is None),
    )


def _feed(feed: FeedState) -> Iterator[Condition]:
    if feed.state == "DOWN":
        yield Condition(
            "feed_down",
            "The feed is DOWN",
            "No daemon is connected to the feed, or none can store what it hears; what is sent meanwhile may "
            "be lost. See whether the ingest daemon runs (./peebot status, ./peebot doctor) and its log.",
            "A daemon hears the station again, or waits for it to come back from a loss of signal.",
            feed.since,
            DOWN_LIMIT,
        )


def _visits(newest: datetime | None, now: datetime) -> Iterator[Condition]:
    if newest is not None and now - newest < VISITLESS_LIMIT:
        return
    yield Condition(
        "no_visit",
        "No visit for 24 hours",
        "No toilet visit was detected for a day: see the feed's checks, and whether the level of the tank "
        "(NODE3000005) still changes. The crew may use another toilet, or the detection stands still.",
        "A visit was detected.",
        newest,
        VISITLESS_LIMIT,
    )


def _spools(spools: Sequence[Spool]) -> Iterator[Condition]:
    for spool in spools:
        if spool.readings:
            yield Condition(
                _spool_key(spool),
                f"The spool of the daemon at {spool.daemon} does not empty",
                f"{spool.readings} readings wait on its disk for the database, which refuses them or is too "
                "slow. Nothing is lost while that disk has room; the logs of database and daemon tell why.",
                "All that waited is stored.",
                None,
                SPOOL_LIMIT,
            )


def _spool_key(spool: Spool) -> str:
    return f"spool:{spool.daemon}"


def _runs(ends: Sequence[JobEnd], now: datetime) -> Iterator[Condition]:
    for end in ends:
        if end.failed and now - end.at < FAILURE_COUNTS_FOR:
            name = "assets outside of a job" if end.job == HAND_MADE else end.job
            yield Condition(
                f"run_failed:{end.job}",
                f"A run of {name} failed",
                f"Run {end.run_id[:8]} failed at {end.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC, and none has "
                "succeeded since. Its log in Dagster's UI tells why; later failures are not told for a day.",
                "A later run succeeded, or none has failed for a day.",
                end.at,
                timedelta(0),
            )
