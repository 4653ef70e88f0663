"""Which channels a simulated station has: those of the packaged catalogue."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Channel:
    """An item, and for a state channel the numbers that it may take."""

    item: str
    kind: str
    states: tuple[str, ...] = ()


def packaged_channels() -> tuple[Channel, ...]:
    """All channels of sql/channels.csv."""
    with files("sql").joinpath("channels.csv").open(encoding="utf-8") as lines:
        return tuple(
            Channel(row["item_id"], row["kind"], tuple(json.loads(row["states"])) if row["states"] else ())
            for row in csv.DictReader(lines)
        )
