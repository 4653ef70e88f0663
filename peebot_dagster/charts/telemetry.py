"""The pictures of the telemetry: its rate, its delay, what is known of it, and a detector's signal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from peebot_dagster.charts.picture import BLUE, GREEN, GREY, PALE, RED, VIOLET, Picture, draw
from peebot_dagster.charts.station import hours_of_day, legend, shade_link, unbroken
from peebot_dagster.station_facts import EventMark, MinuteValue, Span
from peebot_dagster.telemetry_facts import Activity, Delay

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEN_MINUTES = timedelta(minutes=10)

EVENT_COLOURS = (RED, VIOLET, GREEN, "#bf8700", "#0969da", GREY)

SHORTEST_SPAN = timedelta(minutes=5)
"""Shorter events are lines: a span of them would be thinner than one."""


def rate_picture(steps: Sequence[Activity], link: Sequence[Span], start: datetime, end: datetime) -> Picture:
    """Readings a second in [start, end) (UTC), with LOS and DOWN shaded."""

    def paint(axes: Axes) -> None:
        shade_link(axes, link)
        x: Any = [step.at for step in steps]
        width: Any = TEN_MINUTES
        axes.bar(x, [step.readings_per_second for step in steps], width=width, align="edge", color=BLUE)
        axes.set_ylabel("readings a second")
        hours_of_day(axes, start, end)
        legend(axes)

    rates = [step.readings_per_second for step in steps]
    mean = f"{sum(rates) / len(rates):.1f} readings a second" if rates else "nothing"
    lost = sum((s.end - s.start for s in link if s.kind == "LOS"), timedelta(0)).total_seconds() / 60
    alt = f"The feed in the last 24 h: {mean} on the average, {lost:.0f} minutes of LOS."
    return draw("The feed, last 24 h", alt, paint)


def delay_picture(steps: Sequence[Delay], start: datetime, end: datetime) -> Picture:
    """How long the station's ticks took to be received (s) in [start, end) (UTC)."""

    def paint(axes: Axes) -> None:
        x: Any = [step.at for step in steps]
        axes.plot(x, [step.worst_s for step in steps], ".", color=PALE, label="worst of ten minutes")
        axes.plot(x, [step.median_s for step in steps], ".", color=BLUE, label="median")
        axes.set_ylabel("seconds")
        axes.set_ylim(bottom=min(0.0, *(step.median_s for step in steps)) if steps else 0.0)
        hours_of_day(axes, start, end)
        legend(axes)

    worst = f"{max(step.worst_s for step in steps):.1f} s at worst" if steps else "no tick was received"
    return draw("From the station's clock to us, last 24 h", f"Delay of the telemetry: {worst}.", paint)


def coverage_picture(
    steps: Sequence[Activity], link: Sequence[Span], start: datetime, end: datetime
) -> Picture:
    """How many channels had a known value in [start, end) (UTC)."""

    def paint(axes: Axes) -> None:
        shade_link(axes, link)
        x: Any = [step.at for step in steps]
        width: Any = TEN_MINUTES
        axes.bar(x, [step.channels for step in steps], width=width, align="edge", color=GREEN)
        axes.set_ylabel("channels with a value")
        hours_of_day(axes, start, end)
        legend(axes)

    most = max((step.channels for step in steps), default=0.0)
    return draw("Known channels, last 24 h", f"At most {most:.0f} channels had a known value.", paint)


def signal_picture(
    detector: str,
    signal: str,
    values: Sequence[MinuteValue],
    events: Sequence[EventMark],
    link: Sequence[Span],
    start: datetime,
    end: datetime,
    states: Mapping[float, str] | None = None,
) -> Picture:
    """What a detector watches first, and what it found, in [start, end) (UTC); `states` names its numbers.

    What began before `start` is drawn from there on.
    """
    types = sorted({event.event_type for event in events})

    def paint(axes: Axes) -> None:
        shade_link(axes, link)
        times, numbers = unbroken(values)
        line: Any = times
        if states:
            present = sorted({value.value for value in values})
            places = [math.nan if math.isnan(number) else float(present.index(number)) for number in numbers]
            axes.plot(line, places, color=BLUE, linewidth=1.6, drawstyle="steps-post")
            axes.set_yticks(range(len(present)), [states.get(number, f"{number:g}") for number in present])
            axes.set_ylim(-0.5, max(len(present), 1) - 0.5)
        else:
            axes.plot(line, numbers, color=BLUE, linewidth=1.2)
        for place, event_type in enumerate(types):
            colour, label = EVENT_COLOURS[place % len(EVENT_COLOURS)], event_type
            for event in (event for event in events if event.event_type == event_type):
                at: Any = max(event.at, start)
                until: Any = min(event.until or end, end)
                if until - at >= SHORTEST_SPAN:
                    axes.axvspan(at, until, color=colour, alpha=0.2, linewidth=0, label=label)
                else:
                    axes.axvline(at, color=colour, linewidth=1.0, alpha=0.8, label=label)
                label = "_"  # named once
        axes.set_ylabel(signal)
        hours_of_day(axes, start, end)
        legend(axes)

    found = ", ".join(f"{sum(e.event_type == t for e in events)} {t}" for t in types) or "no events"
    alt = f"{signal} from {start:%d %b %H:%M} to {end:%d %b %H:%M} UTC with {found}."
    return draw(f"{detector}, last 24 h", alt, paint)
