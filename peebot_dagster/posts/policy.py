"""Whether an event is posted: pure decisions from the event, the clock and what was posted before."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from peebot_dagster.detectors.detector import EventState


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


class PostPolicy(BaseModel):
    """When events are posted.

    `cooldown` must lie between two posts, `freshness` is the greatest age of an event, `min_confidence` (0 to
    1) its least confidence, and a claim that is older than `abandoned_after` belongs to a run that has died.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cooldown: Minutes = timedelta(minutes=30)
    freshness: Minutes = timedelta(minutes=15)
    min_confidence: float = Field(default=0.8, ge=0, le=1)
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
            problems = [f"{SETTINGS[str(problem['loc'][0])]}: {problem['msg']}" for problem in error.errors()]
            raise PolicyError("; ".join(problems)) from error


SETTINGS = {
    "cooldown": "PEEBOT_POST_COOLDOWN_MINUTES",
    "freshness": "PEEBOT_POST_FRESHNESS_MINUTES",
    "min_confidence": "PEEBOT_POST_MIN_CONFIDENCE",
}
"""Which environment variable sets which field of PostPolicy."""


@dataclass(frozen=True)
class Candidate:
    """What the decision needs to know about an event."""

    event_id: uuid.UUID
    started_at: datetime
    state: EventState
    confidence: float


@dataclass(frozen=True)
class PastPost:
    """A post that is, or may be, public: when its event began, when it was decided, which joke it told."""

    event_started_at: datetime
    posted_at: datetime
    template: str


@dataclass(frozen=True)
class Verdict:
    """publish; skip for ever, with a reason; or wait, as the event may still grow."""

    action: Literal["publish", "skip", "wait"]
    reason: str | None = None


def decide(event: Candidate, now: datetime, recent: Sequence[PastPost], policy: PostPolicy) -> Verdict:
    """What becomes of an event that has no row in the ledger yet."""
    if event.state == "retracted":
        return Verdict("skip", "retracted")
    if event.started_at < now - policy.freshness:
        return Verdict("skip", "stale")
    if event.confidence < policy.min_confidence:
        return Verdict("wait") if event.state == "open" else Verdict("skip", "low_confidence")
    if any(
        # Event time can be late and wall time can lag behind: two posts must be apart by both.
        abs(event.started_at - post.event_started_at) < policy.cooldown
        or now - post.posted_at < policy.cooldown
        for post in recent
    ):
        return Verdict("skip", "cooldown")
    return Verdict("publish")
