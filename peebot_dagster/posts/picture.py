"""The picture of a visit: how the level rose, for those who want proof. Drawn only when it is asked for."""

from __future__ import annotations

import io
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg.rows import class_row

from peebot_dagster.posts.outcomes import Image

BEFORE = timedelta(minutes=6)
AFTER = timedelta(minutes=3)
"""How much of the time around the visit is shown."""

_INCHES, _DPI = (12.0, 6.75), 100
_NIGHT, _LIGHT, _GOLD = "#0b1026", "#cfd8ff", "#ffcf5c"


@dataclass(frozen=True)
class Rise:
    """A visit as the gauge saw it: its `levels` (UTC, percent) in order of time, and its size in percent."""

    started_at: datetime
    ended_at: datetime
    percent: float
    levels: tuple[tuple[datetime, float], ...]


def event_picture(connection: psycopg.Connection, event_id: uuid.UUID) -> Image | None:
    """The picture of a stored event; None when too little of it is known."""
    rise = load_rise(connection, event_id)
    return None if rise is None else draw(rise)


def load_rise(connection: psycopg.Connection, event_id: uuid.UUID) -> Rise | None:
    """The event and the readings around it; None for what is no rise, or has less than two readings."""
    with connection.cursor(row_factory=class_row(_Event)) as cursor:
        event = cursor.execute(
            """
            SELECT channel_id, started_at, coalesce(ended_at, started_at) AS ended_at,
                payload -> 'amount_percent' AS percent
            FROM detected_event WHERE event_id = %s AND channel_id IS NOT NULL
            """,
            [event_id],
        ).fetchone()
    if event is None or not isinstance(event.percent, int | float) or event.percent <= 0:
        return None
    start, end = event.started_at - BEFORE, event.ended_at + AFTER
    levels = connection.execute(
        """
        SELECT greatest(ts, %(start)s), value
        FROM telemetry_window(ARRAY[%(channel)s]::smallint[], %(start)s, %(end)s)
        WHERE value BETWEEN 0 AND 100 AND status_class = 24
        """,
        {"channel": event.channel_id, "start": start, "end": end},
    ).fetchall()
    if len(levels) < 2:
        return None
    return Rise(event.started_at, event.ended_at, float(event.percent), tuple(levels))


@dataclass(frozen=True)
class _Event:
    channel_id: int
    started_at: datetime
    ended_at: datetime
    percent: object


def draw(rise: Rise) -> Image:
    """A PNG of 1200 by 675 pixels, and what it shows in words."""
    # Imported here: it is slow, and most runs draw nothing. No pyplot: that keeps state for its process.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import DateFormatter
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    times = [moment for moment, _ in rise.levels]
    values = [value for _, value in rise.levels]
    figure = Figure(figsize=_INCHES, dpi=_DPI, facecolor=_NIGHT, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_facecolor(_NIGHT)
    visit_until = max(rise.ended_at, rise.started_at + timedelta(seconds=6))
    axes.axvspan(rise.started_at, visit_until, color=_GOLD, alpha=0.18)  # type: ignore[arg-type]
    shown_until = max(times[-1], rise.ended_at) + timedelta(seconds=20)
    steps = ([*times, shown_until], [*values, values[-1]])
    axes.step(*steps, where="post", color=_GOLD, linewidth=4)  # type: ignore[arg-type]
    axes.set_xlim(times[0], shown_until)  # type: ignore[arg-type]
    axes.set_ylim(min(values) - 1.5, max(values) + 1.5)
    axes.set_title(f"Urine tank of the space station: +{rise.percent:g}%", color=_LIGHT, fontsize=24, pad=16)
    axes.set_ylabel("level, %", color=_LIGHT, fontsize=18)
    axes.set_xlabel(f"{rise.started_at.astimezone(UTC):%d %B %Y}, UTC", color=_LIGHT, fontsize=18)
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=UTC))  # type: ignore[no-untyped-call]
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(colors=_LIGHT, labelsize=16)
    axes.grid(color=_LIGHT, alpha=0.15)
    for spine in axes.spines.values():
        spine.set_visible(False)
    content = io.BytesIO()
    # Without the software's version, so that the same visit gives the same picture.
    figure.savefig(content, format="png", metadata={"Software": None})
    return Image(content.getvalue(), describe(rise))


def describe(rise: Rise) -> str:
    """The picture in words, for those who do not see it."""
    before = _level_at(rise.levels, rise.started_at - timedelta(microseconds=1))
    after = _level_at(rise.levels, rise.ended_at)
    seconds = max(1, round((rise.ended_at - rise.started_at).total_seconds()))
    return (
        f"A line chart of the level of the space station's urine tank. At "
        f"{rise.started_at.astimezone(UTC):%H:%M} UTC the line rises from {before:g} to {after:g} percent "
        f"within {seconds} second{'' if seconds == 1 else 's'}."
    )


def _level_at(levels: Sequence[tuple[datetime, float]], moment: datetime) -> float:
    return next((value for at, value in reversed(levels) if at <= moment), levels[0][1])
