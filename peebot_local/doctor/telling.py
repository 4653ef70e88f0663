"""Tells people what the doctor finds failing: once, again each day, and once when it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from peebot_dagster.alerts.messages import Message
from peebot_local.alerting import outcomes_of
from peebot_local.doctor.finding import Finding

AGAIN = timedelta(days=1)


class Told(BaseModel):
    """Which checks people have heard to be failing, and when (UTC)."""

    model_config = ConfigDict(frozen=True)

    checks: frozenset[str] = frozenset()
    at: AwareDatetime


def news_of(findings: Sequence[Finding], told: Told | None, now: datetime) -> Message | None:
    """What people have not heard yet; None when that is nothing."""
    failing = [finding for finding in findings if finding.level == "fail"]
    heard = told.checks if told else frozenset()
    if not failing:
        over = f"No longer failing: {', '.join(sorted(heard))}."
        return Message("PeeBot's doctor: all is well again", over, good=True) if heard else None
    if told is not None and heard == {finding.check for finding in failing} and now - told.at < AGAIN:
        return None
    return Message(
        f"PeeBot's doctor: {', '.join(sorted({finding.check for finding in failing}))}",
        "\n\n".join(f"{finding.check}: {finding.text}\n{finding.advice}" for finding in failing),
        good=False,
    )


def tell(findings: Sequence[Finding], memory: Path, environment: Mapping[str, str], now: datetime) -> None:
    """Send what is new to those whom PEEBOT_ALERT_URLS names; `memory` is the file of what they have heard.

    MendableError when nobody is named. What nobody took is sent again the next time.
    """
    message = news_of(findings, _told(memory), now)
    if message is None:
        return
    if any(why is None for why in outcomes_of(environment, message).values()):
        failing = frozenset(finding.check for finding in findings if finding.level == "fail")
        _remember(memory, Told(checks=failing, at=now))


def _remember(memory: Path, told: Told) -> None:
    """Put a new file in the place of the old one, which may be root's, by a doctor that was asked by hand."""
    memory.parent.mkdir(parents=True, exist_ok=True)
    draft = memory.with_suffix(".new")
    draft.unlink(missing_ok=True)
    # Never through a link: root writes here, too, in a folder that is not root's.
    with draft.open("x", encoding="utf-8") as file:
        file.write(told.model_dump_json())
    draft.replace(memory)


def _told(memory: Path) -> Told | None:
    try:
        return Told.model_validate_json(memory.read_text(encoding="utf-8"))
    except (FileNotFoundError, PermissionError, ValidationError):
        return None
