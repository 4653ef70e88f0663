"""pip-audit over requirements.lock, with a verdict that is true also when nobody could be asked.

pip-audit leaves out what its service does not know, says "no known vulnerabilities", and ends with 0, also
when that was everything.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[1] / "requirements.lock"
CLEAN, BAD, NOT_AUDITED = 0, 1, 3
_NOBODY = re.compile(
    "ConnectionError|ConnectTimeout|ReadTimeout|Max retries|ProxyError|NameResolution|SSLError|ServiceError"
    "|Could not connect|Tip: your network may be blocking",
)


def locked(text: str) -> set[str]:
    """The packages that a lock file installs everywhere: those without a marker."""
    return {name.lower() for name in re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==[^ ;]+ \\$", text, re.MULTILINE)}


def verdict(report: dict[str, Any], expected: set[str]) -> tuple[int, list[str]]:
    """The exit code and what to say of a report of pip-audit (its JSON) on the `expected` packages."""
    found = {package["name"].lower(): package for package in report["dependencies"]}
    skipped = {name: package["skip_reason"] for name, package in found.items() if "skip_reason" in package}
    if found and len(skipped) == len(found):
        first = next(iter(skipped.values()))
        return NOT_AUDITED, [f"not audited: the service knows none of {len(found)} packages ({first})"]
    said = [f"not audited: {name} ({reason})" for name, reason in skipped.items()]
    said += [f"not audited: {name} is in no report" for name in sorted(expected - found.keys())]
    for name, package in found.items():
        for vulnerability in package.get("vulns", ()):
            mended = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            said.append(f"{name} {package['version']}: {vulnerability['id']}, mended in {mended}")
    if said:
        return BAD, said
    return CLEAN, [f"{len(found)} packages audited, no known vulnerability"]


def say(line: str) -> None:
    """One line of the answer."""
    sys.stdout.write(f"{line}\n")


def main() -> int:
    """Run it; `pip-audit` is the first argument."""
    command = [sys.argv[1], "--requirement", str(LOCK), "--require-hashes", "--disable-pip"]
    audit = subprocess.run(  # noqa: S603  what .ci/security names
        [*command, "--format", "json", "--progress-spinner", "off", "--timeout", "10"],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report = json.loads(audit.stdout)
    except ValueError:
        reason = (audit.stderr.strip().splitlines() or [f"it ended with {audit.returncode}"])[-1]
        code, said = (NOT_AUDITED if _NOBODY.search(audit.stderr) else BAD), [f"not audited: {reason}"]
    else:
        code, said = verdict(report, locked(LOCK.read_text("utf-8")))
    for line in said:
        say(f"audit: {line}")
    return code


if __name__ == "__main__":
    sys.exit(main())
