"""A code location whose job tells where its process comes from."""

import json
import os
import sys
from pathlib import Path

import dagster as dg
import psutil


@dg.job(executor_def=dg.in_process_executor)
def tell() -> None:
    @dg.op
    def where_from() -> None:
        parent = psutil.Process().parent()
        assert parent is not None
        told = {
            "preloaded": "peebot_dagster.preloaded" in sys.modules,
            "parent": parent.pid,
            "threads_of_parent": parent.num_threads(),
        }
        Path(os.environ["TOLD"]).write_text(json.dumps(told))

    where_from()


@dg.job(executor_def=dg.in_process_executor)
def die() -> None:
    @dg.op
    def die_at_once() -> None:
        os._exit(3)

    die_at_once()


defs = dg.Definitions(jobs=[tell, die])
