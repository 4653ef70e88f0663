"""What the doctor concludes from facts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from peebot_dagster.posts.mute import Mute
from peebot_local.doctor.dagster import DagsterFacts, examine_dagster
from peebot_local.doctor.finding import Finding, worst
from peebot_local.doctor.host import FolderFacts, HostFacts, Listener, examine_host
from peebot_local.doctor.spool import SpoolFacts, examine_spool
from peebot_local.doctor.store import (
    StoreFacts,
    examine_backups,
    examine_schema,
    examine_store,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOME = Path("/home/someone/peebot")
HOST = HostFacts((3, 12), 1000, {}, FolderFacts(HOME, 1000, 0o755), HOME, [], {"HOME": 9000}, [])
STORE = StoreFacts(
    server=17,
    edition="postgresql",
    timescaledb=None,
    encoding="UTF8",
    clock_ahead=timedelta(milliseconds=3),
    clock_error=timedelta(milliseconds=1),
    newest=NOW - timedelta(seconds=1),
    missing_roles=[],
    missing_rights=[],
    tomorrow=True,
    pending={},
    detector_errors={},
    mute=None,
)
DAGSTER = DagsterFacts(
    *("a", "a", {"SENSOR": NOW - timedelta(seconds=20)}, {}, {}, {}, {}, []), ["writer"], ["reader"], []
)


def bad(findings: list[Finding]) -> list[tuple[str, str]]:
    assert all(finding.advice for finding in findings if finding.level != "ok")
    return [(finding.level, finding.check) for finding in findings if finding.level != "ok"]


def test_a_well_kept_peebot_has_nothing_to_mend() -> None:
    findings = [*examine_host(HOST), *examine_store(STORE, NOW), *examine_dagster(DAGSTER, NOW)]
    assert bad(findings) == []
    assert worst(findings) == "ok"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"python": (3, 10)}, ("fail", "python")),
        ({"python": (3, 15)}, ("fail", "python")),
        ({"differing": {"dagster": "1.0"}}, ("warn", "packages")),
        ({"home": FolderFacts(HOME, 1, 0o755)}, ("fail", "home")),
        ({"home": FolderFacts(HOME, 1000, 0o775)}, ("warn", "home")),
        ({"secrets": [FolderFacts(HOME, 1000, 0o640)]}, ("warn", "secret_files")),
        ({"free_mb": {"HOME": 499}}, ("fail", "disk")),
        ({"free_mb": {"HOME": 1999}}, ("warn", "disk")),
        ({"backup_mb": 7001}, ("warn", "disk")),
        ({"stale_units": ["peebot@.service"]}, ("warn", "units")),
        ({"listeners": [Listener("ui", "0.0.0.0", 3000, True)]}, ("warn", "open_hosts")),  # noqa: S104
        (
            {
                "listeners": [Listener("stranger", "127.0.0.1", 3000, False)],
                "ports": {"PEEBOT_UI_PORT": 3000},
            },
            ("warn", "ports"),
        ),
    ],
)
def test_what_is_wrong_with_the_machine_is_one_finding(
    change: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert bad(examine_host(replace(HOST, **change))) == [expected]


def test_a_home_of_systemd_is_roots_and_its_folders_are_their_users() -> None:
    home = FolderFacts(HOME, 0, 0o755)
    parts = [FolderFacts(HOME / name, 1000, 0o700) for name in ("ingest", "live")]
    assert bad(examine_host(replace(HOST, home=home, parts=parts))) == []
    for wrong in (
        {"parts": []},
        {"parts": [*parts, FolderFacts(HOME / "migrate", 0, 0o700)]},
        {"parts": parts, "home": FolderFacts(HOME, 0, 0o777)},
        {"parts": parts, "home": FolderFacts(HOME, 1, 0o755)},
    ):
        changed = replace(HOST, **{"home": home, **wrong})  # type: ignore[arg-type]
        assert bad(examine_host(changed)) == [("fail", "home")]


def test_what_others_listen_on_is_no_business_of_ours() -> None:
    stranger = Listener("sshd", "0.0.0.0", 22, False)  # noqa: S104
    ours = Listener("ui", "127.0.0.1", 3000, True)
    facts = replace(HOST, listeners=[stranger, ours], ports={"PEEBOT_UI_PORT": 3000})
    assert bad(examine_host(facts)) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"server": 14}, ("fail", "server")),
        ({"encoding": "LATIN1"}, ("fail", "server")),
        ({"clock_ahead": timedelta(seconds=-5)}, ("warn", "database_clock")),
        ({"clock_ahead": timedelta(minutes=1)}, ("fail", "database_clock")),
        ({"newest": NOW + timedelta(minutes=11)}, ("fail", "newest_reading")),
        ({"missing_roles": ["peebot_reader"]}, ("warn", "roles")),
        ({"missing_rights": ["peebot_reader: SELECT on post"]}, ("fail", "roles")),
        ({"tomorrow": False}, ("warn", "chunks")),
        ({"pending": {"urine_tank": 4}}, ("warn", "pending_hours")),
        ({"detector_errors": {"urine_tank": "ValueError"}}, ("fail", "detectors")),
        ({"mute": Mute(NOW, None)}, ("warn", "muted")),
    ],
)
def test_what_is_wrong_with_the_store_is_one_finding(
    change: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert bad(examine_store(replace(STORE, **change), NOW)) == [expected]


def test_a_clock_is_not_blamed_for_a_slow_network() -> None:
    far = replace(STORE, clock_ahead=timedelta(seconds=5), clock_error=timedelta(seconds=4))
    assert bad(examine_store(far, NOW)) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"revision": "b"}, ("fail", "dagster_schema")),
        ({"heartbeats": {}}, ("fail", "dagster_daemon")),
        ({"heartbeats": {"SENSOR": NOW - timedelta(minutes=4)}}, ("fail", "dagster_daemon")),
        ({"running_since": {"run": NOW - timedelta(hours=2)}}, ("warn", "runs")),
        ({"queued_since": {"run": NOW - timedelta(hours=2)}}, ("warn", "runs")),
        ({"failed_runs": {"hourly": 1}}, ("warn", "failed_runs")),
        ({"readers": []}, ("warn", "public_login")),
        ({"wrong_rights": ["may write runs"]}, ("fail", "public_login")),
        ({"failed_ticks": {"live_detection": 1}}, ("warn", "failed_ticks")),
        ({"failed_backfills": ["abc"]}, ("warn", "partitions")),
    ],
)
def test_what_is_wrong_with_dagster_is_one_finding(change: dict[str, Any], expected: tuple[str, str]) -> None:
    assert bad(examine_dagster(replace(DAGSTER, **change), NOW)) == [expected]


def test_a_schema_is_too_old_too_new_or_right() -> None:
    known = ["0001", "0002"]
    assert examine_schema("0002", known).level == "ok"
    assert examine_schema(None, known).advice == examine_schema("0001", known).advice == "./peebot migrate"
    assert "restore" in examine_schema("0003", known).advice


SPOOL = SpoolFacts("http://127.0.0.1:9473/metrics", 0, [HOME / "spool", HOME / "ingest" / "spool"], [], 0.0)


def test_a_spool_that_fills_or_is_forgotten_is_told_with_its_folder() -> None:
    seen = SPOOL.sought[1:]
    assert examine_spool(SPOOL).level == "ok"
    assert examine_spool(replace(SPOOL, seen=seen, files_mb=3.0)).level == "ok"
    assert examine_spool(replace(SPOOL, readings=5000)).level == "warn"
    empty = examine_spool(replace(SPOOL, readings=None, seen=seen))
    forgotten = examine_spool(replace(SPOOL, readings=None, seen=seen, files_mb=3.0))
    assert (empty.level, forgotten.level) == ("ok", "warn")
    assert f"{HOME}/ingest/spool" in empty.text
    assert f"3.0 MB wait in {HOME}/ingest/spool" in forgotten.text


def test_a_spool_of_which_nobody_knows_is_not_said_to_be_empty() -> None:
    finding = examine_spool(replace(SPOOL, readings=None))
    assert finding.level == "warn"
    assert "updates wait" not in finding.text
    for word in (SPOOL.metrics_url, str(SPOOL.sought[0]), str(SPOOL.sought[1])):
        assert word in finding.text


def test_backups_are_wanted_each_night() -> None:
    assert examine_backups(None, "/b", NOW).level == "warn"
    assert examine_backups(NOW - timedelta(hours=25), "/b", NOW).level == "ok"
    assert examine_backups(NOW - timedelta(days=2), "/b", NOW).level == "warn"
    assert examine_backups(NOW - timedelta(days=4), "/b", NOW).level == "fail"
