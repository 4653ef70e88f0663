"""What Dagster was told last of the feed and of the checks, so that its log grows slowly. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from peebot_dagster.health import Level, Verdict

REPEATED_EVERY = timedelta(minutes=30)
"""An unchanged verdict is told again so often, for its numbers; at once when it changes."""

DEEPER_LOOK_EVERY = timedelta(minutes=5)
"""The facts of a whole day are read so often."""


@dataclass(frozen=True)
class Told:
    """`readings` were stored at the report `at` (UTC); each check was last told with a level, and when."""

    readings: int | None = None
    at: datetime | None = None
    looked_deeper_at: datetime | None = None
    checks: Mapping[str, tuple[Level, datetime]] = field(default_factory=dict)

    def deeper_look_is_due(self, now: datetime) -> bool:
        return self.looked_deeper_at is None or now - self.looked_deeper_at >= DEEPER_LOOK_EVERY

    def is_news(self, verdict: Verdict, now: datetime, materialized_at: datetime | None = None) -> bool:
        """Whether to tell a verdict at `now` (UTC).

        The UI shows no check that was told before the latest materialisation of its asset by a run, so one
        that was `materialized_at` later makes it news again.
        """
        level, at = self.checks.get(verdict.check, (None, None))
        if at is None or level != verdict.level or now - at >= REPEATED_EVERY:
            return True
        return materialized_at is not None and materialized_at >= at

    def tell(self, verdicts: Sequence[Verdict], now: datetime) -> Mapping[str, tuple[Level, datetime]]:
        """The checks as told once these verdicts are told at `now` (UTC)."""
        return {**self.checks, **{verdict.check: (verdict.level, now) for verdict in verdicts}}

    def to_cursor(self) -> str:
        """As a sensor's cursor."""
        return json.dumps(
            {
                "readings": self.readings,
                "at": _text(self.at),
                "looked_deeper_at": _text(self.looked_deeper_at),
                "checks": {name: [level, _text(at)] for name, (level, at) in self.checks.items()},
            }
        )

    @classmethod
    def from_cursor(cls, cursor: str | None) -> Told:
        """What a cursor says; nothing was told when there is none, or one of another version."""
        try:
            document = json.loads(cursor or "{}")
            return cls(
                document.get("readings"),
                _moment(document.get("at")),
                _moment(document.get("looked_deeper_at")),
                {
                    name: (level, datetime.fromisoformat(at))
                    for name, (level, at) in document.get("checks", {}).items()
                },
            )
        except (ValueError, TypeError, AttributeError):
            return cls()


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
