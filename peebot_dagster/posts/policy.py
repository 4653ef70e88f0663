"""Whether an event is posted: pure decisions from the event, the clock and what was posted before."""

from __future__ import annotations

import calendar
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from peebot_dagster.detectors.detector import EventState

Origin = Literal["replay", "demo", "backfill"]
"""Where an event comes from that did not just happen on the station.

replay: a recording was played over its time; demo: the simulated station was; backfill: it was detected so
late that it was history already, as in a backfill or when readings come days after their time.
"""

TOLD_ANYWAY: Mapping[str, frozenset[Origin]] = {"dry_run": frozenset({"demo"})}
"""What a platform takes without being asked by name: the demo shows its jokes, and shows them only."""

ONE_DAY = timedelta(days=1)


class PolicyError(ValueError):
    """A setting of the policy is not usable; the message names the variable and what it may be."""


def _minutes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return timedelta(minutes=float(value))
    except OverflowError as error:
        raise ValueError(f"{value} minutes are too many") from error


Minutes = Annotated[timedelta, BeforeValidator(_minutes), Field(ge=timedelta(0), le=timedelta(days=7))]


def _names(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return [name.strip() for name in value.split(",") if name.strip()]


def _quota(value: Any) -> Any:
    return None if value == "none" else value


MonthlyQuota = Annotated[Annotated[int, Field(ge=0)] | None, BeforeValidator(_quota)]


@dataclass(frozen=True)
class QuietHours:
    """A stretch of the crew's day, which goes by UTC; the end is not part of it. It may go over midnight."""

    start: time
    end: time

    def __contains__(self, moment: datetime) -> bool:
        at = moment.astimezone(UTC).time()
        if self.start < self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end


def _quiet_hours(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        start, end = (time.fromisoformat(part.strip()) for part in value.split("-"))
    except ValueError:
        raise ValueError(f"{value!r} is no span of the day, as in 22:00-06:00") from None
    if start == end:
        raise ValueError("it begins when it ends; to post nothing at all there is ./peebot mute")
    return QuietHours(start, end)


class PostPolicy(BaseModel):
    """When events are posted.

    `cooldown` must lie between two posts, `freshness` is the greatest age of an event, `min_confidence` (0 to
    1) its least confidence, `quiet_hours` are those of the crew's day in which nothing is posted, `origins`
    are posted too although they did not just happen, `event_types` are the events that are posted about, each
    `..._monthly_quota` is what a platform takes in a calendar month (UTC; None: as much as there is), and a
    claim that is older than `abandoned_after` belongs to a run that has died. With `picture` a chart of the
    rise goes with each post.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cooldown: Minutes = timedelta(minutes=30)
    freshness: Minutes = timedelta(minutes=15)
    min_confidence: float = Field(default=0.8, ge=0, le=1)
    quiet_hours: Annotated[QuietHours | None, BeforeValidator(_quiet_hours)] = None
    origins: Annotated[frozenset[Origin], BeforeValidator(_names)] = frozenset()
    event_types: Annotated[frozenset[str], BeforeValidator(_names), Field(min_length=1)] = frozenset(
        {"toilet_visit"}
    )
    x_monthly_quota: MonthlyQuota = 500
    bluesky_monthly_quota: MonthlyQuota = None
    mastodon_monthly_quota: MonthlyQuota = None
    picture: bool = False
    abandoned_after: Minutes = Field(default=timedelta(minutes=5), ge=timedelta(minutes=2))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> PostPolicy:
        """The defaults, changed by the variables of SETTINGS (minutes; confidence 0 to 1)."""
        given = {
            field: environment[name].strip()
            for field, name in SETTINGS.items()
            if environment.get(name, "").strip()
        }
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            problems = [
                f"{SETTINGS[str(problem['loc'][0])]}: {problem['msg'].removeprefix('Value error, ')}"
                for problem in error.errors()
            ]
            raise PolicyError("; ".join(problems)) from error

    def monthly_quota(self, platform: str) -> int | None:
        """How many posts a platform takes in a calendar month; None when it does not count."""
        quotas = {
            "x": self.x_monthly_quota,
            "bluesky": self.bluesky_monthly_quota,
            "mastodon": self.mastodon_monthly_quota,
        }
        return quotas.get(platform)


SETTINGS = {
    "cooldown": "PEEBOT_POST_COOLDOWN_MINUTES",
    "freshness": "PEEBOT_POST_FRESHNESS_MINUTES",
    "min_confidence": "PEEBOT_POST_MIN_CONFIDENCE",
    "quiet_hours": "PEEBOT_POST_QUIET_HOURS",
    "origins": "PEEBOT_POST_ORIGINS",
    "event_types": "PEEBOT_POST_EVENTS",
    "picture": "PEEBOT_POST_PICTURE",
    "x_monthly_quota": "PEEBOT_X_MONTHLY_QUOTA",
    "bluesky_monthly_quota": "PEEBOT_BLUESKY_MONTHLY_QUOTA",
    "mastodon_monthly_quota": "PEEBOT_MASTODON_MONTHLY_QUOTA",
}
"""Which environment variable sets which field of PostPolicy."""


@dataclass(frozen=True)
class Candidate:
    """What the decision needs to know about an event. Times are UTC.

    `detected_at` is when it was first stored; `played` tells that its telemetry was, and by whom.
    """

    event_id: uuid.UUID
    started_at: datetime
    state: EventState
    confidence: float
    detected_at: datetime
    played: Literal["replay", "demo"] | None = None

    def origins(self, freshness: timedelta) -> tuple[Origin, ...]:
        """What it is besides news from the station; empty for what just happened there."""
        if self.played == "replay":
            return ("replay",)
        late: tuple[Origin, ...] = ("backfill",) if self.detected_at - self.started_at > freshness else ()
        return ("demo", *late) if self.played == "demo" else late


@dataclass(frozen=True)
class PastPost:
    """A post that is, or may be, public: when its event began, and when it was decided (UTC)."""

    event_started_at: datetime
    posted_at: datetime


@dataclass(frozen=True)
class Situation:
    """How things stand with a platform. Times are UTC.

    `recent` are its latest posts, `posts_this_month` is their number in the calendar month. Until `resume_at`
    the platform takes none, by its own word.
    """

    platform: str
    recent: Sequence[PastPost] = ()
    posts_this_month: int = 0
    muted: bool = False
    resume_at: datetime | None = None


@dataclass(frozen=True)
class Verdict:
    """publish; skip for ever, with a reason; or wait, as the event may still grow."""

    action: Literal["publish", "skip", "wait"]
    reason: str | None = None


def decide(event: Candidate, now: datetime, situation: Situation, policy: PostPolicy) -> Verdict:
    """What becomes of an event that has no row in the ledger of the platform yet."""
    if event.state == "retracted":
        return Verdict("skip", "retracted")
    origins = event.origins(policy.freshness)
    wanted = policy.origins | TOLD_ANYWAY.get(situation.platform, frozenset())
    for origin in origins:
        if origin not in wanted:
            return Verdict("skip", origin)
    # Of old telemetry that was asked for by name only the finding can be news.
    happened_at = event.detected_at if {"replay", "backfill"} & {*origins} else event.started_at
    if happened_at < now - policy.freshness:
        return Verdict("skip", "stale")
    if event.confidence < policy.min_confidence:
        return Verdict("wait") if event.state == "open" else Verdict("skip", "low_confidence")
    hindrance = _hindrance(event, now, situation, policy)
    return Verdict("skip", hindrance) if hindrance else Verdict("publish")


def _hindrance(event: Candidate, now: datetime, situation: Situation, policy: PostPolicy) -> str | None:
    """Why nothing is posted now, whatever the event is worth."""
    if situation.muted:
        return "muted"
    if policy.quiet_hours is not None and now in policy.quiet_hours:
        return "quiet_hours"
    if situation.resume_at is not None and now < situation.resume_at:
        return "rate_limited"
    if any(
        # Event time can be late and wall time can lag behind: two posts must be apart by both.
        abs(event.started_at - post.event_started_at) < policy.cooldown
        or now - post.posted_at < policy.cooldown
        for post in situation.recent
    ):
        return "cooldown"
    quota = policy.monthly_quota(situation.platform)
    if quota is not None and situation.posts_this_month >= quota_until(now, quota):
        return "quota"
    return None


def quota_until(now: datetime, monthly_quota: int) -> int:
    """How many posts a month may have seen by `now` (UTC), so that its quota is spread evenly over it.

    A day's share may be used ahead, and what earlier days left over later; at least one post when there is
    any quota at all.
    """
    start = month_start(now)
    month = timedelta(days=calendar.monthrange(start.year, start.month)[1])
    share = min(1.0, (now - start + ONE_DAY) / month)
    return max(min(1, monthly_quota), int(monthly_quota * share))


def month_start(moment: datetime) -> datetime:
    """The midnight (UTC) at which the calendar month of `moment` began."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
