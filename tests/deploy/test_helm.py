"""The values for Dagster's Helm chart, judged by Dagster's own configuration; Helm is not run."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import yaml
from dagster._config import process_config, resolve_to_config_type
from dagster._core.instance.ref import InstanceRef
from dagster_k8s import K8sRunLauncher

from peebot_local.database import dagster_environment
from tests.deploy.chart import HELM, ROOT, deployment_of, instance_of, launcher_of, values_of

VALUES = values_of("values.yaml")


def test_the_cluster_does_as_dagster_yaml_says_but_for_the_time_to_start() -> None:
    ours = yaml.safe_load((ROOT / "dagster.yaml").read_text("utf-8"))
    chart = instance_of(VALUES)
    del ours["storage"]
    ours["run_monitoring"] |= {
        "start_timeout_seconds": 300,
        "max_resume_run_attempts": 0,
        "free_slots_after_run_end_seconds": 0,
    }
    assert {key: chart[key] for key in ours} == ours


def test_dagster_takes_the_instance_that_the_chart_makes(tmp_path: Path) -> None:
    for files in (["values.yaml"], ["values.yaml", "forked-runs.yaml"]):
        (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(instance_of(values_of(*files))))
        InstanceRef.from_dir(str(tmp_path))


def test_the_run_launcher_takes_its_configuration() -> None:
    config = launcher_of(VALUES)["config"]
    checked = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), config)
    assert checked.success, checked.errors
    unknown = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), {**config, "image": "x"})
    assert not unknown.success


def test_dagster_is_told_in_the_cluster_what_serve_tells_it_elsewhere() -> None:
    served = dagster_environment("postgresql://db/peebot", Path("/nowhere"))
    of_the_chart = {"DAGSTER_HOME", "DAGSTER_PG_URL"}
    wanted = {key: served[key] for key in served if key.startswith("DAGSTER_") and key not in of_the_chart}
    assert wanted
    for place in (VALUES["dagsterWebserver"], VALUES["dagsterDaemon"], deployment_of(VALUES)):
        given = {variable["name"]: variable.get("value") for variable in place["env"]}
        assert wanted.items() <= given.items()


def test_everything_is_of_one_image_and_runs_as_nobody_special() -> None:
    deployment = deployment_of(VALUES)
    places = (VALUES["dagsterWebserver"], VALUES["dagsterDaemon"], deployment)
    for place in places:
        assert place["image"] == deployment["image"]
        assert place["podSecurityContext"]["runAsNonRoot"] is True
        assert place["securityContext"]["readOnlyRootFilesystem"] is True
        assert place["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert place["resources"]["limits"]["memory"]
    assert deployment["image"]["tag"] != "latest"
    # The chart gives arguments to the image's own entry point: there must be none.
    assert "ENTRYPOINT" not in (ROOT / "deploy" / "Dockerfile").read_text("utf-8").replace(
        "no ENTRYPOINT", ""
    )


def test_nothing_is_installed_beside_dagster_and_the_docs_name_the_charts_version() -> None:
    # The chart gives it the login of the one that writes.
    assert VALUES["dagsterWebserver"]["enableReadOnly"] is False
    assert VALUES["ingress"] == {"enabled": False}
    for service in ("postgresql", "rabbitmq", "redis", "flower"):
        assert VALUES[service]["enabled"] is False
    assert VALUES["generatePostgresqlPasswordSecret"] is False
    for text in (HELM / "values.yaml", ROOT / "docs" / "kubernetes.md"):
        assert f"--version {version('dagster')}" in text.read_text("utf-8")
