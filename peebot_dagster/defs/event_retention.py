"""Deleting old events that belong to no run from Dagster's event log: Dagster has no call for that.

The sensors report such events: the state of the feed each minute (three events, some 5 MB a day), and live
detection, again and again, each hour whose events have changed, with a check.
"""

from datetime import UTC, datetime

import dagster as dg

_KINDS = [
    dg.DagsterEventType.ASSET_MATERIALIZATION.value,
    dg.DagsterEventType.ASSET_OBSERVATION.value,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION.value,
]


def delete_old_runless_events(instance: dg.DagsterInstance, before: datetime) -> int:
    """Delete the events of no run from before `before` (UTC); how many it were.

    The latest of each kind, asset and partition, and of each check, stays whatever its age: the UI shows it,
    and it is what tells that the partition is there.
    """
    # Imported here: other runs need not pay for it.
    import sqlalchemy as sa
    from dagster._core.instance.utils import RUNLESS_RUN_ID
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return 0
    log, checks = SqlEventLogStorageTable, AssetCheckExecutionsTable
    limit = before.astimezone(UTC).replace(tzinfo=None)
    latest_events = (
        sa.select(sa.func.max(log.c.id))
        .where(log.c.run_id == RUNLESS_RUN_ID)
        .group_by(log.c.asset_key, log.c.partition, log.c.dagster_event_type)
    )
    latest_checks = sa.select(sa.func.max(checks.c.id)).group_by(checks.c.asset_key, checks.c.check_name)
    shown_checks = sa.select(checks.c.evaluation_event_storage_id).where(
        checks.c.id.in_(latest_checks), checks.c.evaluation_event_storage_id.is_not(None)
    )
    with storage.index_connection() as connection:
        deleted = connection.execute(
            log.delete().where(
                log.c.run_id == RUNLESS_RUN_ID,
                log.c.timestamp < limit,
                log.c.dagster_event_type.in_(_KINDS),
                log.c.id.not_in(latest_events),
                log.c.id.not_in(shown_checks),
            )
        )
        connection.execute(
            checks.delete().where(
                checks.c.run_id == RUNLESS_RUN_ID,
                checks.c.create_timestamp < limit,
                checks.c.id.not_in(latest_checks),
            )
        )
    return int(deleted.rowcount)
