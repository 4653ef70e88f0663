from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from peebot_local.cli import app

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
    # What the runner marks its children with, and what it tells its own migration, nobody sets.
    internal = {"PEEBOT_RUNNER_HOME", "PEEBOT_MIGRATE_URL"}
    assert read - internal <= set(re.findall(r"\bPEEBOT_[A-Z_]+\b", (ROOT / "README.md").read_text()))


def test_each_command_and_option_that_a_document_names_is_there() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    named = {
        (document.name, command, option)
        for document in DOCUMENTS
        for command, rest in re.findall(r"\./peebot ([a-z]+)\b([^|`#\n]*)", document.read_text())
        for option in re.findall(r"--[a-z][a-z-]*", rest) or [None]
    }
    assert len(named) > len(commands)
    unknown = [(document, command) for document, command, _ in named if command not in commands]
    assert unknown == []
    missing = [
        (document, command, option)
        for document, command, option in named
        # The others hand their options on.
        if option is not None and not commands[command].context_settings.get("ignore_unknown_options")
        if option not in {name for parameter in commands[command].params for name in parameter.opts}
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("folder", "ending"), [("sql/migrations", "sql"), ("sql/versions", "py"), ("docs/decisions", "md")]
)
def test_what_is_numbered_has_each_number_once_and_none_is_missing(folder: str, ending: str) -> None:
    numbers = sorted(path.name[:4] for path in (ROOT / folder).glob(f"[0-9]*.{ending}"))
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]


def test_each_decision_bears_the_number_of_its_file() -> None:
    for record in (ROOT / "docs" / "decisions").glob("*.md"):
        assert record.read_text().startswith(f"# {int(record.name[:4])}. ")
