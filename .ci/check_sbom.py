"""Whether a bill of materials has each package of requirements.lock, with its hashes."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[1] / "requirements.lock"


def faults(bill: dict[str, Any], lock: str) -> list[str]:
    """What a CycloneDX bill lacks of a lock file (its text)."""
    wanted = dict(re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==([^ ;]+)", lock, re.MULTILINE))
    found = {component["name"]: component for component in bill["components"]}
    missing = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    for name, component in found.items():
        if component["version"] != wanted.get(name):
            missing.append(f"{name} {component['version']} is not what is locked")
        if not any(reference.get("hashes") for reference in component.get("externalReferences", ())):
            missing.append(f"{name} has no hash")
    return missing


def say(line: str) -> None:
    """One line of the answer."""
    sys.stdout.write(f"{line}\n")


def main() -> int:
    """Look at the file that is the first argument."""
    bill = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    wrong = faults(bill, LOCK.read_text("utf-8"))
    for line in wrong:
        say(f"sbom: {line}")
    if not wrong:
        say(f"sbom: {len(bill['components'])} packages with their hashes in {sys.argv[1]}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
