"""Runs that somebody waits for start at once; all others queue. No business rules, no clock."""

from __future__ import annotations

import dagster as dg

URGENT = "peebot/urgent"
"""Tag of a run, with the value `true`: it is launched when it is submitted."""


class UrgentRunsFirst(dg.QueuedRunCoordinator):
    """Dagster's queue, past which urgent runs go: the daemon looks at the queue now and then only.

    An urgent run takes no part in the limits of the queue, so urgent jobs must see to it that they are few.
    """

    def submit_run(self, context: dg.SubmitRunContext) -> dg.DagsterRun:
        """Launch it, or put it into the queue."""
        run = context.dagster_run
        if run.tags.get(URGENT) != "true" or run.status != dg.DagsterRunStatus.NOT_STARTED:
            return super().submit_run(context)
        self._instance.launch_run(run.run_id, context.workspace)
        launched = self._instance.get_run_by_id(run.run_id)
        return run if launched is None else launched
