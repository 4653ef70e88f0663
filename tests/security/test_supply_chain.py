"""The judges of CI's tools: an audit that asked nobody is no clean audit, and a bill lacks nothing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CI = Path(__file__).parents[2] / ".ci"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, CI / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


AUDIT, SBOM, SECRETS = script("audit"), script("check_sbom"), script("find_secrets")
GOOD = {"name": "one", "version": "1.0", "vulns": []}
BAD = {
    "name": "two",
    "version": "2.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": [], "description": ""}],
}
SKIPPED = {"name": "three", "skip_reason": "Dependency not found"}


@pytest.mark.parametrize(
    ("packages", "expected", "code", "says"),
    [
        ([GOOD], {"one"}, 0, "1 packages audited, no known vulnerability"),
        ([GOOD, BAD], {"one", "two"}, 1, "two 2.0: PYSEC-1, mended in 2.1"),
        ([GOOD, SKIPPED], {"one", "three"}, 1, "not audited: three (Dependency not found)"),
        ([SKIPPED], {"three"}, 3, "not audited: the service knows none of 1 packages"),
        ([GOOD], {"one", "two"}, 1, "not audited: two is in no report"),
        ([], {"one"}, 1, "not audited: one is in no report"),
    ],
)
def test_only_an_audit_of_everything_that_found_nothing_is_clean(
    packages: list[dict[str, Any]], expected: set[str], code: int, says: str
) -> None:
    verdict, said = AUDIT.verdict({"dependencies": packages}, expected)
    assert verdict == code
    assert says in said[0]


@pytest.mark.parametrize(
    ("tool", "code", "says"),
    [
        (
            "import sys; sys.exit('requests.exceptions.ConnectionError: Max retries exceeded')",
            3,
            "not audited",
        ),
        ("import sys; sys.exit('error: unrecognized arguments')", 1, "not audited: error: unrecognized"),
        ("pass", 1, "not audited: it ended with 0"),
        ("print('{\"dependencies\": []}')", 1, "is in no report"),
    ],
)
def test_an_audit_that_could_not_be_made_says_so_and_why(
    tool: str, code: int, says: str, tmp_path: Path
) -> None:
    fake = tmp_path / "pip-audit"
    fake.write_text(f"#!{sys.executable}\n{tool}\n")
    fake.chmod(0o755)
    audit = subprocess.run(
        [sys.executable, CI / "audit.py", fake], capture_output=True, text=True, check=False
    )
    assert audit.returncode == code
    assert says in audit.stdout


LOCK = """\
one==1.0 \\
    --hash=sha256:aa
    # via two
Two-three[extra]==2.0 \\
    --hash=sha256:bb
four==4.0 ; sys_platform == 'win32' \\
    --hash=sha256:cc
"""


def test_what_is_locked_for_another_system_need_not_be_audited_here() -> None:
    assert AUDIT.locked(LOCK) == {"one", "two-three"}
    assert len(AUDIT.locked((CI.parent / "requirements.lock").read_text("utf-8"))) > 100


def component(name: str, version: str, hashes: int = 1) -> dict[str, Any]:
    return {"name": name, "version": version, "externalReferences": [{"hashes": [{}] * hashes}]}


def test_a_bill_has_each_package_with_its_version_and_hashes() -> None:
    bill = [component("one", "1.0"), component("Two-three", "2.0"), component("four", "4.0")]
    assert SBOM.faults({"components": bill}, LOCK) == []
    assert SBOM.faults({"components": bill[:-1]}, LOCK) == ["four is missing"]
    assert SBOM.faults({"components": [component("one", "1.1"), *bill[1:]]}, LOCK) == [
        "one 1.1 is not what is locked"
    ]
    assert SBOM.faults({"components": [component("one", "1.0", 0), *bill[1:]]}, LOCK) == ["one has no hash"]


def test_the_forms_of_our_own_credentials_are_known() -> None:
    assert SECRETS.OWN["access token of X"].search("told 1234567890-" + "aB3" * 13 + "x end")
    assert not SECRETS.OWN["access token of X"].search("2026-03-01")
    password = SECRETS.OWN["app password of Bluesky"]
    assert password.search("-".join(("a1b2", "c3d4", "e5f6", "g7h8")))
    assert not password.search("123e4567-e89b-12d3-a456-426614174000")
