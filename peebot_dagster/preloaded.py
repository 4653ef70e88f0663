"""All that whoever is forked to run something has imported by then: import it and do nothing else.

A rehearsal loads what Dagster imports only when it runs something.
"""

import gc

import dagster as dg
import dagster._cli.api
import dagster._grpc.server
import psycopg2.extras  # type: ignore[import-untyped]  # noqa: F401
import upath.implementations.local  # noqa: F401

import peebot_dagster.pooled_storage
import peebot_dagster.urgent_runs  # noqa: F401
from peebot_dagster.definitions import defs
from peebot_dagster.posts.jokes import load_jokes


@dg.job(executor_def=dg.in_process_executor)
def rehearsal() -> None:
    """A run of nothing."""

    @dg.op
    def nothing() -> None: ...

    nothing()


defs.get_repository_def()
load_jokes()
with dg.DagsterInstance.ephemeral() as instance:
    rehearsal.execute_in_process(
        instance=instance, run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    )

# What is there by now stays, and a collection that writes to its pages would unshare them.
gc.collect()
gc.freeze()
