"""`peebot replay`: a recording through the whole live path (server, client, daemon, store) at any speed."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from iss_simulator.recording import Recording, RecordingError
from peebot_local.database import mendable
from peebot_local.embedded_postgres import free_port
from peebot_local.errors import MendableError
from peebot_local.home import Home
from peebot_local.interruption import StopSignals
from peebot_local.services import ingest, listens, simulator
from peebot_local.supervisor import Supervisor

SOURCE = "replay"
_LONGEST = timedelta(days=360)
_POLL_S = 0.5
_PLAIN_EVERY_S = 10.0
_READY_TIMEOUT_S = 120.0

_COUNT = """
SELECT count(*) FROM telemetry_reading
WHERE channel_id IN (SELECT channel_id FROM telemetry_channel WHERE item_id = ANY(%(items)s))
  AND ts >= %(first)s AND ts <= %(last)s
"""
_IS_STORED = """
SELECT EXISTS (SELECT FROM telemetry_reading
               WHERE channel_id = (SELECT channel_id FROM telemetry_channel WHERE item_id = %s)
                 AND ts BETWEEN %s AND %s)
"""
_REACHED = "SELECT last_seen_at FROM link_interval WHERE source = %s AND ended_at IS NULL"
# A replay ends where it ends: the next one may lie before it, and must not count as its continuation.
_END_LINK = "UPDATE link_interval SET ended_at = last_seen_at WHERE source = %s AND ended_at IS NULL"
_EVENTS = """
SELECT event_type, count(*) FROM detected_event
WHERE state <> 'retracted' AND started_at >= %s AND started_at <= %s GROUP BY 1 ORDER BY 2 DESC
"""
# The feed's hours are told to the millisecond in the store.
_ROUNDING = timedelta(milliseconds=2)


def default_item() -> str:
    """The channel of a recording that names none: the urine tank's level."""
    from peebot_dagster.detectors.registry import get

    return get("urine_tank").items[0]


@dataclass(frozen=True)
class Contents:
    """What a recording holds. Times are UTC."""

    rows: int
    items: tuple[str, ...]
    first: datetime
    last: datetime
    last_row_item: str
    last_row_ts: datetime


def survey(recording: Recording) -> Contents:
    """Read the whole file once."""
    items: Counter[str] = Counter()
    first = last = None
    row = None
    try:
        for row in recording.rows():
            items[row.item] += 1
            first = row.ts if first is None else min(first, row.ts)
            last = row.ts if last is None else max(last, row.ts)
    except (RecordingError, OSError, EOFError, UnicodeDecodeError, ValueError) as error:
        raise MendableError(f"{recording.path} cannot be replayed: {error}") from error
    if row is None or first is None or last is None:
        raise MendableError(f"{recording.path} holds no reading")
    if last - first > _LONGEST:
        raise MendableError(
            f"{recording.path} spans {(last - first).days} days; the feed's time has no year in it, "
            f"so replay at most {_LONGEST.days} days at once"
        )
    return Contents(items.total(), tuple(sorted(items)), first, last, row.item, row.ts)


def replay(
    home: Home,
    signals: StopSignals,
    database_url: str,
    recording: Recording,
    speed: float,
    console: Console,
) -> None:
    """Replay into the database; ends when the last reading is stored. Real time is span / `speed`."""
    contents = survey(recording)
    supervisor = Supervisor(home, signals)
    with home.hold(), mendable(database_url):
        before = _count(database_url, contents)
        _end_link(database_url)
        started = time.monotonic()
        try:
            supervisor.end_orphans()
            _start(supervisor, database_url, recording, speed, contents)
            _follow(supervisor, database_url, contents, console)
        finally:
            supervisor.stop_all()
        _end_link(database_url)
        after = _count(database_url, contents)
        _summarise(database_url, contents, before, after, time.monotonic() - started, console)


def _start(
    supervisor: Supervisor, database_url: str, recording: Recording, speed: float, contents: Contents
) -> None:
    port = free_port()
    arguments = ["recording", str(recording.path.absolute()), "--port", str(port), "--speed", str(speed)]
    if recording.item is not None:
        arguments += ["--item", recording.item]
    supervisor.start(simulator(arguments))
    supervisor.wait_for(listens(port), "simulator", _READY_TIMEOUT_S)
    as_of = contents.last + timedelta(seconds=1)
    clock = ("--clock", "feed", "--as-of", as_of.isoformat())
    supervisor.start(ingest(database_url, f"http://127.0.0.1:{port}", SOURCE, clock))


def _follow(supervisor: Supervisor, database_url: str, contents: Contents, console: Console) -> None:
    span_s = max(1.0, (contents.last - contents.first).total_seconds())
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    next_line = time.monotonic() + _PLAIN_EVERY_S
    with bar:
        task = bar.add_task("replaying", total=span_s)
        while True:
            supervisor.watch()
            position, finished = _position(database_url, contents)
            if finished:
                return
            if position is not None:
                done = min(max(0.0, (position - contents.first).total_seconds()), span_s)
                reached = f"{position.astimezone(UTC):%F %R}"
                bar.update(task, completed=done, description=reached)
                if not console.is_terminal and time.monotonic() > next_line:
                    next_line = time.monotonic() + _PLAIN_EVERY_S
                    console.print(f"replayed up to {reached} UTC ({done / span_s:.0%})", highlight=False)
            time.sleep(_POLL_S)


def _position(database_url: str, contents: Contents) -> tuple[datetime | None, bool]:
    """How far the feed's clock is, and whether the last row is stored; the store may be away for a while."""
    try:
        with psycopg.connect(database_url, connect_timeout=2) as connection:
            reached = connection.execute(_REACHED, (SOURCE,)).fetchone()
            # The last row of the file may have been stored by an earlier replay: the clock must be there too.
            if reached is None or reached[0] < contents.last - _ROUNDING:
                return (reached[0] if reached else None), False
            stored = connection.execute(
                _IS_STORED,
                (contents.last_row_item, contents.last_row_ts - _ROUNDING, contents.last_row_ts + _ROUNDING),
            ).fetchone()
            return reached[0], stored == (True,)
    except psycopg.OperationalError:
        return None, False


def _count(database_url: str, contents: Contents) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            _COUNT,
            {
                "items": list(contents.items),
                "first": contents.first - _ROUNDING,
                "last": contents.last + _ROUNDING,
            },
        ).fetchone()
    return int(row[0]) if row else 0


def _end_link(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(_END_LINK, (SOURCE,))


def _summarise(
    database_url: str, contents: Contents, before: int, after: int, seconds: float, console: Console
) -> None:
    days = (contents.last - contents.first).total_seconds() / 86_400
    console.print(
        f"{days:.1f} days in {seconds:.0f} s: {contents.rows:,} rows in the file, "
        f"{after - before:,} readings stored now, {before:,} were there before.",
        highlight=False,
        soft_wrap=True,
    )
    with psycopg.connect(database_url) as connection:
        events = connection.execute(_EVENTS, (contents.first, contents.last)).fetchall()
    found = ", ".join(f"{count} {event_type}" for event_type, count in events) or "none"
    console.print(
        f"Events found in that span so far: {found}. Detection may still be at it: see ./peebot status.",
        highlight=False,
        soft_wrap=True,
    )
