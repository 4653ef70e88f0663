"""What the templates of Dagster's Helm chart make of our values, as far as PeeBot uses them.

The chart is in no package registry, so this is told anew here, by what its templates say.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
HELM = ROOT / "deploy" / "helm"
RELEASE = "dagster"
Tree = dict[str, Any]


def values_of(*files: str) -> Tree:
    merged: Tree = {}
    for file in files:
        merged = over(merged, yaml.safe_load((HELM / file).read_text("utf-8")))
    return merged


def over(below: Tree, above: Tree) -> Tree:
    """As Helm puts one values file over another: maps are merged, all else is replaced."""
    return below | {
        key: over(below[key], value)
        if isinstance(value, dict) and isinstance(below.get(key), dict)
        else value
        for key, value in above.items()
    }


def snake(tree: object) -> object:
    """camelCase names of the values as dagster.yaml writes them."""
    if isinstance(tree, dict):
        return {
            "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key): snake(value)
            for key, value in tree.items()
        }
    return [snake(item) for item in tree] if isinstance(tree, list) else tree


def instance_of(values: Tree) -> Tree:
    """The dagster.yaml that the chart's instance ConfigMap has for these values."""
    postgresql, daemon = values["postgresql"], values["dagsterDaemon"]
    config = {
        "postgres_db": {
            "username": postgresql["postgresqlUsername"],
            "password": {"env": "DAGSTER_PG_PASSWORD"},
            "hostname": postgresql["postgresqlHost"],
            "db_name": postgresql["postgresqlDatabase"],
            "port": postgresql["service"]["port"],
            "params": postgresql["postgresqlParams"],
            "scheme": postgresql["postgresqlScheme"],
        }
    }
    storages = {
        kind: {"module": f"dagster_postgres.{module}", "class": name, "config": config}
        for kind, module, name in (
            ("schedule_storage", "schedule_storage", "PostgresScheduleStorage"),
            ("run_storage", "run_storage", "PostgresRunStorage"),
            ("event_log_storage", "event_log", "PostgresEventLogStorage"),
        )
    }
    threads = {key: snake(daemon[key]) for key in ("sensors", "schedules")}
    concurrency = {key: snake(value) for key, value in values["concurrency"].items() if key != "enabled"}
    retention = {key: snake(value) for key, value in values["retention"].items() if key != "enabled"}
    assert values["computeLogManager"]["type"] == "NoOpComputeLogManager"
    return {
        **storages,
        "run_launcher": launcher_of(values),
        "run_coordinator": daemon["runCoordinator"]["config"]["customRunCoordinator"],
        "compute_logs": {
            "module": "dagster.core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",
        },
        "python_logs": snake(values["pythonLogs"]),
        "run_monitoring": snake(daemon["runMonitoring"]),
        "run_retries": snake(daemon["runRetries"]),
        **threads,
        "telemetry": values["telemetry"],
        "retention": retention,
        "concurrency": concurrency,
        **values["additionalInstanceConfig"],
    }


def launcher_of(values: Tree) -> Tree:
    launcher = values["runLauncher"]
    if launcher["type"] == "CustomRunLauncher":
        return dict(launcher["config"]["customRunLauncher"])
    assert launcher["type"] == "K8sRunLauncher"
    given = launcher["config"]["k8sRunLauncher"]
    inside = given["runK8sConfig"]
    return {
        "module": "dagster_k8s",
        "class": "K8sRunLauncher",
        "config": {
            "load_incluster_config": given["loadInclusterConfig"],
            "job_namespace": "peebot",
            "image_pull_policy": given["imagePullPolicy"],
            "service_account_name": RELEASE,
            "dagster_home": values["global"]["dagsterHome"],
            "instance_config_map": f"{RELEASE}-instance",
            "postgres_password_secret": values["global"]["postgresqlSecretName"],
            "security_context": given["securityContext"],
            "run_k8s_config": {
                "pod_spec_config": inside["podSpecConfig"],
                "job_spec_config": inside["jobSpecConfig"],
            },
        },
    }


def deployment_of(values: Tree) -> Tree:
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    return dict(deployment)


def container_context_of(deployment: Tree) -> Tree:
    """What the chart has the code server tell the launcher about its runs."""
    return {
        "k8s": {
            "image_pull_policy": deployment["image"]["pullPolicy"],
            "env_config_maps": [f"{RELEASE}-dagster-user-deployments-{deployment['name']}-user-env"],
            "env_secrets": [source["name"] for source in deployment["envSecrets"]],
            "volume_mounts": deployment["volumeMounts"],
            "volumes": deployment["volumes"],
            "resources": deployment["resources"],
            "namespace": "peebot",
            "service_account_name": f"{RELEASE}-user-deployments",
            "env": deployment["env"],
            "run_k8s_config": {"pod_spec_config": {"automount_service_account_token": True}},
        }
    }
