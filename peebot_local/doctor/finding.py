"""What the doctor says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from peebot_dagster.health import Verdict

Level = Literal["ok", "warn", "fail"]
_LEVELS: dict[str, Level] = {"fine": "ok", "warning": "warn", "error": "fail"}


class Finding(BaseModel):
    """One line of `peebot doctor`, and one object of its --json, which may grow.

    `check` names what was looked at and is stable, `text` says what was found, `advice` what to do about it
    (empty when it is ok). None of them holds a secret.
    """

    model_config = ConfigDict(frozen=True)

    check: str
    level: Level
    text: str
    advice: str = ""


def ok(check: str, text: str) -> Finding:
    """Nothing is to be done."""
    return Finding(check=check, level="ok", text=text)


def warn(check: str, text: str, advice: str) -> Finding:
    """It works, and somebody should look at it."""
    return Finding(check=check, level="warn", text=text, advice=advice)


def fail(check: str, text: str, advice: str) -> Finding:
    """It does not work, or will not for long."""
    return Finding(check=check, level="fail", text=text, advice=advice)


def of_verdict(verdict: Verdict) -> Finding:
    """What Dagster's checks say of the same facts, said by the doctor."""
    numbers = ", ".join(f"{name} {value}" for name, value in verdict.numbers.items())
    if verdict.level == "fine":
        return ok(verdict.check, f"{verdict.advice} ({numbers})" if numbers else verdict.advice)
    return Finding(
        check=verdict.check, level=_LEVELS[verdict.level], text=numbers or "not well", advice=verdict.advice
    )


def worst(findings: Sequence[Finding]) -> Level:
    """The gravest level among them; ok when there are none."""
    levels = {finding.level for finding in findings}
    return "fail" if "fail" in levels else "warn" if "warn" in levels else "ok"
