"""An evaluation as one file: HTML with its charts inside, Markdown with the charts beside it, or JSON."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.charts import Chart, recording_charts, station_charts
from evaluation.on_recording import RecordingResult
from evaluation.on_stations import StationResult
from evaluation.scores import Delays, Score, percentile
from evaluation.tables import Table, recording_tables, station_tables
from peebot_dagster.detectors.detector import Detector

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2328; max-width: 60rem; margin: 2rem auto;
       padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; font-size: 13px; display: block; overflow-x: auto }
th, td { border: 1px solid #d0d7de; padding: .25rem .6rem; text-align: left; white-space: nowrap }
th { background: #f6f8fa }
svg { max-width: 100%; height: auto }
"""


@dataclass(frozen=True)
class Evaluation:
    """What was found of one detector: on simulated stations, and on a recording if there was one."""

    detector: Detector
    command: str
    stations: StationResult | None
    recording: RecordingResult | None

    def tables(self) -> list[Table]:
        """All figures."""
        tables = [] if self.stations is None else station_tables(self.stations)
        return tables + ([] if self.recording is None else recording_tables(self.recording))

    def charts(self) -> list[Chart]:
        """All pictures."""
        charts = [] if self.stations is None else station_charts(self.stations)
        return charts + ([] if self.recording is None else recording_charts(self.recording))

    def markdown(self) -> str:
        """The tables in Markdown."""
        title = f"## {self.detector.name}, version {self.detector.version}"
        return "\n".join([title, "", f"`{self.command}`", "", *(table.markdown() for table in self.tables())])

    def html(self) -> str:
        """One page that needs nothing beside it."""
        title = html.escape(f"{self.detector.name}, version {self.detector.version}")
        parts = [f"<h1>{title}</h1>", f"<p><code>{html.escape(self.command)}</code></p>"]
        for chart in self.charts():
            parts.append(f"<h2>{html.escape(chart.title)}</h2>\n{chart.svg}")
        parts += [_html_table(table) for table in self.tables()]
        return (
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"
        )

    def as_json(self) -> dict[str, Any]:
        """The figures as plain values for `json.dumps`."""
        return {
            "detector": self.detector.name,
            "version": self.detector.version,
            "stations": None if self.stations is None else _stations_json(self.stations),
            "recording": None if self.recording is None else _recording_json(self.recording),
        }

    def write(self, path: Path) -> list[Path]:
        """Write the report as the ending of its name says (.html or .md); returns the files written.

        ValueError for another ending.
        """
        if path.suffix == ".html":
            path.write_text(self.html(), encoding="utf-8")
            return [path]
        if path.suffix != ".md":
            raise ValueError(f"{path}: a report ends in .html or .md")
        written, pictures = [path], []
        for number, chart in enumerate(self.charts(), start=1):
            picture = path.with_name(f"{path.stem}-{number}.svg")
            picture.write_text(chart.svg, encoding="utf-8")
            written.append(picture)
            pictures.append(f"### {chart.title}\n\n![{chart.title}]({picture.name})\n")
        path.write_text("\n".join([self.markdown(), *pictures]), encoding="utf-8")
        return written


def _html_table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    note = f"<p>{html.escape(table.note)}</p>" if table.note else ""
    body = "\n".join([row(table.columns, "th"), *(row(cells, "td") for cells in table.rows)])
    return f"<h2>{html.escape(table.title)}</h2>{note}\n<table>\n{body}\n</table>"


def _stations_json(result: StationResult) -> dict[str, Any]:
    return {
        "seeds": result.seeds,
        "days": result.days,
        "tolerance_s": result.tolerance_s,
        "scores": [_score_json(score) for score in result.scores],
        "numbers": [
            {"truth": n.kind, "number": n.number, "n": len(n.errors), **_off_json(n.errors)}
            for n in result.numbers
        ],
        "taken_for": _taken_for_json(result.taken_for),
        "delays": {kind: _delays_json(delays) for kind, delays in result.delays},
        "replayed_days": result.replayed_days,
        "false_alarms": dict(result.false_alarms),
        "naive": [{**_score_json(score), "transfers": wrong} for score, wrong in result.naive],
        "crowded": [_score_json(score) for score in result.crowded],
        "crowded_taken_for": _taken_for_json(result.crowded_taken_for),
        "over_dither": [
            {"half_width_percent": p.condition, "f1_in_sight": p.in_sight.f1, "f1": p.all.f1}
            for p in result.over_dither
        ],
        "over_losses": [
            {"lost_share": p.condition, "f1_in_sight": p.in_sight.f1, "f1": p.all.f1}
            for p in result.over_losses
        ],
    }


def _recording_json(result: RecordingResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "days": result.days,
        "readings": result.readings,
        "events": dict(result.counts),
        "checks": [
            {"name": c.name, "found": c.found, "expected": c.expected, "holds": c.holds}
            for c in result.checks
        ],
        "by_day": {day.isoformat(): count for day, count in sorted(result.by_day.items())},
        "delays": _delays_json(result.delays),
        "false_alarms": dict(result.false_alarms),
        "agreement": [_score_json(score) for score in result.agreement],
        "unknown_labels": dict(result.unknown_labels),
        "naive_reference": result.naive_reference,
        "naive": [{**_score_json(score), "transfers": wrong} for score, wrong in result.naive],
    }


def _taken_for_json(counts: Counter[tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        {"truth": kind, "event_type": event_type, "times": times}
        for (kind, event_type), times in sorted(counts.items())
    ]


def _off_json(errors: Sequence[float]) -> Mapping[str, float | None]:
    off = [abs(error) for error in errors]
    return {"off_p50": percentile(off, 50), "off_p95": percentile(off, 95), "off_max": max(off)}


def _score_json(score: Score) -> Mapping[str, Any]:
    off = [abs(error) for error in score.onset_errors_s]
    return {
        "name": score.name,
        "found": score.found,
        "missed": score.missed,
        "false": score.false,
        "precision": score.precision,
        "recall": score.recall,
        "f1": score.f1,
        "onset_error_p50_s": percentile(off, 50),
        "onset_error_max_s": max(off, default=None),
        "amount_exact_share": (
            sum(abs(error) < 0.5 for error in score.amount_errors) / len(score.amount_errors)
            if score.amount_errors
            else None
        ),
    }


def _delays_json(delays: Delays) -> dict[str, Any]:
    return {
        name: {"n": len(seconds), "p50": percentile(seconds, 50), "p95": percentile(seconds, 95)}
        for name, seconds in (
            ("early_s", delays.early_s),
            ("sure_s", delays.sure_s),
            ("closed_s", delays.closed_s),
        )
    }
