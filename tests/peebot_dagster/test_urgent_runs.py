from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from peebot_dagster.defs.posts import posts_job
from peebot_dagster.urgent_runs import URGENT, UrgentRunsFirst


@dg.op
def nothing() -> None:
    pass


@dg.job
def any_job() -> None:
    nothing()


@pytest.mark.parametrize(("tags", "launched"), [({URGENT: "true"}, True), ({}, False)])
def test_an_urgent_run_is_launched_when_it_is_submitted_and_any_other_queues(
    monkeypatch: pytest.MonkeyPatch, tags: dict[str, str], launched: bool
) -> None:
    started: list[str] = []
    with dg.instance_for_test(
        overrides={"run_coordinator": {"module": "peebot_dagster.urgent_runs", "class": "UrgentRunsFirst"}}
    ) as instance:
        assert isinstance(instance.run_coordinator, UrgentRunsFirst)
        monkeypatch.setattr(
            dg.DagsterInstance, "launch_run", lambda self, run_id, workspace: started.append(run_id)
        )
        run = instance.create_run_for_job(any_job, tags=tags)
        workspace: Any = None

        # Only a run that is reachable by other processes may queue.
        monkeypatch.setattr(type(instance), "report_dagster_event", lambda *args, **kwargs: None)
        instance.run_coordinator.submit_run(dg.SubmitRunContext(run, workspace))

    assert started == ([run.run_id] if launched else [])


def test_a_posting_run_is_urgent() -> None:
    assert posts_job.tags is not None
    assert posts_job.tags[URGENT] == "true"
