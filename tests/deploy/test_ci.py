"""What CI promises to run, read from its workflow; where it runs nobody has asked."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

WORKFLOW = Path(__file__).parents[2] / ".github" / "workflows" / "ci.yml"


def test_one_job_is_root_on_debian_and_may_not_skip_the_tests_of_several_hosts() -> None:
    job = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]["debian"]
    assert job["container"]["image"].startswith("debian:")
    assert "--privileged" in job["container"]["options"].split()
    assert job["env"] == {"PEEBOT_REQUIRE_NAMESPACES": "1"}
    assert job["steps"][-1] == {"run": ".ci/run"}


@pytest.mark.slow
def test_the_workflow_is_one_that_github_reads(tool: Callable[[str], str]) -> None:
    check = [tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", WORKFLOW]
    checked = subprocess.run(check, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
