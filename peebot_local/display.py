"""What the terminal shows: steps with a spinner, and a status block; plain lines where it is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from peebot_local.daemon_status import DaemonStatus
from peebot_local.doctor.finding import Finding
from peebot_local.status import LastEvent, LastPost, Status

_COLOURS = {"LIVE": "bold green", "LOS": "bold yellow", "DOWN": "bold red"}
_MEANINGS = {
    "LIVE": "signal acquired",
    "LOS": "connected, signal lost",
    "DOWN": "nothing comes in, trying again",
}
_LEVELS = {"ok": ("OK", "green"), "warn": ("WARN", "yellow"), "fail": ("FAIL", "bold red")}
_PLAIN_EVERY_S = 30.0
_LITTLE_SPACE_MB = 100


class Steps:
    """Announces work: with a spinner on a terminal, as one line elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Show that this is being done, and how long it took."""
        started = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(f"{what} …"):
                yield
            self._console.print(f"[green]✓[/green] {what} [dim]{time.monotonic() - started:.1f} s[/dim]")
        else:
            self._console.print(f"{what} …", markup=False, soft_wrap=True)
            yield

    def say(self, text: str) -> None:
        """One line for the reader."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Picture:
    """All that the status block shows at one moment. Times are UTC."""

    status: Status
    events: tuple[LastEvent, ...]
    posts: tuple[LastPost, ...]
    restarts: int
    free_mb: int
    """Free space on the disk of the home."""


class StatusBlock:
    """One block that is drawn anew on a terminal; elsewhere a line whenever something happens."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._live: Live | None = None
        self._shown: Picture | None = None
        self._shown_at = 0.0

    @contextmanager
    def shown(self) -> Iterator[None]:
        if self._console.is_terminal:
            with Live(console=self._console, auto_refresh=False, transient=False) as self._live:
                yield
            self._live = None
        else:
            yield

    def show(self, picture: Picture | None, monotonic_s: float) -> None:
        """Show the newest picture; None means that the database did not answer."""
        if self._live is not None:
            content = self._block(picture) if picture else Text("the database does not answer, waiting …")
            self._live.update(content, refresh=True)
        elif picture is not None:
            for line in self._news(picture, monotonic_s):
                self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _block(self, picture: Picture) -> RenderableType:
        status = picture.status
        table = status_table(status, self._title)
        table.add_section()
        for event in picture.events:
            table.add_row("event", describe_event(event))
        for post in picture.posts:
            table.add_row("post", Text(describe_post(post)))
        if picture.free_mb < _LITTLE_SPACE_MB:
            table.add_row("disk", Text(_space_line(picture), style="bold red"))
        if picture.restarts:
            table.add_row("restarts", f"{picture.restarts} of its processes; see the logs in {status.home}")
        return Group(table, Text("Ctrl-C stops everything.", style="dim"))

    def _news(self, picture: Picture, monotonic_s: float) -> list[str]:
        before, self._shown = self._shown, picture
        status = picture.status
        lines = []
        is_due = monotonic_s - self._shown_at > _PLAIN_EVERY_S
        if is_due or before is None or before.status.feed != status.feed:
            self._shown_at = monotonic_s
            lines.append(
                f"feed {status.feed} ({_MEANINGS[status.feed]}); {status.readings:,} readings, "
                f"{status.rejected:,} rejected, newest {_age(status.newest_age_s)}; "
                f"{status.events:,} events, {status.posts:,} posts"
            )
        if picture.free_mb < _LITTLE_SPACE_MB and (
            is_due or before is None or before.free_mb != picture.free_mb
        ):
            lines.append(_space_line(picture))
        known = set() if before is None else {*_event_lines(before), *_post_lines(before)}
        lines += [line for line in (*_event_lines(picture), *_post_lines(picture)) if line not in known]
        return lines


def _space_line(picture: Picture) -> str:
    return f"only {picture.free_mb} MB are free under {picture.status.home}; free some space"


def _event_lines(picture: Picture) -> list[str]:
    return [f"event {describe_event(event)}" for event in reversed(picture.events)]


def _post_lines(picture: Picture) -> list[str]:
    return [f"post {describe_post(post)}" for post in reversed(picture.posts)]


def status_table(status: Status, title: str = "PeeBot") -> Table:
    """The figures of a status."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("UI", Text(status.ui_url or "not running", style="bold cyan"))
    if status.live_url:
        table.add_row("live page", Text(status.live_url, style="bold cyan"))
    feed = Text(status.feed, style=_COLOURS[status.feed])
    table.add_row("feed", Text.assemble(feed, f"  {_MEANINGS[status.feed]}"))
    rejected = f", {status.rejected:,} rejected" if status.rejected else ""
    table.add_row("readings", f"{status.readings:,} stored{rejected}; newest {_age(status.newest_age_s)}")
    if status.spool_full:
        table.add_row("spool", Text("full; the doctor and the daemon's log tell why", style="bold red"))
    if status.spool_readings:
        table.add_row("spool", f"{status.spool_readings:,} readings wait for the database")
    table.add_row("events", f"{status.events:,}")
    table.add_row("posts", _posts(status))
    table.add_row("store", f"{status.store_edition}, logs in {status.home}")
    return table


def daemon_table(status: DaemonStatus, title: str = "PeeBot, by its ingest daemon alone") -> Table:
    """What the daemon tells while the database is away."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    if status.feed is None:
        table.add_row("feed", "not known yet")
    else:
        feed = Text(status.feed, style=_COLOURS[status.feed])
        table.add_row("feed", Text.assemble(feed, f"  {_MEANINGS[status.feed]}"))
    table.add_row("spool", Text(status.spool, style="bold red" if status.spool_full else ""))
    table.add_row("metrics", status.metrics_url)
    return table


def finding_line(finding: Finding) -> Text:
    """A line of the doctor, and one below it that says what to do."""
    word, colour = _LEVELS[finding.level]
    line = Text.assemble((f"{word:<5}", colour), f"{finding.check:<21}{finding.text}")
    if finding.advice:
        line.append(f"\n{'':<26}→ {finding.advice}")
    return line


def _posts(status: Status) -> Text:
    if not status.muted:
        return Text(f"{status.posts:,}")
    until = "unmuted" if status.muted_until is None else f"{status.muted_until.astimezone(UTC):%F %R} UTC"
    return Text.assemble(f"{status.posts:,}  ", (f"muted until {until}", "bold yellow"))


def describe_event(event: LastEvent) -> str:
    """An event in one line."""
    amount = event.payload.get("amount_percent")
    size = f" {amount:+g} %" if isinstance(amount, int | float) else ""
    return f"{_utc(event.started_at)} {event.event_type}{size} ({event.state}, {event.confidence:.0%} sure)"


def describe_post(post: LastPost) -> str:
    """A post in one line."""
    what = "would have been posted" if post.state == "dry_run" else f"{post.state} on {post.platform}"
    why = f" ({post.reason})" if post.reason and post.state != "dry_run" else ""
    text = " ".join((post.text or "").split())
    return f"{_utc(post.created_at)} {what}{why}: {text}"


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "none yet"
    if seconds < 120:
        return f"{seconds:.0f} s old"
    return f"{seconds / 3600:.1f} h old" if seconds > 7200 else f"{seconds / 60:.0f} min old"
