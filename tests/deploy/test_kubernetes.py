"""What the Kubernetes manifests promise, read as YAML, and checked against Kubernetes' own schemas."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from peebot_dagster.ingest_metrics import METRICS_PORT, METRICS_VARIABLE
from peebot_local.logins import ROLES
from peebot_local.serve import served
from peebot_local.settings import Settings
from tests.deploy.chart import RELEASE, deployment_of, values_of

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
Object = dict[str, Any]
OBJECTS: list[Object] = [
    document
    for file in sorted(FOLDER.glob("*.yaml"))
    for document in yaml.safe_load_all(file.read_text("utf-8"))
]
WORKLOADS = {
    item["metadata"]["name"]: item for item in OBJECTS if item["kind"] in ("Job", "Deployment", "StatefulSet")
}


def of_kind(kind: str) -> Iterator[Object]:
    return (item for item in OBJECTS if item["kind"] == kind)


def pod_of(workload: Object) -> Object:
    pod: Object = workload["spec"]["template"]
    return pod


def container_of(workload: Object) -> Object:
    (container,) = pod_of(workload)["spec"]["containers"]
    return dict(container)


def matches(selector: Object, labels: Object) -> bool:
    return selector["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("name", WORKLOADS)
def test_each_pod_is_nobody_special_and_writes_only_where_it_must(name: str) -> None:
    pod = pod_of(WORKLOADS[name])["spec"]
    container = container_of(WORKLOADS[name])
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    # Of the service peebot-live Kubernetes would tell PEEBOT_LIVE_PORT=tcp://…, which is no port.
    assert pod["enableServiceLinks"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    assert {"/tmp", "/var/lib/peebot"} <= {mount["mountPath"] for mount in container["volumeMounts"]}
    claimed = {claim["metadata"]["name"] for claim in WORKLOADS[name]["spec"].get("volumeClaimTemplates", [])}
    volumes = {volume["name"] for volume in pod["volumes"]} | claimed
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes


@pytest.mark.parametrize("name", WORKLOADS)
def test_no_secret_is_written_into_a_manifest(name: str) -> None:
    for variable in container_of(WORKLOADS[name])["env"]:
        assert variable["name"] not in ("PEEBOT_DATABASE_URL", "PEEBOT_X_ACCESS_TOKEN")
        if "PASSWORD" in variable["name"]:
            assert "value" not in variable
    assert not list(of_kind("Secret"))


def test_each_process_has_a_login_of_its_own() -> None:
    given = {
        name: [
            volume["secret"]["secretName"]
            for volume in pod_of(workload)["spec"]["volumes"]
            if "secret" in volume
        ]
        + [source["secretRef"]["name"] for source in container_of(workload).get("envFrom", [])]
        for name, workload in WORKLOADS.items()
    }
    assert given == {
        "peebot-migrate": ["peebot-owner"],
        "peebot-admin": ["peebot-owner"],
        "peebot-ingest": ["peebot-ingest"],
        "peebot-live": ["peebot-reader"],
        "peebot-webserver-public": ["peebot-dagster-reader"],
        "peebot-code-server": ["peebot-dagster", "peebot-posting"],
    }


@pytest.mark.parametrize("name", sorted(WORKLOADS.keys() - {"peebot-migrate", "peebot-admin"}))
def test_each_command_is_one_that_peebot_has(name: str) -> None:
    program, verb, process, *_ = container_of(WORKLOADS[name])["command"]
    assert (program, verb) == ("peebot", "serve")
    served(process, Settings.from_environment({"PEEBOT_DATABASE_URL": "postgresql://db/peebot"}), {})


def test_the_migration_makes_the_login_of_each_process() -> None:
    job = WORKLOADS["peebot-migrate"]
    given = {variable["name"]: variable["value"] for variable in container_of(job)["env"]}
    (sources,) = (
        volume["projected"]["sources"] for volume in pod_of(job)["spec"]["volumes"] if "projected" in volume
    )
    files = {
        f"/run/secrets/logins/{item['path']}": source["secret"]["name"]
        for source in sources
        for item in source["secret"]["items"]
    }
    assert {setting: files[given[f"{setting}_FILE"]] for setting in ROLES} == {
        "PEEBOT_INGEST_URL": "peebot-ingest",
        "PEEBOT_DAGSTER_URL": "peebot-dagster",
        "PEEBOT_DAGSTER_READER_URL": "peebot-dagster-reader",
        "PEEBOT_READER_URL": "peebot-reader",
    }


def test_the_owners_commands_end_with_their_hour_and_are_let_in_where_they_ask() -> None:
    admin = container_of(WORKLOADS["peebot-admin"])
    assert admin["command"] == ["sleep", "3600"]
    given = {variable["name"]: variable["value"] for variable in admin["env"]}
    labels = pod_of(WORKLOADS["peebot-admin"])["metadata"]["labels"]
    policies = {item["metadata"]["name"]: item["spec"] for item in of_kind("NetworkPolicy")}
    ui = yaml.safe_load((FOLDER.parent / "helm" / "values.yaml").read_text("utf-8"))["dagsterWebserver"]
    assert given["PEEBOT_UI_URL"] == f"http://{RELEASE}-{ui['nameOverride']}:{ui['service']['port']}"
    for policy, port in (("peebot-ui", ui["service"]["port"]), ("peebot-metrics", METRICS_PORT)):
        (rule,) = policies[policy]["ingress"]
        let_in = [peer["podSelector"] for peer in rule["from"] if "podSelector" in peer]
        assert any(matches(selector, labels) for selector in let_in)
        assert [entry["port"] for entry in rule["ports"]] == [port]


def test_a_proxy_with_a_login_is_let_in_to_the_ui_by_the_one_line_that_says_so() -> None:
    text = (FOLDER / "network.yaml").read_text("utf-8")
    edited = re.sub(r"(# EDIT if there is such a proxy.*\n +)# ", r"\1", text)
    (policy,) = (item for item in yaml.safe_load_all(edited) if item["metadata"]["name"] == "peebot-ui")
    (rule,) = policy["spec"]["ingress"]
    others = [peer["podSelector"]["matchLabels"] for peer in rule["from"]]
    assert [labels["app.kubernetes.io/name"] for labels in others] == ["peebot", "oauth2-proxy"]
    assert [port["port"] for port in rule["ports"]] == [3000]


def test_two_ingest_daemons_stand_by_for_each_other_on_different_hosts() -> None:
    ingest = WORKLOADS["peebot-ingest"]
    assert ingest["spec"]["replicas"] == 2
    # One that waits for its feed must not keep the other from starting.
    assert ingest["spec"]["podManagementPolicy"] == "Parallel"
    (term,) = pod_of(ingest)["spec"]["affinity"]["podAntiAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert matches(term["labelSelector"], pod_of(ingest)["metadata"]["labels"])
    (budget,) = of_kind("PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1
    assert matches(budget["spec"]["selector"], pod_of(ingest)["metadata"]["labels"])
    (spool,) = ingest["spec"]["volumeClaimTemplates"]
    assert spool["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_a_feed_that_is_away_restarts_nobody() -> None:
    ingest = container_of(WORKLOADS["peebot-ingest"])
    for probe in ("startupProbe", "livenessProbe"):
        assert ingest[probe]["httpGet"]["path"] == "/metrics"
    assert ingest["readinessProbe"]["httpGet"]["path"] == "/healthz"


def test_each_selector_finds_its_pods() -> None:
    labels = [pod_of(workload)["metadata"]["labels"] for workload in WORKLOADS.values()]
    for workload in WORKLOADS.values():
        if "selector" in workload["spec"]:
            assert matches(workload["spec"]["selector"], pod_of(workload)["metadata"]["labels"])
    for service in of_kind("Service"):
        assert sum(service["spec"]["selector"].items() <= pod.items() for pod in labels) == 1


def test_nobody_is_let_in_but_by_name() -> None:
    policies = {item["metadata"]["name"]: item["spec"] for item in of_kind("NetworkPolicy")}
    nobody = policies.pop("peebot-nobody")
    assert nobody == {"podSelector": {}, "policyTypes": ["Ingress"]}
    for policy in policies.values():
        assert policy["podSelector"]["matchLabels"]
        for rule in policy["ingress"]:
            assert rule["from"]
            assert rule["ports"]


def test_the_alerts_read_the_spools_of_both_daemons_with_or_without_a_feed() -> None:
    ingest = WORKLOADS["peebot-ingest"]
    (service,) = (
        item for item in of_kind("Service") if item["metadata"]["name"] == ingest["spec"]["serviceName"]
    )
    # A daemon without a feed is not ready, and would have no name without this.
    assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == ("None", True)
    pods = [f"peebot-ingest-{number}" for number in range(ingest["spec"]["replicas"])]
    wanted = [f"{pod}.{service['metadata']['name']}:9473" for pod in pods]
    of_the_chart = deployment_of(values_of("values.yaml"))["env"]
    for environment in (of_the_chart, container_of(WORKLOADS["peebot-code-server"])["env"]):
        (urls,) = (each["value"] for each in environment if each["name"] == METRICS_VARIABLE)
        # As `spools` of the alerts takes them apart.
        assert urls.split() == [f"http://{host}/metrics" for host in wanted]


def test_both_kinds_of_code_server_may_read_the_metrics() -> None:
    policies = {item["metadata"]["name"]: item["spec"] for item in of_kind("NetworkPolicy")}
    (rule,) = policies["peebot-metrics"]["ingress"]
    let_in = [source["podSelector"] for source in rule["from"] if "podSelector" in source]
    # The very pods to which the policies of the code servers apply.
    for name in ("peebot-code-server", "peebot-forked-runs"):
        assert policies[name]["podSelector"] in let_in
    assert matches(let_in[1], pod_of(WORKLOADS["peebot-code-server"])["metadata"]["labels"])


def test_the_world_sees_the_live_page_and_the_read_only_ui() -> None:
    (ingress,) = of_kind("Ingress")
    shown = {
        (path["backend"]["service"]["name"], path["path"], path["pathType"])
        for rule in ingress["spec"]["rules"]
        for path in rule["http"]["paths"]
    }
    ui = "peebot-webserver-public"
    assert "--read-only" in container_of(WORKLOADS[ui])["command"]
    live = {("peebot-live", path, "Exact") for path in ("/", "/events", "/live.css", "/live.js")}
    assert shown == live | {(ui, "/", "Prefix")}
    hosts = [rule["host"] for rule in ingress["spec"]["rules"]]
    assert ingress["spec"]["tls"][0]["hosts"] == hosts


def test_who_looks_at_the_ui_finds_the_code_server_of_the_chart_and_is_let_in() -> None:
    ui = WORKLOADS["peebot-webserver-public"]
    given = {variable["name"]: variable["value"] for variable in container_of(ui)["env"]}
    # The chart names the service as the deployment.
    deployment = deployment_of(values_of("values.yaml"))
    assert given["PEEBOT_CODE_SERVER_HOST"] == deployment["name"]
    assert given["PEEBOT_CODE_SERVER_PORT"] == str(deployment["port"])
    policies = {item["metadata"]["name"]: item["spec"] for item in of_kind("NetworkPolicy")}
    for code_server in ("peebot-code-server", "peebot-forked-runs"):
        (rule,) = policies[code_server]["ingress"]
        let_in = [source["podSelector"] for source in rule["from"]]
        assert any(matches(selector, pod_of(ui)["metadata"]["labels"]) for selector in let_in)


@pytest.mark.slow
def test_the_manifests_keep_kubernetes_schemas(tool: Callable[[str], str]) -> None:
    files = sorted(FOLDER.glob("*.yaml"))
    checked = subprocess.run(
        [tool("kubernetes-validate"), "--strict", *files], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert (checked.stdout + checked.stderr).count(" passed ") == len(OBJECTS)
