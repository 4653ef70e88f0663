"""All that the code server and the runs have imported when they are forked: import it and do nothing else."""

import gc

import dagster._cli.api
import dagster._grpc.server  # noqa: F401
import dagster_postgres  # noqa: F401

from peebot_dagster.definitions import defs

defs.get_repository_def()

# What is there by now stays, and a collection that writes to its pages would unshare them.
gc.collect()
gc.freeze()
