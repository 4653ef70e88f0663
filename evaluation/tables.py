"""The figures of an evaluation as tables of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from evaluation.forecasts import ForecastScore, Outcome
from evaluation.labels import counted
from evaluation.on_recording import RecordingResult
from evaluation.on_stations import Point, StationResult
from evaluation.scores import Delays, NumberErrors, Score, percentile

_SCORE_COLUMNS = (
    *("n", "found", "missed", "false", "precision", "recall", "F1"),
    *("begin off by (median, max)", "amount exact"),
)
_DELAY_COLUMNS = ("n", "early (median, 95 %)", "sure (median, 95 %)", "closed (median, 95 %)")


@dataclass(frozen=True)
class Table:
    """A titled table of text; `note` says how to read it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def markdown(self) -> str:
        """The table in Markdown."""
        lines = [f"### {self.title}", ""]
        if self.note:
            lines += [self.note, ""]
        for row in (self.columns, ("---",) * len(self.columns), *self.rows):
            lines.append(f"| {' | '.join(row)} |")
        return "\n".join(lines) + "\n"


def station_tables(result: StationResult) -> list[Table]:
    """What was found on simulated stations."""
    tables = [
        Table(
            "Found on simulated stations",
            ("truth", *_SCORE_COLUMNS),
            tuple(_score_row(score) for score in result.scores),
            f"{result.seeds} stations, {result.days:g} days together; an event may begin "
            f"{result.tolerance_s:g} s off. In sight: the signal was not lost meanwhile.",
        ),
        _taken_for_table("Taken for something else", result.taken_for),
        Table(
            "Delay from the first step, in sight",
            ("truth", *_DELAY_COLUMNS),
            tuple((kind, *_delay_cells(delays)) for kind, delays in result.delays),
            f"{result.replayed_days:.1f} days told again in the course of time. "
            "Early: told at all; sure: confidence of 0.8 or more, as a post needs.",
        ),
        _alarm_table(result.false_alarms, result.replayed_days),
    ]
    if result.numbers:
        tables.insert(1, _numbers_table(result.numbers))
    if result.forecasts:
        tables.insert(1, _forecasts_table(result.forecasts))
    if result.naive:
        tables.append(
            _naive_table(
                result.naive,
                result.days,
                "the truth",
                "true transfers taken for visits",
                "The visits in sight, by their begin alone. What is claimed in a loss, or within 120 s "
                "after it, is not counted as false.",
            )
        )
    if result.crowded:
        tables.append(
            Table(
                "On crowded stations",
                ("truth", *_SCORE_COLUMNS),
                tuple(_score_row(score) for score in result.crowded),
                "A quarter of the stations, made hard: events follow each other after 30 to 200 s; transfers "
                "begin at 3 %, come in a drain, too, and half of them trickle, at 10 to 40 s a percent.",
            )
        )
        tables.append(
            _taken_for_table("Taken for something else, on crowded stations", result.crowded_taken_for)
        )
    for title, points, condition in (
        ("Over the strength of the dither", result.over_dither, "half width, %"),
        ("Over the share of time without signal", result.over_losses, "share"),
    ):
        if points:
            tables.append(_curve_table(title, points, condition))
    return tables


def recording_tables(result: RecordingResult) -> list[Table]:
    """What was found on a recording."""
    tables = [
        Table(
            f"What must hold on {result.name}",
            ("what", "found", "expected", "holds"),
            tuple(
                (c.name, c.found, c.expected, {True: "yes", False: "NO", None: "-"}[c.holds])
                for c in result.checks
            ),
            f"{result.days:.1f} days, {result.readings} readings.",
        ),
        Table(
            "Events of the recording",
            ("event", "n", "a day"),
            tuple((kind, str(n), f"{n / result.days:.1f}") for kind, n in result.counts.most_common()),
        ),
        Table(
            "Delay from the first step on the recording, in sight",
            _DELAY_COLUMNS,
            (_delay_cells(result.delays),),
        ),
        _alarm_table(result.false_alarms, result.days),
    ]
    if result.agreement or result.unknown_labels:
        note = "Within the time from the first label to the last one."
        if result.unknown_labels:
            kinds = counted(result.unknown_labels)
            note += f" This detector tells of no such kind, so nothing is said of: {kinds}."
        tables.append(
            Table(
                "Agreement with the labels",
                ("label", *_SCORE_COLUMNS),
                tuple(_score_row(score) for score in result.agreement),
                note,
            )
        )
    if result.naive:
        reference = "our visits" if result.naive_reference == "ours" else "the labels"
        tables.append(
            _naive_table(
                result.naive,
                result.days,
                reference,
                "our transfers taken for visits",
                "All visits, by their begin alone.",
            )
        )
    return tables


def _forecasts_table(scores: Sequence[ForecastScore]) -> Table:
    outcomes = get_args(Outcome)
    return Table(
        "Forecasts",
        (
            *("limit", "forecasts", *outcomes, "reached", "foretold"),
            *("hours ahead (median)", "came later by hours (median, 10 to 90 %)"),
        ),
        tuple(
            (
                *(score.kind, str(score.outcomes.total())),
                *(str(score.outcomes[outcome]) for outcome in outcomes),
                *(str(score.reached), str(score.foretold), _of_hours(score.ahead_h, 50)),
                f"{_of_hours(score.off_h, 50)}, {_of_hours(score.off_h, 10)} to {_of_hours(score.off_h, 90)}",
            )
            for score in scores
        ),
        "A forecast says what comes if nobody pumps, and an interval that is to hold in four of five cases. "
        "Within, sooner, later: of that interval. Reached: while nobody pumped.",
    )


def _of_hours(hours: Sequence[float], percent: int) -> str:
    value = percentile(hours, percent)
    return "-" if value is None else f"{value:.1f}"


def _taken_for_table(title: str, counts: Counter[tuple[str, str]]) -> Table:
    rows = tuple((kind, event_type, str(n)) for (kind, event_type), n in sorted(counts.items()))
    note = "Events of another type that begin while a truth lasts."
    return Table(title, ("truth", "event", "times"), rows or (("none", "", "0"),), note)


def _score_row(score: Score) -> tuple[str, ...]:
    off = [abs(error) for error in score.onset_errors_s]
    exact = sum(abs(error) < 0.5 for error in score.amount_errors)
    return (
        score.name,
        str(score.found + score.missed),
        str(score.found),
        str(score.missed),
        str(score.false),
        f"{score.precision:.3f}",
        f"{score.recall:.3f}",
        f"{score.f1:.3f}",
        f"{percentile(off, 50):.1f} s, {max(off):.1f} s" if off else "",
        f"{exact} of {len(score.amount_errors)}" if score.amount_errors else "",
    )


def _delay_cells(delays: Delays) -> tuple[str, ...]:
    def cell(seconds: Sequence[float]) -> str:
        return f"{percentile(seconds, 50):.0f} s, {percentile(seconds, 95):.0f} s" if seconds else ""

    return (str(len(delays.early_s)), cell(delays.early_s), cell(delays.sure_s), cell(delays.closed_s))


def _alarm_table(alarms: Counter[str], days: float) -> Table:
    rows = tuple((event_type, str(n), f"{n / days:.3f}") for event_type, n in alarms.most_common())
    return Table(
        "Told as sure, and turned out to be something else",
        ("event", "times", "a day"),
        rows or (("none", "0", "0"),),
        f"In {days:.1f} days: a toilet_visit in this table would have been a false post.",
    )


def _numbers_table(numbers: Sequence[NumberErrors]) -> Table:
    def row(of: NumberErrors) -> tuple[str, ...]:
        off = [abs(error) for error in of.errors]
        cells = (
            f"{value:.3g}" for value in (percentile(off, 50) or 0.0, percentile(off, 95) or 0.0, max(off))
        )
        return (of.kind, of.number, str(len(off)), *cells)

    return Table(
        "By how much the numbers of what was found are off",
        ("truth", "number", "n", "median", "95 %", "max"),
        tuple(row(of) for of in numbers),
        "In the unit that the number's name ends in. Amounts are in the table above.",
    )


def _naive_table(
    rows: Sequence[tuple[Score, int]], days: float, reference: str, wrong: str, which: str
) -> Table:
    return Table(
        f"Beside four naive rules, measured by {reference}",
        ("rule", "precision", "recall", "F1", "false a day", wrong),
        tuple(
            (s.name, f"{s.precision:.3f}", f"{s.recall:.3f}", f"{s.f1:.3f}", f"{s.false / days:.2f}", str(n))
            for s, n in rows
        ),
        f"{which} Each may begin 120 s off: rules that look at minutes know no better.",
    )


def _curve_table(title: str, points: Sequence[Point], condition: str) -> Table:
    return Table(
        title,
        (condition, "n in sight", "F1 in sight", "n", "F1 of all"),
        tuple(
            (
                f"{p.condition:.3g}",
                str(p.in_sight.found + p.in_sight.missed),
                f"{p.in_sight.f1:.3f}",
                str(p.all.found + p.all.missed),
                f"{p.all.f1:.3f}",
            )
            for p in points
        ),
    )
