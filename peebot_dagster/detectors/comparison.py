"""What a new version of a detector would change: two lists of events of the same span, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from peebot_dagster.detectors.detector import DetectedEvent

NEARBY = timedelta(minutes=2)
"""Two events of different ids whose starts are no further apart are taken for two views of one thing."""

_FIELDS = ("event_id", "event_type", "started_at", "ended_at", "state", "confidence")


@dataclass(frozen=True)
class Change:
    """One thing that both versions saw, and the names of what they say differently about it."""

    before: DetectedEvent
    after: DetectedEvent
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """`same` events are equal in all but the version; `gone` and `new` have no counterpart. Sorted by
    start."""

    same: tuple[DetectedEvent, ...]
    changed: tuple[Change, ...]
    gone: tuple[DetectedEvent, ...]
    new: tuple[DetectedEvent, ...]


def compare(before: Iterable[DetectedEvent], after: Iterable[DetectedEvent]) -> Comparison:
    """Pair the events by id, then what is left by nearness in time (each with the nearest, once)."""
    old = {event.event_id: event for event in before}
    recent = {event.event_id: event for event in after}
    pairs = [(old[event_id], recent[event_id]) for event_id in old.keys() & recent.keys()]
    gone = sorted((e for i, e in old.items() if i not in recent), key=_order)
    new = sorted((e for i, e in recent.items() if i not in old), key=_order)
    near = _nearby(gone, new)
    pairs += near
    paired = {event.event_id for pair in near for event in pair}
    changes = [Change(a, b, _differing(a, b)) for a, b in sorted(pairs, key=lambda pair: _order(pair[0]))]
    return Comparison(
        same=tuple(change.after for change in changes if not change.fields),
        changed=tuple(change for change in changes if change.fields),
        gone=tuple(event for event in gone if event.event_id not in paired),
        new=tuple(event for event in new if event.event_id not in paired),
    )


def to_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain values; times are ISO 8601 UTC."""
    return {
        "same": len(comparison.same),
        "changed": [
            {"before": _brief(c.before), "after": _brief(c.after), "fields": list(c.fields)}
            for c in comparison.changed
        ],
        "gone": [_brief(event) for event in comparison.gone],
        "new": [_brief(event) for event in comparison.new],
    }


def counts(comparison: Comparison) -> dict[str, dict[str, int]]:
    """By event type: how many are `same`, `changed` (by the type before), `gone` and `new`."""
    parts = {
        "same": [event.event_type for event in comparison.same],
        "changed": [change.before.event_type for change in comparison.changed],
        "gone": [event.event_type for event in comparison.gone],
        "new": [event.event_type for event in comparison.new],
    }
    types = sorted({event_type for names in parts.values() for event_type in names})
    return {name: {part: names.count(name) for part, names in parts.items()} for name in types}


def _nearby(
    gone: Sequence[DetectedEvent], new: Sequence[DetectedEvent]
) -> list[tuple[DetectedEvent, DetectedEvent]]:
    distances = sorted(
        (
            (abs(a.started_at - b.started_at), *_order(a), *_order(b), a, b)
            for a in gone
            for b in new
            if abs(a.started_at - b.started_at) <= NEARBY
        ),
        key=lambda candidate: candidate[:-2],
    )
    taken: set[object] = set()
    pairs = []
    for *_, a, b in distances:
        if a.event_id not in taken and b.event_id not in taken:
            taken |= {a.event_id, b.event_id}
            pairs.append((a, b))
    return pairs


def _differing(before: DetectedEvent, after: DetectedEvent) -> tuple[str, ...]:
    fields = [name for name in _FIELDS if getattr(before, name) != getattr(after, name)]
    keys = sorted(before.payload.keys() | after.payload.keys())
    fields += [f"payload.{key}" for key in keys if before.payload.get(key) != after.payload.get(key)]
    return tuple(fields)


def _order(event: DetectedEvent) -> tuple[Any, ...]:
    return (event.started_at, event.event_type, str(event.event_id))


def _brief(event: DetectedEvent) -> dict[str, Any]:
    return {
        "event_id": str(event.event_id),
        "event_type": event.event_type,
        "started_at": event.started_at.isoformat(),
        "ended_at": None if event.ended_at is None else event.ended_at.isoformat(),
        "state": event.state,
        "confidence": event.confidence,
        "payload": dict(event.payload),
    }
