"""A detector on a recording: what must hold whatever happened, and how far it agrees with labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from uuid import UUID

import numpy as np

from evaluation.beside_naive_rules import level_item_of, naive_on_recording, tells_visits
from evaluation.labels import Label, labelled_time, unknown_kinds
from evaluation.matching import event_types_of, folded_kind, match
from evaluation.on_stations import TOLERANCE, Progress, only
from evaluation.replay import Life, Prefixes, lives
from evaluation.scores import Delays, Score, delays, false_alarms, score
from peebot_dagster.detectors.detector import DetectedEvent, Detector, Window
from peebot_dagster.detectors.level_readings import ItemReadings, item_readings, microseconds
from peebot_dagster.detectors.level_steps import MEMORY, level_steps

VISITS = event_types_of("visit")
_DAY = timedelta(days=1)
# A tank at rest says nothing, at night for hours. What lasts longer is a recorder that was off.
_LONGEST_REST = timedelta(hours=6)
# So much of a day must be recorded for its visits to be counted as a day's.
_ENOUGH_OF_A_DAY = timedelta(hours=20)


@dataclass(frozen=True)
class Check:
    """Something that must hold without knowing the truth: what was found, and what was expected.

    `holds` is None where there was nothing to judge by.
    """

    name: str
    found: str
    expected: str
    holds: bool | None


@dataclass(frozen=True)
class RecordingResult:
    """What `evaluate_on_recording` found. `delays` are seconds from the begin of an event in sight until it
    was told, told as sure, and told as closed; `agreement` is with the labels, `naive` with the labels or,
    without any, with the detector's own visits; `unknown_labels` are of kinds it does not tell."""

    name: str
    days: float
    readings: int
    counts: Counter[str]
    checks: tuple[Check, ...]
    by_day: Counter[date]
    by_hour: Counter[int]
    by_amount: Counter[int]
    delays: Delays
    false_alarms: Counter[str]
    agreement: tuple[Score, ...]
    unknown_labels: Counter[str]
    naive: tuple[tuple[Score, int], ...]
    naive_reference: str
    events: tuple[DetectedEvent, ...]
    window: Window


def evaluate_on_recording(
    detector: Detector,
    name: str,
    window: Window,
    labels: Sequence[Label] | None = None,
    tolerance: timedelta = TOLERANCE,
    progress: Progress = lambda _: None,
) -> RecordingResult:
    """Run the detector over a recording, at once and in the course of time."""
    progress("detecting")
    events = detector.detect(window)
    progress("replaying the recording")
    told = lives(detector, window, window.start)
    final = {event.event_id: event for event in events}
    visits = [event for event in events if event.event_type in VISITS]
    is_urine = tells_visits(detector)
    shown = visits if is_urine else events
    checks = [_rerun(detector, window, events), _replayed(detector, window, events, told)]
    if is_urine:
        checks += _tank_checks(detector, window, events, visits)
    return RecordingResult(
        name=name,
        days=(window.end - window.start) / _DAY,
        readings=len(window.readings),
        counts=Counter(event.event_type for event in events),
        checks=tuple(checks),
        by_day=_by_day(window, shown),
        by_hour=Counter(event.started_at.hour for event in shown),
        by_amount=Counter(round(event.payload.get("amount_percent") or 0) for event in shown),
        delays=delays([(event.started_at, event) for event in shown], told),
        false_alarms=false_alarms(told, lambda event: _stands(event, final)),
        agreement=_agreement(detector, events, labels, tolerance) if labels is not None else (),
        unknown_labels=unknown_kinds(labels or (), detector.event_types),
        naive=naive_on_recording(detector, window, events, labels) if is_urine else (),
        naive_reference="ours" if labels is None else "labels",
        events=tuple(events),
        window=window,
    )


def _stands(event: DetectedEvent, final: Mapping[UUID, DetectedEvent]) -> bool:
    last = final.get(event.event_id)
    return last is not None and (
        last.event_type == event.event_type or {last.event_type, event.event_type} <= set(VISITS)
    )


def _rerun(detector: Detector, window: Window, events: Sequence[DetectedEvent]) -> Check:
    again = detector.detect(window)
    same = sum(a == b for a, b in zip(events, again, strict=False))
    return Check("a re-run gives the same events", f"{same} of {len(events)}", "all", again == list(events))


def _replayed(
    detector: Detector, window: Window, events: Sequence[DetectedEvent], told: Sequence[Life]
) -> Check:
    """Day by day, as partitions do it, and in the course of time, as the live detection does."""
    prefixes, start = Prefixes(window), window.start
    by_day: list[DetectedEvent] = []
    while start < window.end:
        end = min(start + _DAY, window.end)
        part = prefixes.window(start - detector.look_back, min(end + detector.settle, window.end))
        by_day += [event for event in detector.detect(part) if start <= event.started_at < end]
        start = end
    finals = [life.final for life in told]
    live = sorted((event for event in finals if event), key=lambda event: event.started_at)
    found = f"{len(by_day)} by days, {len(live)} live, {len(events)} at once"
    return Check("days, live and at once agree", found, "equal", by_day == list(events) == live)


def _tank_checks(
    detector: Detector,
    window: Window,
    events: Sequence[DetectedEvent],
    visits: Sequence[DetectedEvent],
) -> list[Check]:
    readings = item_readings(window, level_item_of(detector), 0.0, 100.0)
    steps = level_steps(window, readings)
    rises = sum(step.size for step in steps if step.size > 0)
    falls = -sum(step.size for step in steps if step.size < 0)
    change = float(readings.value[-1] - readings.value[0]) if readings.value.size else 0.0
    # The band is 1 % wide, at the begin and wherever it was forgotten.
    forgotten = int(np.count_nonzero(np.diff(readings.at) > MEMORY))
    slack = 1 + 2 * forgotten
    by_day = _by_day(window, visits)
    hours = Counter(event.started_at.hour for event in visits)
    night = sum(hours[hour] for hour in (22, 23, 0, 1, 2, 3)) / 6
    day = sum(hours[hour] for hour in range(6, 22)) / 16
    ratio = night / day if day else 0.0
    pumped = [event for event in events if event.event_type in ("tank_transfer", "sensor_reset")]
    inside = sum(
        any(p.started_at <= v.started_at <= (p.ended_at or p.started_at) for p in pumped) for v in visits
    )
    overlaps = sum(
        before.ended_at is not None and before.ended_at >= after.started_at
        for before, after in pairwise(events)
    )
    balance = rises - falls - change
    return [
        Check(
            "rises - falls = change of level",
            f"{rises:g} - {falls:g} = {rises - falls:g} %, level {change:+g} %",
            f"within {slack} %",
            abs(balance) <= slack,
        ),
        _visits_a_day(by_day, readings),
        Check(
            "visits on the busiest day",
            f"{max(by_day.values(), default=0)}",
            "at most 36",
            max(by_day.values(), default=0) <= 36,
        ),
        Check("visits an hour, night by day", f"{ratio:.2f}", "below 0.4", ratio < 0.4),
        Check("visits inside a transfer or a reset", f"{inside}", "0", inside == 0),
        Check("events that overlap", f"{overlaps}", "0", overlaps == 0),
    ]


def _visits_a_day(by_day: Mapping[date, int], readings: ItemReadings) -> Check:
    """Of the days that were recorded well enough: a day of which half is missing has half its visits."""
    whole = [count for day, count in by_day.items() if _recorded(day, readings) >= _ENOUGH_OF_A_DAY]
    days = f"{len(whole)} of {len(by_day)} days"
    name, expected = "visits a day, masked ones too (10, 50, 90 %)", "14 to 23"
    if not whole:
        return Check(name, f"not judged: {days} are whole", expected, None)
    low, middle, high = np.percentile(whole, [10, 50, 90])
    found = f"{low:.1f}, {middle:.1f}, {high:.1f} on {days}"
    return Check(name, found, expected, bool(low >= 14 and high <= 23))


def _recorded(day: date, readings: ItemReadings) -> timedelta:
    """How much of a day (UTC) lies between readings that no more than a rest parts."""
    midnight = microseconds(datetime.combine(day, time(), UTC))
    within = np.clip(readings.at, midnight, midnight + _DAY // timedelta(microseconds=1))
    rests = np.diff(readings.at) <= _LONGEST_REST // timedelta(microseconds=1)
    return timedelta(microseconds=int(np.diff(within)[rests].sum()))


def _by_day(window: Window, events: Sequence[DetectedEvent]) -> Counter[date]:
    """How many events begin on each day (UTC) of the recording."""
    counts: Counter[date] = Counter()
    start = window.start
    while start < window.end:
        counts[start.date()] = 0
        start += _DAY
    counts.update(event.started_at.date() for event in events)
    return counts


def _agreement(
    detector: Detector, events: Sequence[DetectedEvent], labels: Sequence[Label], tolerance: timedelta
) -> tuple[Score, ...]:
    """By kind, within the time that the labels speak of: what is beyond it nobody has judged."""
    since, until = labelled_time(labels, tolerance)
    own = [
        replace(label, kind=folded_kind(label.kind))
        for label in labels
        if set(event_types_of(label.kind)) & set(detector.event_types)
    ]
    whole = match(own, events, tolerance).within(since, until)
    kinds = sorted({label.kind for label in own})
    return tuple(score(kind, [only(whole, kind)], lambda amount, masked: True) for kind in kinds)
