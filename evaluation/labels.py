"""What somebody knows to have happened in a recording, from a CSV file."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from evaluation.matching import EVENT_TYPES, event_types_of

_NEVER = datetime.min.replace(tzinfo=UTC)
_REQUIRED = ("started_at", "ended_at", "kind")


class LabelError(ValueError):
    """The labels are of no use; the message is one line that names the fault, and where in the file it is."""


@dataclass(frozen=True)
class Label:
    """One label; times are UTC, `steps` is the amount in % (0: not known)."""

    kind: str
    onset: datetime
    ended_at: datetime
    steps: int = 0
    masked: bool = False
    facts: Mapping[str, float | str] = field(default_factory=dict, hash=False)


def read_labels(path: Path) -> list[Label]:
    """The labels of a CSV file with the columns started_at, ended_at, kind and perhaps amount_percent.

    Times are ISO 8601 and UTC unless they carry another offset; an empty `ended_at` is the begin. `kind` is
    an event type, or a kind of the simulator. LabelError for the first bad row.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            missing = [name for name in _REQUIRED if name not in (reader.fieldnames or ())]
            if missing:
                raise LabelError(f"{path}:1: no column {', '.join(missing)}")
            return [_label(path, reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"{path}: cannot be read: {error}") from error


def unknown_kinds(labels: Sequence[Label], event_types: Collection[str]) -> Counter[str]:
    """How many labels there are of each kind that none of these event types tells of."""
    known = set(event_types)
    return Counter(label.kind for label in labels if known.isdisjoint(event_types_of(label.kind)))


def counted(kinds: Counter[str]) -> str:
    """Kinds and how many labels each, in words, the most frequent first."""
    return ", ".join(f"{n} x {kind}" for kind, n in kinds.most_common())


def check_kinds(labels: Sequence[Label], event_types: Collection[str]) -> None:
    """LabelError if there are labels, and these event types tell of none of them."""
    unknown = unknown_kinds(labels, event_types)
    if labels and unknown.total() == len(labels):
        own = set(event_types)
        known = own.union(kind for kind, types in EVENT_TYPES.items() if not own.isdisjoint(types))
        raise LabelError(
            f"no label is of a kind that is told of: {counted(unknown)}; known: {', '.join(sorted(known))}"
        )


def labelled_time(labels: Sequence[Label], tolerance: timedelta) -> tuple[datetime, datetime]:
    """From the first label to the end of the last one, and what an event may be off (UTC, end exclusive)."""
    if not labels:
        return _NEVER, _NEVER
    since = min(label.onset for label in labels) - tolerance
    return since, max(max(label.onset, label.ended_at) for label in labels) + tolerance + timedelta(
        microseconds=1
    )


def _label(path: Path, line: int, row: Mapping[str, str | None]) -> Label:
    try:
        begin = _time(row["started_at"] or "")
        end = _time(row["ended_at"]) if row["ended_at"] else begin
        amount = row.get("amount_percent")
        if not row["kind"]:
            raise ValueError("kind is empty")
        return Label(row["kind"].strip(), begin, end, round(float(amount)) if amount else 0)
    except (ValueError, OverflowError) as error:
        raise LabelError(f"{path}:{line}: {error}") from error


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text.strip())
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
