"""Gathers what can be gathered, also when nothing runs, and lets the pure parts judge it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from peebot_dagster.store import connection_info
from peebot_local.backup import backup_made_at
from peebot_local.database import dagster_database, describe
from peebot_local.doctor.dagster import examine_dagster
from peebot_local.doctor.dagster_facts import dagster_facts
from peebot_local.doctor.environment import examine_environment
from peebot_local.doctor.finding import Finding, fail, of_verdict, ok, warn
from peebot_local.doctor.host import examine_host
from peebot_local.doctor.host_facts import host_facts
from peebot_local.doctor.spool import examine_spool
from peebot_local.doctor.spool_facts import spool_facts
from peebot_local.doctor.store import examine_backups, examine_schema, examine_store
from peebot_local.doctor.store_facts import database_folder, feed_verdicts, store_facts
from peebot_local.errors import MendableError
from peebot_local.open_store import running_store
from peebot_local.settings import Settings
from sql.schema_version import known_revisions, schema_revision


def examine(environment: Mapping[str, str], now: datetime, backups: Path | None = None) -> list[Finding]:
    """All that can be said at `now` (UTC) of the PeeBot that this environment means."""
    findings = examine_environment(environment)
    try:
        settings = Settings.from_environment(environment)
    except MendableError:
        # Already told; without it there is no home and no database to look at.
        return findings
    running = running_store(settings)
    if running is not None and running.home.path != settings.home:
        settings = settings.for_demo()
    given = settings.database_url
    url = given.get_secret_value() if given is not None else running.database_url if running else None
    findings.append(_runner(settings, running is not None, url is not None))
    folder: Path | None = None
    store: list[Finding] = []
    if url is not None:
        folder, store = _store(url, now)
        store += _dagster(make_conninfo(url, dbname=dagster_database(url)), now)
    metrics_url = running.state.metrics_url if running else None
    kept = backups or settings.home / "backup"
    made_at, backup_bytes = _newest_backup(kept)
    return [
        *findings,
        *examine_host(host_facts(settings, environment, folder, backup_bytes)),
        *store,
        examine_spool(spool_facts(settings, environment, metrics_url)),
        examine_backups(made_at, str(kept), now),
    ]


def _runner(settings: Settings, runs: bool, has_database: bool) -> Finding:
    if runs:
        return ok("runner", f"PeeBot runs on {settings.home}")
    if has_database:
        return ok("runner", f"no './peebot up' on {settings.home}: looking only at PEEBOT_DATABASE_URL")
    return warn(
        "runner",
        f"nothing runs on {settings.home}, so its database was not looked at",
        "start ./peebot up (or demo), or set PEEBOT_DATABASE_URL",
    )


def _store(url: str, now: datetime) -> tuple[Path | None, list[Finding]]:
    try:
        with psycopg.connect(connection_info(url, "peebot doctor")) as connection:
            connection.read_only = True
            reached = ok("database", f"{describe(url)} answers")
            folder = database_folder(connection)
            known = known_revisions()
            revision = schema_revision(connection)
            schema = examine_schema(revision, known)
            if revision != known[-1]:
                # What another schema has is not this code's to ask.
                return folder, [reached, schema]
            findings = examine_store(store_facts(connection, now), now)
            findings += [of_verdict(verdict) for verdict in feed_verdicts(connection, now)]
            return folder, [reached, schema, *findings]
    except psycopg.Error as error:
        return None, [_unreached("database", url, error)]


def _dagster(url: str, now: datetime) -> list[Finding]:
    try:
        with psycopg.connect(connection_info_without_zone(url)) as connection:
            connection.read_only = True
            return [
                ok("dagster_database", f"{describe(url)} answers"),
                *examine_dagster(dagster_facts(connection, now), now),
            ]
    except psycopg.Error as error:
        return [_unreached("dagster_database", url, error)]


def connection_info_without_zone(url: str) -> str:
    """As Dagster itself connects: in the time zone that is the database's own."""
    return make_conninfo(url, application_name="peebot doctor", connect_timeout=10)


def _unreached(check: str, url: str, error: psycopg.Error) -> Finding:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].removeprefix(
        "connection failed: "
    )
    match error:
        case psycopg.errors.InsufficientPrivilege():
            advice = "ask as the owner of the database"
        case psycopg.errors.UndefinedTable():
            advice = "./peebot migrate"
        case _:
            advice = "is the server up, and is PEEBOT_DATABASE_URL right? docs/operations.md, Database moved"
    return fail(check, f"{describe(url)}: {reason}", advice)


def _newest_backup(folder: Path) -> tuple[datetime | None, int]:
    """When it was made, and its size in bytes."""
    made = [
        (moment, file.stat().st_size)
        for file in folder.glob("*.backup")
        if (moment := backup_made_at(file)) is not None
    ]
    return max(made, default=(None, 0))
