"""The pictures of the station's report: the tank over a day, visits by hour, volumes and water by day."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from peebot_dagster.charts.picture import BLUE, GREEN, GREY, PALE, RED, VIOLET, Picture, draw
from peebot_dagster.station_facts import EventMark, MinuteValue, Span, WaterDay

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MINUTE = timedelta(minutes=1)

LINK_COLOURS = {"LOS": "#bf8700", "DOWN": GREY}


def unbroken(values: Sequence[MinuteValue]) -> tuple[list[datetime], list[float]]:
    """Minutes (UTC) and values for a line that is broken where minutes are missing: nothing was heard."""
    times: list[datetime] = []
    levels: list[float] = []
    for minute in values:
        if times and minute.at - times[-1] > MINUTE:
            times.append(times[-1] + MINUTE)
            levels.append(math.nan)
        times.append(minute.at)
        levels.append(minute.value)
    return times, levels


def shade_link(axes: Axes, link: Sequence[Span]) -> None:
    """LOS and DOWN as bars along the bottom, so that a gap in the line explains itself."""
    labelled: set[str] = set()
    for span in link:
        if span.kind in LINK_COLOURS:
            label = None if span.kind in labelled else span.kind
            labelled.add(span.kind)
            edges: Any = (span.start, span.end)  # dates are numbers to matplotlib, not to its stubs
            # The line around it keeps a loss of seconds, thinner than a pixel, in sight.
            axes.axvspan(*edges, color=LINK_COLOURS[span.kind], alpha=0.35, linewidth=1, label=label)


def hours_of_day(axes: Axes, start: datetime, end: datetime) -> None:
    """The x axis from start to end (UTC), with a mark each three hours."""
    from matplotlib.dates import DateFormatter, HourLocator

    edges: Any = (start, end)
    axes.set_xlim(*edges)
    axes.xaxis.set_major_locator(HourLocator(byhour=range(0, 24, 3)))  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))  # type: ignore[no-untyped-call]
    axes.set_xlabel("UTC")


def legend(axes: Axes) -> None:
    """The legend above the picture, if anything has a name."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=6, fontsize=8, frameon=False)


def tank_picture(
    levels: Sequence[MinuteValue],
    events: Sequence[EventMark],
    drains: Sequence[Span],
    link: Sequence[Span],
    start: datetime,
    end: datetime,
) -> Picture:
    """The level of the urine tank (%) in [start, end) (UTC) with what raised and what emptied it."""
    visits = [event for event in events if event.event_type in ("toilet_visit", "toilet_visit_masked")]
    transfers = [event for event in events if event.event_type == "tank_transfer"]

    def paint(axes: Axes) -> None:
        for place, drain in enumerate(drains):
            edges: Any = (drain.start, drain.end)
            label = "processing" if place == 0 else None
            axes.axvspan(*edges, color=GREEN, alpha=0.15, linewidth=0, label=label)
        shade_link(axes, link)
        times, values = unbroken(levels)
        line: Any = times
        axes.plot(line, values, color=BLUE, linewidth=1.4)
        for marks, colour, marker, label in (
            (visits, RED, "v", "visit"),
            (transfers, VIOLET, "^", "transfer"),
        ):
            x: Any = [event.at for event in marks]
            if marks:
                y = [event.level if event.level is not None else 0.0 for event in marks]
                axes.scatter(x, y, color=colour, marker=marker, s=34, zorder=3, label=label)
        axes.set_ylabel("level, %")
        axes.set_ylim(0, max(100.0 if not values else 0.0, 1.15 * max(values, default=0.0), 20.0))
        hours_of_day(axes, start, end)
        legend(axes)

    last = f" Last level {levels[-1].value:g} %." if levels else " No level is known."
    alt = (
        f"Level of the urine tank from {start:%d %b %H:%M} to {end:%d %b %H:%M} UTC: {len(visits)} visits, "
        f"{len(transfers)} transfers, processing in {len(drains)} stretches, "
        f"{sum(span.kind == 'LOS' for span in link)} losses of signal.{last}"
    )
    return draw("Urine tank, last 24 h", alt, paint)


def hours_picture(today: Sequence[int], before: Sequence[float]) -> Picture:
    """Visits by the hour of the crew's day (UTC): today's numbers over the daily mean `before`, 24 each."""

    def paint(axes: Axes) -> None:
        axes.bar(range(24), before, color=PALE, width=0.9, label="mean of the 7 days before")
        axes.bar(range(24), today, color=BLUE, width=0.5, label="today")
        axes.set_xticks(range(0, 24, 3), [f"{hour:02d}" for hour in range(0, 24, 3)])
        axes.set_xlabel("hour, UTC")
        axes.set_ylabel("visits")
        axes.set_ylim(0, max(1.0, *today, *before) * 1.1)
        legend(axes)

    busiest = max(range(24), key=lambda hour: before[hour])
    alt = (
        f"Visits by hour of the day: {sum(today)} today, {sum(before):.1f} a day in the week before, "
        f"most of them from {busiest:02d} to {busiest + 1:02d} UTC."
    )
    return draw("Visits by hour", alt, paint)


def volumes_picture(days: Sequence[WaterDay]) -> Picture:
    """What the visits brought each day (mL)."""

    def paint(axes: Axes) -> None:
        axes.bar(range(len(days)), [day.visits_ml for day in days], color=BLUE, width=0.7)
        _day_axis(axes, [day.day for day in days])
        axes.set_ylabel("mL")

    total = sum(day.visits_ml for day in days)
    alt = f"Volume of the visits by day: {total:,.0f} mL in {len(days)} days, the last of them until now."
    return draw("Volume by day", alt, paint)


def balance_picture(days: Sequence[WaterDay]) -> Picture:
    """What came into the tank each day, by where from, and what went out (% of the tank)."""

    def paint(axes: Axes) -> None:
        x = range(len(days))
        visits = [day.visits_percent for day in days]
        transfers = [day.transfers_percent for day in days]
        others = [day.others_percent for day in days]
        axes.bar(x, visits, color=BLUE, width=0.7, label="visits")
        axes.bar(x, transfers, bottom=visits, color=VIOLET, width=0.7, label="transfers")
        bottom = [a + b for a, b in zip(visits, transfers, strict=True)]
        axes.bar(x, others, bottom=bottom, color=PALE, width=0.7, label="other")
        axes.bar(x, [-day.falls_percent for day in days], color=GREEN, width=0.7, label="out")
        axes.axhline(0, color=GREY, linewidth=0.8)
        _day_axis(axes, [day.day for day in days])
        axes.set_ylabel("% of the tank")
        legend(axes)

    into = sum(day.visits_percent + day.transfers_percent + day.others_percent for day in days)
    out = sum(day.falls_percent for day in days)
    alt = f"Water balance of the urine tank in {len(days)} days: {into:.0f} % came in, {out:.0f} % went out."
    return draw("Water balance of the urine tank", alt, paint)


def _day_axis(axes: Axes, days: Sequence[date]) -> None:
    axes.set_xticks(range(len(days)), [f"{day:%d %b}" for day in days], fontsize=8)
