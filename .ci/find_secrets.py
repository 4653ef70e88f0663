"""Secrets in tracked files: detect-secrets, and the forms of the credentials that PeeBot itself has.

What looks like one and is none stands in secrets-known.txt as `file  kind  hash`; `--known` prints it anew.
Each time it is first asked for planted ones: a search that finds nothing has to be able to find.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
KNOWN = Path(__file__).parent / "secrets-known.txt"
# They are nothing but hashes, numbers and drawings.
LEFT_OUT = re.compile(r"(\.lock|-tools\.txt|package-lock\.json|\.csv|\.svg|\.png|\.gz|secrets-known\.txt)$")
OWN = {
    "access token of X": re.compile(r"\b\d{8,20}-[A-Za-z0-9]{40}\b"),
    "app password of Bluesky": re.compile(r"\b[a-z0-9]{4}(?:-[a-z0-9]{4}){3}\b(?!-)"),
}
REFERENCE = re.compile(r"\w*[sS]ecretName:\s*[\w-]+")
"""Where a secret of Kubernetes is named, which is no secret."""
Finding = tuple[str, str, str]


def tracked() -> list[str]:
    """All files under version control that may hold a secret."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.split("\0") if name and not LEFT_OUT.search(name)]


def find(root: Path, names: Iterable[str]) -> Iterator[tuple[Finding, int]]:
    """What looks like a secret: (file, kind, hash), and the number of its line."""
    # Where only the forms are looked at, the tool need not be installed.
    from detect_secrets import SecretsCollection
    from detect_secrets.settings import default_settings

    with default_settings():
        for name in names:
            path = root / name
            if not path.is_file():
                continue
            collection = SecretsCollection()
            collection.scan_file(str(path))
            lines = path.read_text("utf-8", errors="replace").splitlines()
            for _, secret in collection:
                if secret.type == "Secret Keyword" and REFERENCE.search(lines[secret.line_number - 1]):
                    continue
                yield (name, secret.type, secret.secret_hash), secret.line_number
            for number, line in enumerate(lines, 1):
                for kind, form in OWN.items():
                    for match in form.findall(line):
                        yield (name, kind, hashlib.sha256(match.encode()).hexdigest()), number


def blind_to() -> list[str]:
    """The planted secrets that are not found; put together here, so that this file has none."""
    letters = "kQ7zR2mX9pLw4TnB8vYc3HdJ6sGf5aEu1iOo0qWe"
    planted = {
        "token of X": "told = '1234567890" + "-" + letters + "'",
        "password of Bluesky": "told = '" + "-".join(("a1b2", "c3d4", "e5f6", "g7h8")) + "'",
        "password in a URL": "url = 'postgresql://me:" + letters[:12] + "@db/peebot'",
        "private key": "-----BEGIN " + "RSA PRIVATE KEY-----",
        "keyword": "pass" + "word = '" + letters[:16] + "'",
        "key of AWS": "key = 'AKIA" + "IOSFODNN7EXAMPLQ'",
    }
    missed = []
    with tempfile.TemporaryDirectory(prefix="peebot-planted-") as folder:
        for kind, line in planted.items():
            (Path(folder) / "planted.py").write_text(line + "\n")
            if not list(find(Path(folder), ["planted.py"])):
                missed.append(kind)
    return missed


def say(line: str) -> None:
    """One line of the answer."""
    sys.stdout.write(f"{line}\n")


def main() -> int:
    """Print what is found and not known, or what is known and gone; 1 if there is any."""
    missed = blind_to()
    for kind in missed:
        say(f"secrets: a planted {kind} was not found; the search is broken")
    found = dict(find(ROOT, tracked()))
    if "--known" in sys.argv:
        KNOWN.write_text("".join(f"{'  '.join(finding)}\n" for finding in sorted(found)))
    known = {tuple(line.split("  ")) for line in KNOWN.read_text("utf-8").splitlines()}
    new = {finding: line for finding, line in found.items() if finding not in known}
    for (name, kind, _), line in sorted(new.items()):
        say(f"secrets: {name}:{line}: {kind}; take it out, or if it is none: .ci/security secrets --known")
    if not missed and not new:
        say(f"secrets: none in {len(tracked())} files; {len(found)} known look-alikes")
    return 1 if missed or new else 0


if __name__ == "__main__":
    sys.exit(main())
