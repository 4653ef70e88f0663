from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_relative_link_of_a_document_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text())
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert missing == []


def test_the_readme_names_each_setting_that_the_code_reads() -> None:
    packages = ("peebot_dagster", "peebot_local", "ingest_daemon", "iss_simulator")
    sources = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    read = {name for path in sources for name in re.findall(r"\bPEEBOT_[A-Z_]+\b", path.read_text())}
    # What the runner marks its children with, and what it tells its own Dagster, nobody sets.
    internal = {"PEEBOT_RUNNER_HOME"}
    assert read - internal <= set(re.findall(r"\bPEEBOT_[A-Z_]+\b", (ROOT / "README.md").read_text()))
