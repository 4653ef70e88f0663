"""The facts about Dagster, read from its database. Nothing is changed, and no Dagster instance is made."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
from alembic.script import ScriptDirectory

from peebot_local.doctor.dagster import DagsterFacts

# Dagster keeps moments without a time zone in that of its sessions, which is the database's default, as here.
_HEARTBEATS = "SELECT daemon_type, (body::jsonb ->> 'timestamp')::float8 FROM daemon_heartbeats"
_UNFINISHED = """
SELECT run_id, status IN ('QUEUED', 'NOT_STARTED'),
    coalesce(to_timestamp(start_time), create_timestamp::timestamptz)
FROM runs WHERE status IN ('QUEUED', 'NOT_STARTED', 'STARTING', 'STARTED', 'CANCELING')
"""
_FAILED_RUNS = """
SELECT pipeline_name, count(*) FROM runs
WHERE status = 'FAILURE' AND update_timestamp::timestamptz >= %s::timestamptz - interval '1 day' GROUP BY 1
"""
_FAILED_TICKS = """
SELECT tick_body::jsonb ->> 'instigator_name', count(*) FROM job_ticks
WHERE status = 'FAILURE' AND timestamp::timestamptz >= %s::timestamptz - interval '1 hour' GROUP BY 1
"""
_FAILED_BACKFILLS = """
SELECT key FROM bulk_actions
WHERE status IN ('FAILED', 'COMPLETED_FAILED')
    AND timestamp::timestamptz >= %s::timestamptz - interval '1 day'
ORDER BY timestamp DESC
"""
# The owner may be a member as well, having made the roles.
_LOGINS = """
SELECT login.rolname::text FROM pg_auth_members
JOIN pg_roles AS granted ON granted.oid = roleid JOIN pg_roles AS login ON login.oid = member
WHERE granted.rolname = %s AND login.rolcanlogin AND NOT login.rolcreaterole AND NOT login.rolsuper
ORDER BY 1
"""
_WRONG_RIGHTS = """
SELECT CASE WHEN reads THEN 'may write ' ELSE 'may not read ' END || relation
FROM pg_roles AS reader CROSS JOIN pg_class, LATERAL (VALUES (
    pg_class.oid::regclass::text, has_table_privilege(reader.oid, pg_class.oid, 'SELECT'),
    has_table_privilege(reader.oid, pg_class.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
)) AS rights (relation, reads, writes)
WHERE reader.rolname = 'peebot_dagster_reader' AND relkind = 'r'
    AND relnamespace = current_schema()::regnamespace AND (writes OR NOT reads)
ORDER BY 1
"""


def dagster_facts(connection: psycopg.Connection, now: datetime) -> DagsterFacts:
    """What Dagster's database tells at `now` (UTC)."""
    ((revision,),) = connection.execute("SELECT max(version_num) FROM alembic_version").fetchall()
    unfinished = connection.execute(_UNFINISHED).fetchall()

    def logins(role: str) -> list[str]:
        return [user for (user,) in connection.execute(_LOGINS, (role,)).fetchall()]

    return DagsterFacts(
        revision=revision,
        newest=newest_revision(),
        heartbeats={
            kind: datetime.fromtimestamp(moment, UTC)
            for kind, moment in connection.execute(_HEARTBEATS).fetchall()
        },
        running_since={run: since for run, queued, since in unfinished if not queued},
        queued_since={run: since for run, queued, since in unfinished if queued},
        failed_runs=dict(connection.execute(_FAILED_RUNS, (now,)).fetchall()),
        failed_ticks=dict(connection.execute(_FAILED_TICKS, (now,)).fetchall()),
        failed_backfills=[key for (key,) in connection.execute(_FAILED_BACKFILLS, (now,)).fetchall()],
        writers=logins("peebot_dagster"),
        readers=logins("peebot_dagster_reader"),
        wrong_rights=[text for (text,) in connection.execute(_WRONG_RIGHTS).fetchall()],
    )


def newest_revision() -> str:
    """The revision to which the installed Dagster brings its database."""
    import dagster_postgres
    from dagster._core.storage.sql import ALEMBIC_SCRIPTS_LOCATION
    from dagster_postgres.utils import pg_alembic_config

    config = pg_alembic_config(dagster_postgres.__file__, script_location=ALEMBIC_SCRIPTS_LOCATION)
    head = ScriptDirectory.from_config(config).get_current_head()
    if head is None:
        raise AssertionError("Dagster always has migrations")
    return head
