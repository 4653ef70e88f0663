"""Whether the system is well: pure verdicts from facts, with what to do. No Dagster, no SQL, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from peebot_dagster.store import FeedState

Level = Literal["fine", "warning", "error"]
Number = float | int | str

LONGEST_LOS = timedelta(hours=1)
"""Real losses of signal last up to 11 min, some in a year longer; after that the feed itself is dead."""

STORE_BEHIND = timedelta(seconds=30)
STORE_FAR_BEHIND = timedelta(minutes=5)
"""While the link is LIVE the station's clock ticks each second, and a tick is committed within the second."""

REJECTED_SHARE_LIMIT = 0.01

CLOCK_TOLERANCE = timedelta(seconds=30)
"""Way from orbit to the store and some jitter; more is a clock that is wrong."""

AWAY_LIMIT = timedelta(minutes=10)
"""Of a day: a restart takes seconds."""

UNHEARD_SHARE_LIMIT = 0.25
"""NASA's public list names some dozens of items that the feed no longer fills."""

VISITS_PER_DAY = (5, 40)
"""On the real station 10 to 36 a day (72 days of 2024/25), with some margin for a small or a large crew."""

WATCHED_SHARE = 0.8
"""Share of a day that must have been LIVE for its number of visits to mean anything."""

BALANCE_TOLERANCE_PERCENT = 10.0
BALANCE_TOLERANCE_SHARE = 0.15
"""Of all rises: what falls back within two minutes is no event, nor is the begin of one at the border."""


@dataclass(frozen=True)
class Verdict:
    """What a check says: `advice` is for whoever reads it; the numbers carry units in their keys."""

    check: str
    level: Level
    advice: str
    numbers: Mapping[str, Number] = field(default_factory=dict)


@dataclass(frozen=True)
class ClockTick:
    """The newest good tick of the station's clock.

    `value_ms` (TIME_000001) counts the milliseconds of the year, `year` (TIME_000002) is None before it was
    heard. `ts` is the event time, `received_at` when it came (both UTC).
    """

    value_ms: float
    ts: datetime
    received_at: datetime
    year: int | None


@dataclass(frozen=True)
class LinkDay:
    """How the link was over the `span` of up to a day; what is in none of the three nobody has told."""

    span: timedelta
    live: timedelta
    los: timedelta
    down: timedelta

    @property
    def away(self) -> timedelta:
        """How long nobody listened: our own gap, unlike LOS."""
        return max(self.span - self.live - self.los, timedelta(0))

    @property
    def live_share(self) -> float:
        return self.live / self.span if self.span else 0.0

    @property
    def los_share(self) -> float:
        return self.los / self.span if self.span else 0.0


@dataclass(frozen=True)
class CatalogueFacts:
    """`catalogued` items, `unheard` ones among them, and `unknown` ones that only the feed knows."""

    catalogued: int
    unheard: Sequence[str]
    unknown: Sequence[str]


@dataclass(frozen=True)
class TankDay:
    """A day of the urine tank: all rises of its level, and what the events explain of them (%)."""

    visits: int
    rises_percent: float
    explained_percent: float


def liveness(feed: FeedState, now: datetime) -> Verdict:
    """LOS is a warning that passes by itself; one that does not, and DOWN, are errors."""
    numbers: dict[str, Number] = {"state": feed.state, "since": _time(feed.since)}
    if feed.since is not None:
        numbers["for_minutes"] = round((now - feed.since).total_seconds() / 60, 1)
    if feed.state == "LIVE":
        return Verdict("feed_is_live", "fine", "Telemetry is coming in.", numbers)
    if feed.state == "DOWN":
        advice = (
            "No connection to the feed: see whether the ingest daemon runs (`./peebot status`) and what its "
            "log says; it tries again by itself. What is sent meanwhile is lost: the feed has no history."
        )
        return Verdict("feed_is_live", "error", advice, numbers)
    if feed.since is not None and now - feed.since > LONGEST_LOS:
        advice = (
            "Connected, but nothing comes for longer than any usual loss of signal: the feed is dead. There "
            "is nothing to repair here. See whether other clients are silent too, and wait: it has "
            "been dead for weeks before."
        )
        return Verdict("feed_is_live", "error", advice, numbers)
    advice = "Loss of signal: wait, the station comes back by itself, mostly within 11 minutes."
    return Verdict("feed_is_live", "warning", advice, numbers)


def promptness(feed: FeedState, tick: ClockTick | None, now: datetime) -> Verdict:
    """Whether what the daemon hears is in the store at once."""
    check = "store_keeps_up"
    if feed.state != "LIVE" or _is_replay(feed):
        return Verdict(check, "fine", "Judged while the station is heard live.")
    if tick is None:
        if feed.since is not None and now - feed.since > STORE_FAR_BEHIND:
            advice = (
                "The link is LIVE, but no tick of TIME_000001 is stored: see whether a daemon's "
                "PEEBOT_CHANNELS includes TIME_* and what the daemon's log says."
            )
            return Verdict(check, "warning", advice)
        return Verdict(check, "fine", "Judged from the first tick of TIME_000001 on.")
    behind = now - tick.received_at
    numbers: dict[str, Number] = {"behind_s": round(behind.total_seconds(), 1)}
    if behind <= STORE_BEHIND:
        return Verdict(check, "fine", "What is heard is stored at once.", numbers)
    advice = (
        "The link is LIVE, but what it brings is not in the store: see `spool_readings` in `./peebot status "
        "--json`. If it grows, the database refuses or is too slow: its log and its disk tell why."
    )
    return Verdict(check, "error" if behind > STORE_FAR_BEHIND else "warning", advice, numbers)


def rejections(feed: FeedState) -> Verdict:
    """A warning when too many updates of the last hour were rejected."""
    share = feed.rejected_share
    numbers: dict[str, Number] = {
        "rejected_percent": round(100 * share, 3),
        "rejected_last_hour": feed.rejected_last_hour,
    }
    if share <= REJECTED_SHARE_LIMIT:
        return Verdict("few_updates_rejected", "fine", "Next to all updates are valid.", numbers)
    advice = (
        "Reasons and raw fields are in the table rejected_reading: SELECT reason, count(*) FROM "
        "rejected_reading GROUP BY 1. timestamp_ahead_of_clock: set this machine's clock. Anything else: the "
        "feed has changed its form, and ingest_daemon/reading.py must learn it."
    )
    return Verdict("few_updates_rejected", "warning", advice, numbers)


def clocks(feed: FeedState, tick: ClockTick | None) -> Verdict:
    """Whether the station's clock, the time stamps of the feed and this machine's clock agree."""
    check = "clocks_agree"
    if feed.state != "LIVE" or _is_replay(feed) or tick is None:
        return Verdict(check, "fine", "Judged while the station's clock is heard live.")
    year = tick.received_at.astimezone(UTC).year if tick.year is None else tick.year
    ours = tick.received_at - station_time(year, tick.value_ms, tick.received_at)
    stamps = tick.ts - station_time(year, tick.value_ms, tick.ts)
    numbers: dict[str, Number] = {
        "received_after_station_time_s": round(ours.total_seconds(), 1),
        "stamped_after_station_time_s": round(stamps.total_seconds(), 1),
        "station_year": "not heard" if tick.year is None else tick.year,
    }
    if abs(ours) <= CLOCK_TOLERANCE and abs(stamps) <= CLOCK_TOLERANCE:
        return Verdict(check, "fine", "Station, time stamps and this machine agree.", numbers)
    if abs(stamps) > CLOCK_TOLERANCE:
        advice = (
            "The feed's time stamps do not fit the station's own clock (TIME_000001, TIME_000002): events "
            "get wrong times, maybe in the wrong year. Compare ts and value of TIME_000001 in "
            "telemetry_reading; ingest_daemon.reading.event_time reads the stamps."
        )
    else:
        advice = (
            "This machine's clock differs from the station's: see `timedatectl` and set it by NTP. Or the "
            "feed delivers late, and nothing is wrong here."
        )
    return Verdict(check, "warning", advice, numbers)


def station_time(year: int, value_ms: float, near: datetime) -> datetime:
    """The moment (UTC) that TIME_000001 tells.

    Whether its milliseconds count from 1 January or, as the feed's time stamps do, from the day before is
    not documented: the one nearer to `near` it is.
    """
    from_january_1 = datetime(year, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value_ms)
    from_january_0 = from_january_1 - timedelta(days=1)
    return min(from_january_1, from_january_0, key=lambda moment: abs(near - moment))


def gaps(link: LinkDay) -> Verdict:
    """A warning when nobody listened for more than some minutes of the last day."""
    numbers: dict[str, Number] = {
        "away_minutes": round(link.away.total_seconds() / 60, 1),
        "los_percent": round(100 * link.los_share, 2),
        "live_percent": round(100 * link.live_share, 2),
    }
    if link.away <= AWAY_LIMIT:
        return Verdict("no_gaps", "fine", "Somebody listened all day, save for LOS.", numbers)
    advice = (
        "For some time of the last 24 hours no daemon was connected, and what was sent then is lost. Look "
        "for restarts and reconnections in the daemon's log; a second daemon is a hot standby. "
        "The warning goes away a day after the gap."
    )
    return Verdict("no_gaps", "warning", advice, numbers)


def catalogue(facts: CatalogueFacts, link: LinkDay) -> Verdict:
    """A warning when the feed and the catalogue of channels have drifted apart."""
    check = "catalogue_fits_feed"
    unheard_share = len(facts.unheard) / facts.catalogued if facts.catalogued else 0.0
    numbers: dict[str, Number] = {
        "catalogued": facts.catalogued,
        "unheard": len(facts.unheard),
        "unheard_items": _some(facts.unheard),
        "unknown": len(facts.unknown),
        "unknown_items": _some(facts.unknown),
    }
    if facts.unknown:
        advice = "The feed sends items that nobody has described: add them to sql/channels.csv."
        return Verdict(check, "warning", advice, numbers)
    if facts.catalogued == len(facts.unheard):
        return Verdict(check, "fine", "Judged once telemetry_minute is computed.", numbers)
    if link.live >= timedelta(hours=1) and unheard_share > UNHEARD_SHARE_LIMIT:
        advice = (
            "Many items of the catalogue told nothing in the last day, although the station was heard: does "
            "PEEBOT_CHANNELS leave them out, or has NASA taken them off the feed (sql/channels.csv)?"
        )
        return Verdict(check, "warning", advice, numbers)
    return Verdict(check, "fine", "The feed is what the catalogue says.", numbers)


def mass_balance(day: TankDay | None) -> Verdict:
    """A warning when the events do not explain the rises of the level: nothing comes from nowhere."""
    check = "mass_balance"
    if day is None:
        return Verdict(check, "fine", "Judged once the detector has run.")
    unexplained = day.rises_percent - day.explained_percent
    numbers: dict[str, Number] = {
        "rises_percent": day.rises_percent,
        "explained_percent": day.explained_percent,
        "unexplained_percent": unexplained,
    }
    if abs(unexplained) <= BALANCE_TOLERANCE_PERCENT + BALANCE_TOLERANCE_SHARE * day.rises_percent:
        return Verdict(check, "fine", "The events of the last day explain what the tank got.", numbers)
    advice = (
        "The tank's level rose by another amount than the events of the last day account for. Materialize "
        "the last 24 hours of urine_tank_events; if the warning stays, look at the same hours with `./peebot "
        "detect urine_tank --from … --to …`: the tank behaves in a way that the detector does not know."
    )
    return Verdict(check, "warning", advice, numbers)


def visit_rate(day: TankDay | None, link: LinkDay) -> Verdict:
    """A warning when nobody, or everybody all the time, seems to have gone in the last day."""
    check = "visits_are_plausible"
    if day is None or link.live_share < WATCHED_SHARE or link.span < timedelta(hours=23):
        return Verdict(check, "fine", "Judged once most of a day was heard.")
    numbers: dict[str, Number] = {
        "visits_last_day": day.visits,
        "live_percent": round(100 * link.live_share, 1),
    }
    least, greatest = VISITS_PER_DAY
    if day.visits < least:
        advice = (
            "Hardly anybody went to the toilet for a day, and most of it was heard. Does the level "
            "(NODE3000005) still change? If not, the sensor is off or the crew uses another toilet."
        )
    elif day.visits > greatest:
        advice = (
            "More visits in a day than a crew makes: the sensor may be noisy, or a pump works in small "
            "strokes. Look at the events' reasons, and `./peebot mute` until it is clear."
        )
    else:
        return Verdict(check, "fine", "As many visits as a crew makes in a day.", numbers)
    return Verdict(check, "warning", advice, numbers)


def _is_replay(feed: FeedState) -> bool:
    return (feed.source or "").split("/")[0] == "replay"


def _time(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _some(items: Sequence[str]) -> str:
    shown = ", ".join(items[:20])
    return shown + (" …" if len(items) > 20 else "")
