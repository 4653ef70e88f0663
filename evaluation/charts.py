"""The charts of an evaluation, as SVG. The only module that draws: matplotlib is imported when it does."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from evaluation.on_recording import RecordingResult
from evaluation.on_stations import Point, StationResult
from evaluation.scores import Delays, Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, OTHER, SHADE = "#1f6feb", "#9aa4b2", "#dbe9ff"
_COLOURS = {
    "toilet_visit": "#1f6feb",
    "toilet_visit_masked": "#8bb8ff",
    "dribble": "#9aa4b2",
    "tank_transfer": "#d1242f",
    "sensor_reset": "#8250df",
}


@dataclass(frozen=True)
class Chart:
    """A titled picture; `svg` is an element that stands in HTML as it is."""

    title: str
    svg: str


def station_charts(result: StationResult) -> list[Chart]:
    """F1 over the conditions, delays, and the naive rules beside ours."""
    charts = []
    curves = [
        (title, label, points)
        for title, label, points in (
            ("F1 over the strength of the dither", "half width of the dither, %", result.over_dither),
            ("F1 over the share of time without signal", "share of time without signal", result.over_losses),
        )
        if points
    ]
    for title, label, points in curves:

        def draw(axes: Axes, label: str = label, points: Sequence[Point] = points) -> None:
            x = [p.condition for p in points]
            axes.plot(x, [p.in_sight.f1 for p in points], "o-", color=OURS, label="in sight")
            axes.plot(x, [p.all.f1 for p in points], "o--", color=OTHER, label="all")
            axes.set(xlabel=label, ylabel="F1", ylim=(min(0.9, *(p.all.f1 for p in points)) - 0.01, 1.005))
            axes.legend(loc="lower left")

        charts.append(_chart(title, draw))
    if result.delays and result.delays[0][1].early_s:
        kind, delays = result.delays[0]
        charts.append(_delay_chart(f"When a {kind} is told, on simulated stations", delays))
    if result.naive:
        charts.append(_naive_chart("Ours and four naive rules, on simulated stations", result.naive))
    return charts


def recording_charts(result: RecordingResult) -> list[Chart]:
    """Events by day, hour and amount, delays, the busiest day, and the naive rules."""
    days = sorted(result.by_day)

    def by_day(axes: Axes) -> None:
        if "toilet_visit" in result.counts:
            axes.axhspan(14, 23, color=SHADE, label="14 to 23")
            axes.legend(loc="upper right")
        axes.bar(range(len(days)), [result.by_day[day] for day in days], color=OURS)
        axes.set(ylabel="visits" if "toilet_visit" in result.counts else "events")
        some = range(0, len(days), max(1, len(days) // 8))
        axes.set_xticks(list(some), [f"{days[place]:%d %b}" for place in some])

    def by_hour(axes: Axes) -> None:
        axes.bar(range(24), [result.by_hour[hour] for hour in range(24)], color=OURS)
        axes.set(xlabel="hour (UTC)", ylabel="events")

    charts = [_chart("By day", by_day), _chart("By hour of the day", by_hour)]
    if set(result.by_amount) - {0}:

        def by_amount(axes: Axes) -> None:
            amounts = sorted(result.by_amount)
            axes.bar(amounts, [result.by_amount[amount] for amount in amounts], color=OURS)
            axes.set(xlabel="amount, %", ylabel="events")

        charts.append(_chart("By amount", by_amount))
    if result.delays.early_s:
        charts.append(_delay_chart("When a visit is told, on the recording", result.delays))
    if result.naive:
        charts.append(_naive_chart("Four naive rules, on the recording", result.naive))
        charts.append(_chart("The busiest day", lambda axes: _day(axes, result), height=3.6))
    return charts


def _day(axes: Axes, result: RecordingResult) -> None:
    """The level of the busiest day as it was read, with what was made of it."""
    day = max(result.by_day, key=lambda day: (result.by_day[day], day))
    ts = result.window.readings["ts"]
    part = result.window.readings[ts.dt.date == day]
    hours = (part["ts"] - part["ts"].iloc[0].normalize()).dt.total_seconds() / 3600
    axes.step(hours, part["value"], where="post", color="#24292f", linewidth=0.7)
    named: set[str] = set()
    for event in result.events:
        if event.started_at.date() == day:
            begin = event.started_at.hour + event.started_at.minute / 60 + event.started_at.second / 3600
            end = begin + ((event.ended_at or event.started_at) - event.started_at) / timedelta(hours=1)
            label = None if event.event_type in named else event.event_type
            named.add(event.event_type)
            axes.axvspan(
                begin,
                max(end, begin + 0.06),
                color=_COLOURS.get(event.event_type, OTHER),
                alpha=0.6,
                label=label,
            )
    axes.set(xlabel=f"hour of {day:%d %b %Y} (UTC)", ylabel="level, %", xlim=(0, 24))
    axes.legend(loc="upper center", ncols=4, fontsize="small", bbox_to_anchor=(0.5, 1.16), frameon=False)


def _delay_chart(title: str, delays: Delays) -> Chart:
    def draw(axes: Axes) -> None:
        for seconds, label, colour in (
            (delays.early_s, "early: told at all", OURS),
            (delays.sure_s, "sure: may be posted", "#2da44e"),
            (delays.closed_s, "closed", OTHER),
        ):
            if seconds:
                rising = sorted(seconds)
                share = [(place + 1) / len(rising) for place in range(len(rising))]
                axes.step(rising, share, where="post", color=colour, label=label)
        axes.set(xlabel="seconds since the first step", ylabel="share told", ylim=(0, 1.02), xlim=(0, None))
        axes.legend(loc="lower right")

    return _chart(title, draw)


def _naive_chart(title: str, rows: Sequence[tuple[Score, int]]) -> Chart:
    def draw(axes: Axes) -> None:
        places = range(len(rows))
        scores = [score for score, _ in rows]
        axes.barh(
            [p - 0.2 for p in places], [s.precision for s in scores], 0.38, color=OURS, label="precision"
        )
        axes.barh([p + 0.2 for p in places], [s.recall for s in scores], 0.38, color=OTHER, label="recall")
        axes.set_yticks(list(places), [s.name for s in scores])
        axes.invert_yaxis()
        axes.set(xlim=(0, 1))
        axes.legend(loc="lower center", ncols=2, bbox_to_anchor=(0.5, 1.0), frameon=False)

    return _chart(title, draw)


def _chart(title: str, draw: Callable[[Axes], None], height: float = 2.8) -> Chart:
    import matplotlib
    from matplotlib.figure import Figure

    # The same figures give the same file, and text stays text.
    with matplotlib.rc_context({"svg.hashsalt": title, "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(7.2, height), layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    text = drawn.getvalue()
    return Chart(title, text[text.index("<svg") :])
