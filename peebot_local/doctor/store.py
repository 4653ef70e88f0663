"""Findings about PeeBot's database: server, schema, rights, space for tomorrow, and what waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from peebot_dagster.posts.mute import Mute
from peebot_local.doctor.finding import Finding, fail, ok, warn

OLDEST_SERVER = 15
CLOCK_WARN = timedelta(seconds=2)
CLOCK_FAIL = timedelta(seconds=30)
AHEAD_LIMIT = timedelta(minutes=10)
"""No reading is taken from further in the future."""
PENDING_AFTER = timedelta(hours=6)
"""Stale hours are recomputed each hour; a detector may wait some for what comes after."""
BACKUP_WARN = timedelta(hours=36)
BACKUP_FAIL = timedelta(days=3)
"""One is made each night."""


@dataclass(frozen=True)
class StoreFacts:
    """What the database tells of itself. Times are UTC.

    `clock_ahead` is how much its clock is ahead of this machine's, `clock_error` how uncertain that is;
    `missing_rights` are those that the roles should have and do not; `tomorrow` is whether there is a chunk
    for tomorrow's readings; `pending` are hours that some processor has not seen although they are old.
    """

    server: int
    edition: str
    timescaledb: str | None
    encoding: str
    clock_ahead: timedelta
    clock_error: timedelta
    newest: datetime | None
    missing_roles: Sequence[str]
    missing_rights: Sequence[str]
    tomorrow: bool
    pending: dict[str, int]
    detector_errors: dict[str, str]
    mute: Mute | None


def examine_schema(revision: str | None, known: Sequence[str]) -> Finding:
    """Whether code and schema fit."""
    if revision is None:
        return fail("schema", "the database has no schema of PeeBot's", "./peebot migrate")
    if revision not in known:
        return fail(
            "schema",
            f"schema {revision} is newer than this code, which knows {known[-1]}",
            "run the newer version of PeeBot, or restore the backup made before the upgrade: "
            "./peebot restore FILE --force",
        )
    if revision != known[-1]:
        return fail("schema", f"schema {revision} is older than this code's {known[-1]}", "./peebot migrate")
    return ok("schema", f"schema {revision} is the newest")


def examine_store(facts: StoreFacts, now: datetime) -> list[Finding]:
    """What to mend in a database with the schema of this code."""
    return [
        _server(facts),
        _clock(facts),
        _newest(facts.newest, now),
        _roles(facts),
        _tomorrow(facts.tomorrow),
        _pending(facts.pending),
        *_detectors(facts.detector_errors),
        _mute(facts.mute),
    ]


def _server(facts: StoreFacts) -> Finding:
    extension = f", TimescaleDB {facts.timescaledb}" if facts.timescaledb else ""
    text = f"PostgreSQL {facts.server}{extension} ({facts.edition}), encoding {facts.encoding}"
    if facts.server < OLDEST_SERVER:
        return fail("server", text, f"use PostgreSQL {OLDEST_SERVER} or newer")
    if facts.encoding != "UTF8":
        return fail("server", text, "move to a database with ENCODING 'UTF8'")
    return ok("server", text)


def _clock(facts: StoreFacts) -> Finding:
    ahead = facts.clock_ahead.total_seconds()
    text = (
        f"the database's clock is {abs(ahead):.2f} s {'ahead of' if ahead >= 0 else 'behind'} this machine's"
    )
    advice = "set both by NTP (timedatectl set-ntp true); docs/operations.md, Clock wrong"
    surely = max(abs(facts.clock_ahead) - facts.clock_error, timedelta(0))
    if surely > CLOCK_FAIL:
        return fail("database_clock", text, advice)
    if surely > CLOCK_WARN:
        return warn("database_clock", text, advice)
    return ok("database_clock", text)


def _newest(newest: datetime | None, now: datetime) -> Finding:
    if newest is None:
        return ok("newest_reading", "no reading is stored yet")
    age = (now - newest).total_seconds()
    if -age > AHEAD_LIMIT.total_seconds():
        return fail(
            "newest_reading",
            f"the newest reading is {-age / 60:.0f} minutes in the future",
            "a clock is or was wrong: docs/operations.md, Clock wrong",
        )
    return ok("newest_reading", f"the newest reading is {max(age, 0):,.0f} s old")


def _roles(facts: StoreFacts) -> Finding:
    if facts.missing_roles:
        return warn(
            "roles",
            f"missing: {', '.join(facts.missing_roles)}",
            "only the owner can work here until a superuser creates them (CREATE ROLE … NOLOGIN) and calls "
            "SELECT grant_roles()",
        )
    if facts.missing_rights:
        return fail(
            "roles", f"missing: {'; '.join(facts.missing_rights)}", "as the owner: SELECT grant_roles()"
        )
    return ok("roles", "peebot_ingest, peebot_dagster and peebot_reader have their rights")


def _tomorrow(there: bool) -> Finding:
    if there:
        return ok("chunks", "there is room for tomorrow's readings")
    return warn(
        "chunks",
        "there is no chunk for tomorrow's readings",
        "on the first day that is so; later it means that the nightly job store_maintenance does not run",
    )


def _pending(pending: dict[str, int]) -> Finding:
    if not pending:
        return ok("pending_hours", "every older hour is computed by all that read it")
    waiting = ", ".join(f"{name} {hours}" for name, hours in sorted(pending.items()))
    return warn(
        "pending_hours",
        f"hours that wait longer than {PENDING_AFTER.total_seconds() / 3600:.0f} h: {waiting}",
        "after a start or a backfill they get fewer; else see whether the runs of hourly_assets succeed",
    )


def _detectors(errors: dict[str, str]) -> list[Finding]:
    if not errors:
        return [ok("detectors", "no detector has failed in its last look")]
    return [
        fail("detectors", f"{name}: {error}", "its log is in the UI, in the ticks of live_detection")
        for name, error in sorted(errors.items())
    ]


def _mute(mute: Mute | None) -> Finding:
    if mute is None:
        return ok("muted", "posting is not muted")
    end = mute.muted_until
    until = "./peebot unmute" if end is None else f"{end.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return warn(
        "muted",
        f"posting is muted until {until}",
        "nothing is posted meanwhile; ./peebot unmute if that is not wished",
    )


def examine_backups(newest: datetime | None, folder: str, now: datetime) -> Finding:
    """How old the newest backup in the folder is."""
    if newest is None:
        return warn(
            "backup",
            f"no *.backup is in {folder}",
            f"./peebot backup {folder}/peebot.backup, each night; or name their folder with --backups",
        )
    age = now - newest
    text = f"the newest backup is {age.total_seconds() / 3600:.1f} h old"
    if age > BACKUP_WARN:
        judged = fail if age > BACKUP_FAIL else warn
        return judged(
            "backup", text, "does the timer run (systemctl list-timers)? ./peebot backup FILE makes one"
        )
    return ok("backup", text)
