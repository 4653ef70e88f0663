from __future__ import annotations

import calendar
import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peebot_dagster.detectors.detector import EventState
from peebot_dagster.posts.policy import (
    Candidate,
    PastPost,
    PolicyError,
    PostPolicy,
    Situation,
    Verdict,
    decide,
    quota_until,
)

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
POLICY = PostPolicy()


def _event(minutes_ago: float = 1, state: EventState = "closed", confidence: float = 0.95) -> Candidate:
    started_at = NOW - timedelta(minutes=minutes_ago)
    return Candidate(uuid.UUID(int=1), started_at, state, confidence, started_at + timedelta(seconds=30))


def _post(event_minutes_ago: float, posted_minutes_ago: float) -> PastPost:
    return PastPost(NOW - timedelta(minutes=event_minutes_ago), NOW - timedelta(minutes=posted_minutes_ago))


@pytest.mark.parametrize(
    ("event", "verdict"),
    [
        (_event(), Verdict("publish")),
        (_event(state="open", confidence=0.85), Verdict("publish")),
        (_event(confidence=0.8), Verdict("publish")),
        (_event(minutes_ago=15), Verdict("publish")),
        (_event(minutes_ago=15.01), Verdict("skip", "stale")),
        (_event(state="open", confidence=0.6), Verdict("wait")),
        (_event(minutes_ago=16, state="open", confidence=0.6), Verdict("skip", "stale")),
        (_event(confidence=0.79), Verdict("skip", "low_confidence")),
        (_event(state="retracted"), Verdict("skip", "retracted")),
        (_event(minutes_ago=16, state="retracted"), Verdict("skip", "retracted")),
    ],
)
def test_an_event_is_published_when_it_is_fresh_and_sure(event: Candidate, verdict: Verdict) -> None:
    assert decide(event, NOW, Situation("x"), POLICY) == verdict


@pytest.mark.parametrize(
    ("event_minutes_ago", "posted_minutes_ago", "action"),
    [
        (31, 30, "publish"),
        (31, 29.9, "skip"),
        (30.9, 40, "skip"),
        (500, 10, "skip"),
        (-10, 500, "skip"),
        (500, 500, "publish"),
    ],
)
def test_two_posts_are_half_an_hour_apart_by_event_time_and_by_wall_time(
    event_minutes_ago: float, posted_minutes_ago: float, action: str
) -> None:
    verdict = decide(_event(1), NOW, Situation("x", [_post(event_minutes_ago, posted_minutes_ago)]), POLICY)
    assert verdict == Verdict(action, "cooldown" if action == "skip" else None)  # type: ignore[arg-type]


def test_any_of_the_recent_posts_may_cause_the_cooldown() -> None:
    assert decide(_event(1), NOW, Situation("x", [_post(90, 80), _post(5, 100)]), POLICY).reason == "cooldown"


@given(
    st.floats(0, 60),
    st.sampled_from(["open", "closed", "retracted"]),
    st.floats(0, 1),
    st.lists(st.tuples(st.floats(0, 90), st.floats(0, 90)), max_size=5),
)
def test_what_is_published_satisfies_each_rule_and_what_is_skipped_has_a_reason(
    minutes_ago: float, state: EventState, confidence: float, posts: list[tuple[float, float]]
) -> None:
    event = _event(minutes_ago, state, confidence)
    verdict = decide(event, NOW, Situation("x", [_post(*post) for post in posts]), POLICY)
    assert (verdict.reason is not None) == (verdict.action == "skip")
    if verdict.action == "publish":
        assert state != "retracted"
        assert minutes_ago <= 15.001
        assert confidence >= 0.8
        assert all(abs(minutes_ago - post[0]) > 29.999 and post[1] > 29.999 for post in posts)


@pytest.mark.parametrize(
    ("played", "detected_after_minutes", "platform", "reason"),
    [
        (None, 1, "x", None),
        (None, 16, "x", "backfill"),
        (None, 16, "dry_run", "backfill"),
        ("replay", 1, "x", "replay"),
        ("replay", 1, "dry_run", "replay"),
        ("demo", 1, "x", "demo"),
        ("demo", 1, "dry_run", None),
        ("demo", 16, "dry_run", "backfill"),
    ],
)
def test_what_did_not_just_happen_on_the_station_is_not_posted_unless_asked_for_by_name(
    played: Any, detected_after_minutes: float, platform: str, reason: str | None
) -> None:
    detected_at = NOW - timedelta(minutes=1)
    started_at = detected_at - timedelta(minutes=detected_after_minutes)
    event = Candidate(uuid.UUID(int=1), started_at, "closed", 0.95, detected_at, played)
    situation = Situation(platform)
    assert decide(event, NOW, situation, POLICY).reason == reason
    asked = PostPolicy.model_validate({"origins": [reason or "replay"]})
    assert decide(event, NOW, situation, asked) == Verdict("publish")


def test_what_was_asked_for_by_name_is_news_only_when_it_has_just_been_found() -> None:
    asked = PostPolicy.model_validate({"origins": ["replay"]})
    for minutes_ago, verdict in ((15, Verdict("publish")), (15.01, Verdict("skip", "stale"))):
        detected_at = NOW - timedelta(minutes=minutes_ago)
        event = Candidate(
            uuid.UUID(int=1), NOW - timedelta(days=400), "closed", 0.95, detected_at, played="replay"
        )
        assert decide(event, NOW, Situation("x"), asked) == verdict


@pytest.mark.parametrize(
    ("situation", "reason"),
    [
        (Situation("x", muted=True), "muted"),
        (Situation("x", resume_at=NOW + timedelta(seconds=1)), "rate_limited"),
        (Situation("x", resume_at=NOW), None),
        (Situation("x", posts_this_month=499), "quota"),
        (Situation("bluesky", posts_this_month=10_000), None),
        (Situation("dry_run", posts_this_month=10_000), None),
    ],
)
def test_nothing_is_posted_while_the_switch_the_platform_or_the_quota_is_against_it(
    situation: Situation, reason: str | None
) -> None:
    assert decide(_event(), NOW, situation, POLICY).reason == reason


@pytest.mark.parametrize(
    ("hours", "quiet", "loud"),
    [
        ("22:00-06:00", ["22:00", "23:59", "00:00", "05:59"], ["06:00", "21:59"]),
        ("12:30 - 13:30", ["12:30", "13:29"], ["12:29", "13:30", "00:00"]),
    ],
)
def test_quiet_hours_are_those_of_the_crews_day_and_end_before_their_last_minute(
    hours: str, quiet: list[str], loud: list[str]
) -> None:
    policy = PostPolicy.from_environment({"PEEBOT_POST_QUIET_HOURS": hours})
    tokyo = timezone(timedelta(hours=9))
    for at in [*quiet, *loud]:
        now = datetime.fromisoformat(f"2026-11-24T{at}+00:00").astimezone(tokyo)
        event = Candidate(uuid.UUID(int=1), now - timedelta(minutes=1), "closed", 0.9, now)
        expected = Verdict("skip", "quiet_hours") if at in quiet else Verdict("publish")
        assert decide(event, now, Situation("x"), policy) == expected


@given(
    st.integers(0, 2_000),
    st.datetimes(timezones=st.just(UTC), min_value=datetime(2024, 1, 1), max_value=datetime(2028, 1, 1)),  # noqa: DTZ001
)
def test_a_monthly_quota_is_spread_evenly_over_the_month(quota: int, now: datetime) -> None:
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    days = calendar.monthrange(now.year, now.month)[1]
    share = (now - start) / timedelta(days=days)
    allowed = quota_until(now, quota)
    assert allowed <= quota
    assert (allowed > 0) == (quota > 0)
    assert allowed >= int(quota * share)
    assert allowed <= max(1, quota * (share + 1 / days))
    assert quota_until(now.replace(day=days), quota) == quota


def test_settings_come_from_the_environment_and_the_rest_keeps_its_default() -> None:
    policy = PostPolicy.from_environment(
        {"PEEBOT_POST_COOLDOWN_MINUTES": "45", "PEEBOT_POST_MIN_CONFIDENCE": " 0.9 ", "PATH": "/bin"}
    )
    assert policy == PostPolicy(cooldown=timedelta(minutes=45), min_confidence=0.9)
    assert PostPolicy.from_environment({"PEEBOT_POST_COOLDOWN_MINUTES": ""}) == POLICY
    assert policy.freshness == timedelta(minutes=15)


def test_settings_that_are_lists_and_numbers_are_read_as_people_write_them() -> None:
    policy = PostPolicy.from_environment(
        {
            "PEEBOT_POST_ORIGINS": "demo, replay",
            "PEEBOT_POST_EVENTS": "toilet_visit,spacewalk",
            "PEEBOT_X_MONTHLY_QUOTA": "none",
            "PEEBOT_MASTODON_MONTHLY_QUOTA": "100",
        }
    )
    assert policy.origins == {"demo", "replay"}
    assert policy.event_types == {"toilet_visit", "spacewalk"}
    quotas = [policy.monthly_quota(platform) for platform in ("x", "bluesky", "mastodon", "dry_run")]
    assert quotas == [None, None, 100, None]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PEEBOT_POST_COOLDOWN_MINUTES", "soon"),
        ("PEEBOT_POST_COOLDOWN_MINUTES", "-1"),
        ("PEEBOT_POST_COOLDOWN_MINUTES", "nan"),
        ("PEEBOT_POST_FRESHNESS_MINUTES", "inf"),
        ("PEEBOT_POST_MIN_CONFIDENCE", "80"),
        ("PEEBOT_POST_MIN_CONFIDENCE", "nan"),
        ("PEEBOT_POST_QUIET_HOURS", "22"),
        ("PEEBOT_POST_QUIET_HOURS", "22:00-25:00"),
        ("PEEBOT_POST_QUIET_HOURS", "06:00-06:00"),
        ("PEEBOT_POST_ORIGINS", "backfil"),
        ("PEEBOT_POST_EVENTS", ","),
        ("PEEBOT_POST_PICTURE", "sometimes"),
        ("PEEBOT_X_MONTHLY_QUOTA", "-1"),
        ("PEEBOT_X_MONTHLY_QUOTA", "many"),
        ("PEEBOT_BLUESKY_MONTHLY_QUOTA", "1.5"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(PolicyError, match=name):
        PostPolicy.from_environment({name: value})
