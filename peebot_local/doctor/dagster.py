"""Findings about Dagster: its database, its daemon, and how its runs and ticks fare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from peebot_local.doctor.finding import Finding, fail, ok, warn

HEARTBEAT_LIMIT = timedelta(minutes=3)
"""They come twice a minute."""
QUEUED_LIMIT = timedelta(minutes=15)
RUNNING_LIMIT = timedelta(hours=1)
"""Run monitoring ends what takes longer (dagster.yaml)."""


@dataclass(frozen=True)
class DagsterFacts:
    """What Dagster's database tells. Times are UTC.

    `revision` and `newest` are those of its schema; `heartbeats` by the kind of daemon, `running_since` and
    `queued_since` by run; `failed_runs` is of the last day by job, `failed_ticks` of the last hour by sensor
    or schedule, `failed_backfills` of the last day. `writers` and `readers` are the logins that may write
    Dagster's tables and those that may only read them, `wrong_rights` what the latter may or may not.
    """

    revision: str | None
    newest: str
    heartbeats: Mapping[str, datetime]
    running_since: Mapping[str, datetime]
    queued_since: Mapping[str, datetime]
    failed_runs: Mapping[str, int]
    failed_ticks: Mapping[str, int]
    failed_backfills: Sequence[str]
    writers: Sequence[str]
    readers: Sequence[str]
    wrong_rights: Sequence[str]


def examine_dagster(facts: DagsterFacts, now: datetime) -> list[Finding]:
    """What to mend about Dagster."""
    return [
        _schema(facts),
        _heartbeats(facts.heartbeats, now),
        _runs(facts, now),
        _failures(facts.failed_runs),
        _ticks(facts.failed_ticks),
        _backfills(facts.failed_backfills),
        _public_login(facts),
    ]


def _schema(facts: DagsterFacts) -> Finding:
    if facts.revision == facts.newest:
        return ok("dagster_schema", f"Dagster's schema {facts.revision} is the newest")
    return fail(
        "dagster_schema",
        f"Dagster's schema is {facts.revision}, this Dagster wants {facts.newest}",
        "stop PeeBot, then ./peebot migrate; if a newer Dagster has made it, run that one",
    )


def _heartbeats(heartbeats: Mapping[str, datetime], now: datetime) -> Finding:
    advice = (
        "start it (./peebot up, or systemctl start peebot@dagster-daemon); if it runs, its log says what it "
        "waits for"
    )
    if not heartbeats:
        return fail("dagster_daemon", "Dagster's daemon has never given a sign of life", advice)
    late = {name: now - moment for name, moment in heartbeats.items() if now - moment > HEARTBEAT_LIMIT}
    if late:
        told = ", ".join(
            f"{name.lower()} {age.total_seconds() / 60:.0f} min ago" for name, age in sorted(late.items())
        )
        return fail("dagster_daemon", f"last signs of life: {told}", advice)
    return ok("dagster_daemon", f"all {len(heartbeats)} parts of Dagster's daemon are alive")


def _runs(facts: DagsterFacts, now: datetime) -> Finding:
    stuck = [run for run, since in facts.running_since.items() if now - since > RUNNING_LIMIT]
    queued = [run for run, since in facts.queued_since.items() if now - since > QUEUED_LIMIT]
    if stuck:
        return warn(
            "runs",
            f"{len(stuck)} runs go on for more than an hour: {', '.join(sorted(stuck)[:3])}",
            "look at their logs in the UI, and terminate them there",
        )
    if queued:
        return warn(
            "runs",
            f"{len(queued)} runs wait for more than {QUEUED_LIMIT.total_seconds() / 60:.0f} minutes",
            "a backfill takes its time; else see whether the daemon and the code server run",
        )
    return ok("runs", f"{len(facts.running_since)} runs under way, {len(facts.queued_since)} wait")


def _failures(failed: Mapping[str, int]) -> Finding:
    if not failed:
        return ok("failed_runs", "no run has failed in the last day")
    return warn(
        "failed_runs",
        f"failed in the last day: {_counted(failed)}",
        "their logs are in the UI, under Runs; what they left is recomputed by the next run, or by "
        "./peebot backfill",
    )


def _ticks(failed: Mapping[str, int]) -> Finding:
    if not failed:
        return ok("failed_ticks", "no tick of a sensor or schedule has failed in the last hour")
    return warn(
        "failed_ticks",
        f"failed in the last hour: {_counted(failed)}",
        "open it in the UI, under Automation: the tick shows the error; one alone at a restart does no harm",
    )


def _backfills(failed: Sequence[str]) -> Finding:
    if not failed:
        return ok("partitions", "no backfill of the last day has left partitions behind")
    return warn(
        "partitions",
        f"backfills that failed in the last day: {', '.join(failed[:3])}",
        "the same ./peebot backfill again asks for what is left",
    )


def _public_login(facts: DagsterFacts) -> Finding:
    check = "public_login"
    if facts.readers and facts.wrong_rights:
        return fail(
            check,
            f"peebot_dagster_reader: {', '.join(facts.wrong_rights[:3])}",
            "it should SELECT from each of Dagster's tables, and no more: ./peebot migrate, with "
            "PEEBOT_DAGSTER_READER_URL, grants that; REVOKE the rest",
        )
    if facts.readers:
        return ok(check, f"a public UI can log in as {facts.readers[0]}, which only reads")
    if not facts.writers:
        return ok(check, "no process has a login of its own here")
    return warn(
        check,
        f"no login only reads Dagster's tables: a public UI logs in as {facts.writers[0]}, which writes them",
        "if a UI is public, give it PEEBOT_DAGSTER_READER_URL: docs/deployment.md, Logins of the database",
    )


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
