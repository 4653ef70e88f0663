"""`peebot replay`: a recording through the whole live path (server, client, daemon, store) at any speed."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ingest_daemon.reading import RawUpdate, Rejection, parse
from iss_simulator.feed import feed_fields
from iss_simulator.playback import END_AFTER
from iss_simulator.recording import RecordedUpdate, Recording, RecordingError
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
_CATALOGUE = "SELECT item_id FROM telemetry_channel WHERE catalogued"
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

    items: Counter[str]
    """The number of rows of each channel."""
    first: datetime
    last: datetime
    rejected: int
    """Rows that the daemon will reject."""
    first_rejected: str | None
    """Where in the file the first of these is, and why it is no reading."""

    @property
    def rows(self) -> int:
        return self.items.total()

    @property
    def end(self) -> datetime:
        """The event time of the tick that follows the last row."""
        return self.last + END_AFTER


def survey(recording: Recording) -> Contents:
    """Read the whole file once; an error for what is no recording, or holds nothing that can be stored."""
    items: Counter[str] = Counter()
    first, last = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)
    rejected, first_rejected = 0, None
    try:
        for row in recording.rows():
            items[row.item] += 1
            first, last = min(first, row.ts), max(last, row.ts)
            reason = _rejection(row)
            if reason is not None:
                rejected += 1
                first_rejected = first_rejected or f"{recording.path}:{row.line}: {row.value!r:.80}, {reason}"
    except RecordingError as error:
        raise MendableError(str(error)) from error
    if not items:
        in_span = " between --from and --to" if recording.start or recording.stop else ""
        raise MendableError(f"{recording.path} holds no reading{in_span}")
    if rejected == items.total():
        raise MendableError(f"{recording.path} holds no reading that can be stored; {first_rejected}")
    if last - first > _LONGEST:
        raise MendableError(
            f"{recording.path} spans {(last - first).days} days; the feed's time has no year in it, "
            f"so replay at most {_LONGEST.days} days at once"
        )
    return Contents(items, first, last, rejected, first_rejected)


def _rejection(row: RecordedUpdate) -> str | None:
    """Why the daemon will reject a row; None for a reading."""
    timestamp, value, status_class, indicator, color, calibrated = feed_fields(row.timestamp, row.value)
    parsed = parse(
        RawUpdate(
            row.item, timestamp, value, status_class, indicator, color, calibrated, False, received_at=row.ts
        )
    )
    return parsed.reason if isinstance(parsed, Rejection) else None


def replay(
    home: Home,
    signals: StopSignals,
    database_url: str,
    recording: Recording,
    speed: float,
    first_partition: datetime,
    console: Console,
) -> None:
    """Replay into the database; ends when all that can be stored is. Real time is span / `speed`.

    `first_partition` (UTC) is where Dagster's hours begin.
    """
    try:
        recording = recording.with_fixed_year()
    except RecordingError as error:
        raise MendableError(str(error)) from error
    contents = survey(recording)
    supervisor = Supervisor(home, signals)
    with home.hold(), mendable(database_url):
        _tell_what_is_left_out(database_url, contents, first_partition, console)
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


def _tell_what_is_left_out(
    database_url: str, contents: Contents, first_partition: datetime, console: Console
) -> None:
    with psycopg.connect(database_url) as connection:
        catalogue = {item for (item,) in connection.execute(_CATALOGUE)}
    unknown = sorted(contents.items.keys() - catalogue)
    if len(unknown) == len(contents.items):
        raise MendableError(f"none of its channels is in the catalogue ({', '.join(unknown):.80})")
    if unknown:
        _say(
            console,
            f"{sum(contents.items[item] for item in unknown):,} rows are not stored: their channels are not "
            f"in the catalogue ({', '.join(unknown):.80}).",
        )
    if contents.first < first_partition:
        _say(
            console,
            f"The recording begins at {contents.first:%F %R} UTC, before Dagster's first hour, "
            f"{first_partition:%F %R}: what lies before that gets no minutes; "
            "start './peebot up' with an earlier PEEBOT_PARTITIONS_START for them.",
        )


def _start(
    supervisor: Supervisor, database_url: str, recording: Recording, speed: float, contents: Contents
) -> None:
    port = free_port()
    supervisor.start(simulator(playing(recording, port, speed)))
    supervisor.wait_for(listens(port), "simulator", _READY_TIMEOUT_S)
    clock = ("--clock", "feed", "--as-of", contents.end.isoformat())
    supervisor.start(ingest(database_url, f"http://127.0.0.1:{port}", SOURCE, clock))


def playing(recording: Recording, port: int, speed: float) -> list[str]:
    """The arguments that make the simulator play this recording."""
    arguments = ["recording", str(recording.path.absolute()), "--port", str(port), "--speed", str(speed)]
    if recording.item is not None:
        arguments += ["--item", recording.item]
    if recording.start is not None:
        arguments += ["--start", recording.start.isoformat()]
    if recording.stop is not None:
        arguments += ["--stop", recording.stop.isoformat()]
    if recording.year is not None:
        arguments += ["--year", str(recording.year)]
    return arguments


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
    """How far the feed's clock is, and whether that is its end; the store may be away for a while.

    The daemon confirms the link up to a moment only after all that it has heard before is stored.
    """
    try:
        with psycopg.connect(database_url, connect_timeout=2) as connection:
            reached = connection.execute(_REACHED, (SOURCE,)).fetchone()
    except psycopg.OperationalError:
        return None, False
    if reached is None:
        return None, False
    return reached[0], reached[0] >= contents.end - _ROUNDING


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
    _say(
        console,
        f"{days:.1f} days in {seconds:.0f} s: {contents.rows:,} rows in the file, "
        f"{after - before:,} readings stored now, {before:,} were there before.",
    )
    if contents.rejected:
        _say(
            console,
            f"{contents.rejected:,} rows are no readings and were rejected; "
            f"the first: {contents.first_rejected}.",
        )
    with psycopg.connect(database_url) as connection:
        events = connection.execute(_EVENTS, (contents.first, contents.last)).fetchall()
    found = ", ".join(f"{count} {event_type}" for event_type, count in events) or "none"
    _say(
        console,
        f"Events found in that span so far: {found}. Detection may still be at it: see ./peebot status.",
    )


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
