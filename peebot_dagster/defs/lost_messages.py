"""The sensor that sends again what a broker has lost: only where warm workers execute the runs."""

from datetime import UTC, datetime

import dagster as dg

from peebot_dagster.leased_runs import LeasedRunLauncher


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Sends runs again whose message a broker or a worker has lost before they began.",
)
def lost_messages(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """One look at the runs that are STARTING."""
    launcher = context.instance.run_launcher
    if not isinstance(launcher, LeasedRunLauncher):
        return dg.SkipReason("no warm workers execute the runs of this Dagster")
    sent = launcher.resend_lost(datetime.now(UTC))
    return dg.SkipReason(f"sent again: {', '.join(sent)}" if sent else "nothing was lost")
