"""`peebot alert`: whether alerts reach anybody, and what they tell just now."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC

import psycopg

from peebot_dagster.alerts.destinations import (
    VARIABLE,
    Destination,
    deliver_all,
    destinations,
    name_of,
)
from peebot_dagster.alerts.messages import TEST_MESSAGE, Message
from peebot_local.database import mendable
from peebot_local.errors import MendableError

_LIMIT_S = 60.0


def outcomes_of(environment: Mapping[str, str], message: Message) -> dict[Destination, str | None]:
    """Send it to each destination: why it was not taken, or None. MendableError when there is none."""
    to = destinations(environment)
    if not to:
        raise MendableError(f"nobody is told: set {VARIABLE}, or {VARIABLE}_FILE (docs/monitoring.md)")
    return deliver_all(dict.fromkeys(to, message), _LIMIT_S)


def send(environment: Mapping[str, str], message: Message = TEST_MESSAGE) -> list[str]:
    """Send it to each destination; a line for each. MendableError when one took nothing."""
    outcomes = outcomes_of(environment, message)
    lines = [f"{destination.name}: {why or 'took it'}" for destination, why in outcomes.items()]
    failed = sum(why is not None for why in outcomes.values())
    if failed:
        raise MendableError(
            f"{failed} of {len(outcomes)} destinations took no message; "
            f"correct {VARIABLE}, or see why they refuse",
            tuple(lines),
        )
    return lines


def lasting(database_url: str) -> list[str]:
    """What is told just now, a line for each condition, and who could not be told."""
    with mendable(database_url), psycopg.connect(database_url) as connection:
        conditions = connection.execute(
            "SELECT began_at, title FROM alert_condition WHERE over_at IS NULL AND due_at <= now() ORDER BY 1"
        ).fetchall()
        failing = connection.execute(
            "SELECT destination, last_failure FROM alert_destination WHERE failures > 0 ORDER BY 1"
        ).fetchall()
    lines = [f"since {began.astimezone(UTC):%Y-%m-%d %H:%M} UTC: {title}" for began, title in conditions]
    return [*(lines or ["Nothing is wrong."]), *(f"{name_of(key)} {why}" for key, why in failing)]
