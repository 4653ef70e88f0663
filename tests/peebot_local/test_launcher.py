"""The launcher, run by each POSIX shell at hand, with stand-ins for uv and Python: nothing is downloaded."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]

# Stand-in for uv: notes its arguments; `uv venv` makes a folder with a Python in it.
UV = """#!/bin/sh
echo "uv $*" >>"$CALLS"
[ "${UV_FAILS:-}" = "$1 ${2:-}" ] && exit 2
if [ "$1" = venv ]; then
    for last in "$@"; do :; done
    mkdir -p "$last/bin"
    ln -s "$FAKE_PYTHON" "$last/bin/python"
fi
exit 0
"""
# Stand-in for Python: as new as PYTHON_IS_OLD allows, with a venv module, and a pip that "installs" uv.
PYTHON = """#!/bin/sh
case "$*" in
    "-c "*) [ -z "${PYTHON_IS_OLD:-}" ] ;;
    "-m venv "*)
        [ -n "${NO_VENV:-}" ] && { echo "ensurepip is not available" >&2; exit 1; }
        echo "python $*" >>"$CALLS"
        mkdir -p "$3/bin"
        ln -s "$FAKE_PYTHON" "$3/bin/python" ;;
    "-m pip --version") [ -z "${NO_PIP:-}" ] || [ -e "$(dirname "$0")/pip" ] ;;
    "-m ensurepip") : >"$(dirname "$0")/pip" ;;
    "-m pip install "*)
        echo "python $*" >>"$CALLS"
        cp "$FAKE_UV" "$(dirname "$0")/uv" ;;
    *) printf '%s\\n' "ran $*" ;;
esac
"""


@dataclass(frozen=True)
class Clone:
    """A clone of the project with a PATH of its own."""

    root: Path
    bin: Path
    shell: str

    @property
    def calls(self) -> Path:
        return self.root.parent / "calls"

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        self.calls.touch()
        stand_ins = self.root.parent / "stand-ins"
        return subprocess.run(
            [shutil.which(self.shell) or self.shell, self.root / "peebot", *arguments],
            text=True,
            capture_output=True,
            cwd=self.root.parent,
            check=False,
            env={
                "PATH": str(self.bin),
                "HOME": "",
                "CALLS": str(self.calls),
                "FAKE_PYTHON": str(stand_ins / "python"),
                "FAKE_UV": str(stand_ins / "uv"),
                **environment,
            },
        )

    def offer(self, name: str) -> None:
        """Put uv or a Python on PATH."""
        shutil.copy(self.root.parent / "stand-ins" / ("uv" if name == "uv" else "python"), self.bin / name)


@pytest.fixture(params=SHELLS)
def clone(request: pytest.FixtureRequest, tmp_path: Path) -> Clone:
    root, bin_, stand_ins = tmp_path / "a clone", tmp_path / "bin", tmp_path / "stand-ins"
    for folder in (root, bin_, stand_ins):
        folder.mkdir()
    for name in ("peebot", "requirements.lock", "requirements-uv.txt", "pyproject.toml"):
        shutil.copy(PROJECT / name, root / name)
    for name in ("sh", "cat", "cksum", "cp", "dirname", "ln", "mkdir", "mv", "pwd", "readlink", "rm"):
        tool = shutil.which(name)
        if tool is not None:
            (bin_ / name).symlink_to(tool)
    for name, text in (("uv", UV), ("python", PYTHON)):
        (stand_ins / name).write_text(text)
        (stand_ins / name).chmod(0o755)
    return Clone(root, bin_, request.param)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_accepts_it(shell: str) -> None:
    subprocess.run([shell, "-n", PROJECT / "peebot"], check=True)


def test_with_uv_it_installs_exactly_what_the_lock_says_and_hands_the_arguments_on(clone: Clone) -> None:
    clone.offer("uv")
    result = clone.run("status", "--json", "two words")
    assert result.stdout == "ran -P -m peebot_local status --json two words\n"
    venv, sync, install = clone.calls.read_text().splitlines()
    assert venv.startswith("uv venv ")
    assert sync == (
        "uv pip sync --compile-bytecode --require-hashes"
        f" --python {clone.root}/.venv/bin/python {clone.root}/requirements.lock"
    )
    assert " --no-build-isolation --no-deps " in install
    assert install.endswith(f" --python {clone.root}/.venv/bin/python --editable {clone.root}")


def test_without_uv_it_puts_one_into_a_venv_of_the_first_python_that_fits(clone: Clone) -> None:
    clone.offer("python3.13")
    assert clone.run("demo").stdout == "ran -P -m peebot_local demo\n"
    calls = clone.calls.read_text().splitlines()
    assert calls[0] == f"python -m venv {clone.root}/.venv"
    assert calls[1].startswith("python -m pip install ")
    assert calls[1].endswith(f" --require-hashes -r {clone.root}/requirements-uv.txt")
    assert calls[2].startswith("uv pip sync ")


def test_the_uv_that_it_installs_is_one_version_whose_files_have_hashes() -> None:
    pinned, *hashes = (
        (PROJECT / "requirements-uv.txt").read_text("utf-8").split("uv==", 1)[1].split("--hash=")
    )
    assert re.fullmatch(r"[\d.]+ \\\s+", pinned)
    assert len(hashes) > 5
    assert all(each.startswith("sha256:") for each in hashes)


def test_with_neither_uv_nor_a_python_that_fits_it_says_so_in_one_line(clone: Clone) -> None:
    clone.offer("python3")
    result = clone.run("demo", PYTHON_IS_OLD="yes")
    assert result.returncode == 1
    message = result.stderr.splitlines()[-1]
    assert message.startswith("peebot: needs uv, or Python 3.11 to 3.14")
    assert clone.calls.read_text() == ""


def test_a_python_without_its_venv_module_is_explained(clone: Clone) -> None:
    clone.offer("python3")
    result = clone.run("demo", NO_VENV="yes")
    assert result.returncode == 1
    assert "install the venv module" in result.stderr.splitlines()[-1]


def test_nothing_is_installed_again_while_the_lock_has_not_changed(clone: Clone) -> None:
    clone.offer("uv")
    clone.run("demo")
    clone.calls.write_text("")
    started = time.monotonic()
    result = clone.run("demo")
    assert result.stdout == "ran -P -m peebot_local demo\n"
    assert result.stderr == ""
    assert clone.calls.read_text() == ""
    assert time.monotonic() - started < 1.0


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_changed_lock_or_project_is_installed(clone: Clone, name: str) -> None:
    clone.offer("uv")
    clone.run("demo")
    clone.calls.write_text("")
    with (clone.root / name).open("a") as content:
        content.write("# changed\n")
    clone.run("demo")
    assert "uv pip sync" in clone.calls.read_text()
    assert "--reinstall" not in clone.calls.read_text()


def test_a_moved_clone_is_installed_again(clone: Clone) -> None:
    clone.offer("uv")
    clone.run("demo")
    clone.calls.write_text("")
    moved = clone.root.rename(clone.root.parent / "moved")
    Clone(moved, clone.bin, clone.shell).run("demo")
    assert f"--editable {moved}" in clone.calls.read_text()


def test_an_interrupted_installation_is_repeated_in_full(clone: Clone) -> None:
    clone.offer("uv")
    failed = clone.run("demo", UV_FAILS="pip sync")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert failed.stderr.splitlines()[-1].startswith("peebot: the installation failed")
    clone.calls.write_text("")
    assert clone.run("demo").stdout == "ran -P -m peebot_local demo\n"
    assert "uv pip sync --reinstall " in clone.calls.read_text()


def test_a_venv_whose_python_is_gone_is_made_anew(clone: Clone) -> None:
    clone.offer("uv")
    clone.run("demo")
    python = clone.root / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(clone.root / "gone")
    assert clone.run("demo").stdout == "ran -P -m peebot_local demo\n"


def test_a_venv_that_a_running_peebot_uses_is_kept_when_the_lock_changes_and_uv_is_gone(clone: Clone) -> None:
    clone.offer("uv")
    clone.run("demo")
    in_use = clone.root / ".venv" / "in use"
    in_use.touch()
    (clone.bin / "uv").unlink()
    clone.offer("python3")
    with (clone.root / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    clone.calls.write_text("")

    assert clone.run("status", NO_PIP="yes").stdout == "ran -P -m peebot_local status\n"

    assert in_use.exists()
    assert "uv pip sync" in clone.calls.read_text()


def test_it_finds_its_clone_through_a_link_from_any_folder(clone: Clone, tmp_path: Path) -> None:
    clone.offer("uv")
    link = tmp_path / "link"
    link.symlink_to(Path("a clone") / "peebot")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    result = subprocess.run(
        [shutil.which(clone.shell) or clone.shell, link, "status"],
        text=True,
        capture_output=True,
        cwd=elsewhere,
        check=True,
        env={
            "PATH": str(clone.bin),
            "CALLS": str(clone.calls),
            "FAKE_PYTHON": str(tmp_path / "stand-ins" / "python"),
        },
    )
    assert result.stdout == "ran -P -m peebot_local status\n"
    assert list(elsewhere.iterdir()) == []


def test_the_file_is_executable_and_names_a_posix_shell() -> None:
    assert os.access(PROJECT / "peebot", os.X_OK)
    assert (PROJECT / "peebot").read_text().startswith("#!/bin/sh\n")
