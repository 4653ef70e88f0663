"""Prometheus' rules and Grafana's dashboard against the daemon's real metrics and the real schema."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ingest_daemon.metrics import Metrics

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
RULES_TEST = Path(__file__).parent / "prometheus" / "rules_test.yml"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "peebot.json").read_text("utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
QUERIES = [
    pytest.param(target["rawSql"], id=name)
    for name, target in [
        *((panel["title"], target) for panel in PANELS for target in panel["targets"]),
        *(("annotation " + each["name"], each) for each in DASHBOARD["annotations"]["list"]),
    ]
    if "rawSql" in target
]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"] if "expr" in target]
RANGE = ("'2026-03-01T00:00:00Z'", "'2026-03-02T00:00:00Z'")


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def exposed() -> set[str]:
    """The names of all samples that a daemon exposes, and of Prometheus' own `up`."""
    metrics = Metrics()
    metrics.rejected("any")
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {"up"} | {sample.name for family in families for sample in family.samples}


def named_in(expression: str) -> set[str]:
    return set(
        re.findall(r"\b(?:peebot_(?!ingest\b)\w+|up|process_\w+)\b", re.sub(r'"[^"]*"', "", expression))
    )


def expanded(query: str) -> str:
    """The query as Grafana sends it; an unknown macro stays, and is an error of syntax."""
    start, end = RANGE
    query = re.sub(r"\$__timeFilter\(([^)]+)\)", rf"\1 BETWEEN {start} AND {end}", query)
    return query.replace("$__timeFrom()", start).replace("$__timeTo()", end)


def test_promtool_finds_the_rules_right_and_each_begins_when_it_should(tool: Callable[[str], str]) -> None:
    promtool = tool("promtool")
    for arguments in (("check", "rules", str(RULES)), ("test", "rules", str(RULES_TEST))):
        done = subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_rule_is_tested_and_says_what_to_do() -> None:
    tested = RULES_TEST.read_text("utf-8")
    for rule in rules():
        assert f"alertname: {rule['alert']}" in tested
        assert rule["annotations"].keys() == {"summary", "advice"}
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_each_metric_of_rules_and_dashboard_is_one_that_the_daemon_exposes() -> None:
    expressions = [*(rule["expr"] for rule in rules()), *EXPRESSIONS]
    assert len(expressions) > 10
    for expression in expressions:
        names = named_in(expression)
        assert names, expression
        assert names <= exposed(), expression


def test_the_dashboards_expressions_are_promql(tool: Callable[[str], str], tmp_path: Path) -> None:
    promtool = tool("promtool")
    recorded = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, expression in enumerate(EXPRESSIONS)
    ]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    done = subprocess.run(
        [promtool, "check", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def reader(login_as: Callable[[str], str]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(login_as("peebot_reader")) as connection:
        yield connection


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_runs_on_the_real_schema_as_the_reader(query: str, reader: psycopg.Connection) -> None:
    assert reader.execute(expanded(query)).description  # type: ignore[arg-type]  a file of ours


def test_the_queries_show_what_is_stored(connection: psycopg.Connection, reader: psycopg.Connection) -> None:
    connection.execute(
        """
        INSERT INTO link_interval (source, state, started_at, last_seen_at, ended_at) VALUES
            ('isslive', 'LIVE', '2026-03-01 01:00Z', '2026-03-01 02:00Z', '2026-03-01 02:00Z'),
            ('isslive', 'LOS', '2026-03-01 02:00Z', '2026-03-01 02:05Z', '2026-03-01 02:05Z');
        SELECT create_minute_chunks('2026-03-01Z', '2026-03-01Z');
        INSERT INTO telemetry_minute SELECT channel_id, '2026-03-01 01:00Z', 1, 7, 1, 7, 2, 1, 60
            FROM telemetry_channel WHERE item_id = 'NODE3000005';
        INSERT INTO detected_event SELECT gen_random_uuid(), 'urine_tank', '1', 'toilet_visit', NULL,
            '2026-03-01 01:00Z'::timestamptz + n * interval '1 hour', NULL, 'open', 1, '{}'
            FROM generate_series(1, 3) n;
        """
    )
    connection.commit()

    def rows(title: str) -> list[tuple[Any, ...]]:
        (query,) = (
            target["rawSql"] for panel in PANELS if panel["title"] == title for target in panel["targets"]
        )
        return reader.execute(expanded(query)).fetchall()

    assert [row[1] for row in rows("Urine tank")] == [7]
    assert [row[1] for row in rows("Visits per day")] == [3]
    assert len(rows("Events")) == 3
    # The end of what is known is told, else the last state would be drawn on to the border.
    assert [row[1] for row in rows("Feed")] == ["LIVE", "LOS", None]


def test_panels_have_ids_of_their_own_a_unit_a_description_and_a_place() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    places = [tuple(panel["gridPos"].values()) for panel in PANELS]
    assert len(set(places)) == len(places)
    for panel in PANELS:
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["description"]
        assert panel["targets"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        assert {target["datasource"]["uid"] for target in panel["targets"]} <= {
            "${postgres}",
            "${prometheus}",
        }
