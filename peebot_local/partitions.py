"""Where Dagster's hours begin."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from peebot_local.errors import MendableError

VARIABLE = "PEEBOT_PARTITIONS_START"
_FORMAT = "%Y-%m-%d-%H:%M"


def first_partition(environment: Mapping[str, str]) -> datetime:
    """The first hour (UTC) that Dagster has a partition for when it runs in this environment."""
    text = environment.get(VARIABLE)
    if text is None:
        # Imports Dagster, which takes its time.
        from peebot_dagster.defs.partitions import HOURS

        return HOURS.start
    try:
        return datetime.strptime(text, _FORMAT).replace(tzinfo=UTC)
    except ValueError:
        raise MendableError(f"{VARIABLE} is {text!r}; write it as in 2024-01-01-00:00") from None
