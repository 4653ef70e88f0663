"""A detector of visits beside the naive rules, all on the same terms."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from evaluation.labels import Label, labelled_time
from evaluation.matching import event_types_of, match
from evaluation.naive_rules import RULES, visits_by_rule
from evaluation.scores import Score, score
from evaluation.station_run import StationRun
from peebot_dagster.detectors.detector import DetectedEvent, Detector, Window

NAIVE_TOLERANCE = timedelta(seconds=120)
"""Rules that look at minutes can't tell a begin better than this."""


def tells_visits(detector: Detector) -> bool:
    """Whether the detector tells of visits, in whatever version."""
    return "toilet_visit" in detector.event_types


def level_item_of(detector: Detector) -> str:
    """The channel with the level (%) that a detector of visits reads: the first one, unless it says."""
    return str(getattr(detector, "level_item", detector.items[0]))


def naive_on_stations(detector: Detector, runs: Sequence[StationRun]) -> list[tuple[Score, int]]:
    """Ours first, then the naive rules, all on the same terms: the score on the visits in sight by their
    begin alone, and how many transfers count as a visit.

    What is claimed in a loss, or too soon after it to be told from a visit out of sight, is not false.
    """
    rows = []
    for name in (detector.name, *RULES):
        matchings, wrong = [], 0
        for run in runs:
            events = (
                _bare_visits(run.claimed)
                if name == detector.name
                else visits_by_rule(name, run.window, level_item_of(detector))
            )
            visits = [event for event in run.known if event.kind == "visit"]
            matching = match(visits, events, NAIVE_TOLERANCE).within(run.since, run.until)
            in_sight = tuple(event for event in matching.false if _is_in_sight(event, run.window))
            matchings.append(replace(matching, false=in_sight))
            wrong += sum(
                any(t.onset - timedelta(seconds=1) <= e.started_at <= t.ended_at for e in events)
                for t in run.truth
                if t.kind == "transfer"
            )
        rows.append((score(name, matchings, lambda _, masked: not masked), wrong))
    return rows


def _is_in_sight(event: DetectedEvent, window: Window) -> bool:
    if window.live is None:
        return True
    place = bisect_right(window.live, event.started_at, key=lambda interval: interval.start) - 1
    interval = window.live[max(place, 0)] if window.live else None
    return interval is not None and interval.start + NAIVE_TOLERANCE <= event.started_at < interval.end


def naive_on_recording(
    detector: Detector,
    window: Window,
    events: Sequence[DetectedEvent],
    labels: Sequence[Label] | None,
) -> tuple[tuple[Score, int], ...]:
    """Ours (only if there are labels) and the naive rules: the score, and how many of our transfers count as
    a visit."""
    visits = _bare_visits(events)
    if labels is None:
        known = [Label("visit", visit.started_at, visit.ended_at or visit.started_at) for visit in visits]
        since, until = window.start, window.end
    else:
        known = [label for label in labels if "toilet_visit" in event_types_of(label.kind)]
        since, until = labelled_time(labels, NAIVE_TOLERANCE)
    transfers = [event for event in events if event.event_type == "tank_transfer"]
    rows = []
    for name in RULES if labels is None else (detector.name, *RULES):
        found = visits if name == detector.name else visits_by_rule(name, window, level_item_of(detector))
        wrong = sum(
            any(t.started_at <= e.started_at <= (t.ended_at or t.started_at) for e in found)
            for t in transfers
        )
        matching = match(known, found, NAIVE_TOLERANCE).within(since, until)
        rows.append((score(name, [matching], lambda amount, masked: True), wrong))
    return tuple(rows)


def _bare_visits(events: Iterable[DetectedEvent]) -> list[DetectedEvent]:
    """The visits as a rule that knows nothing of the link tells them: a begin, and nothing else."""
    return [replace(event, payload={}) for event in events if event.event_type in event_types_of("visit")]
