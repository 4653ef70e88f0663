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

HAND_MADE = "__ASSET_JOB"
"""Dagster's name for runs of assets that belong to no job."""

_FEED_DOWN, _NO_VISIT = "feed_down", "no_visit"


@dataclass(frozen=True)
class Spool:
    """What waits in the spool of the daemon at `host:port`; None when it could not be asked."""

    daemon: str
    readings: int | None


@dataclass(frozen=True)
class FailedRun:
    """A run that failed at `at` (UTC) and that Dagster will not retry; its backfill and partition, if any."""

    run_id: str
    job: str
    at: datetime
    backfill: str | None = None
    partition: str | None = None


@dataclass(frozen=True)
class Facts:
    """All that alerts are about; `newest_visit_at` (UTC) is the begin of the newest visit."""

    feed: FeedState
    newest_visit_at: datetime | None
    spools: Sequence[Spool]
    failed_runs: Sequence[FailedRun]


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
class Occurrence:
    """Something wrong that has happened at `at` (UTC): it is told once, and cannot be over."""

    key: str
    title: str
    advice: str
    at: datetime


@dataclass(frozen=True)
class Judgement:
    """The conditions that are there now, the keys of those that are not, and of those of which nothing is
    known just now; and what has happened lately. Of any other condition nobody asks any more."""

    standing: Sequence[Condition]
    absent: frozenset[str]
    unknown: frozenset[str]
    occurred: Sequence[Occurrence] = ()


def judge(facts: Facts, now: datetime) -> Judgement:
    """What stands at `now` (UTC), whether it has lasted long enough to be told or not."""
    standing = [*_feed(facts.feed), *_visits(facts.newest_visit_at, now), *_spools(facts.spools)]
    unknown = frozenset(_spool_key(spool) for spool in facts.spools if spool.readings is None)
    asked = {_FEED_DOWN, _NO_VISIT, *map(_spool_key, facts.spools)}
    absent = frozenset(asked - unknown - {condition.key for condition in standing})
    return Judgement(standing, absent, unknown, _failures(facts.failed_runs))


def _feed(feed: FeedState) -> Iterator[Condition]:
    if feed.state == "DOWN":
        yield Condition(
            _FEED_DOWN,
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
        _NO_VISIT,
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


def _failures(runs: Sequence[FailedRun]) -> list[Occurrence]:
    """One for each backfill, for each hour of a job, and for each run that was started by hand.

    So nothing that succeeds hides a failure, and a thousand that fail for one reason are one message.
    """
    first: dict[str, Occurrence] = {}
    for run in sorted(runs, key=lambda run: run.at):
        at = run.at.astimezone(UTC)
        if run.backfill is not None:
            key, what = f"backfill:{run.backfill}", f"backfill {run.backfill}"
            others = "Others of this backfill that fail are not told."
        elif run.job == HAND_MADE:
            key, what, others = run.run_id, "assets outside of a job", ""
        else:
            key, what = f"{run.job}:{at:%Y-%m-%dT%H}", run.job
            others = f"Others of this job that fail in the hour from {at:%H}:00 UTC are not told."
        of = f" of {run.partition}" if run.partition else ""
        first.setdefault(
            key,
            Occurrence(
                f"run_failed:{key}",
                f"A run of {what} failed",
                f"Run {run.run_id[:8]}{of} failed, and Dagster does not retry it. Its log in Dagster's UI "
                f"tells why. {others}".rstrip(),
                run.at,
            ),
        )
    return list(first.values())
