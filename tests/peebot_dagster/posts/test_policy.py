from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peebot_dagster.detectors.detector import EventState
from peebot_dagster.posts.policy import Candidate, PastPost, PolicyError, PostPolicy, Verdict, decide

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
POLICY = PostPolicy()


def _event(minutes_ago: float = 1, state: EventState = "closed", confidence: float = 0.95) -> Candidate:
    return Candidate(uuid.UUID(int=1), NOW - timedelta(minutes=minutes_ago), state, confidence)


def _post(event_minutes_ago: float, posted_minutes_ago: float) -> PastPost:
    return PastPost(
        NOW - timedelta(minutes=event_minutes_ago), NOW - timedelta(minutes=posted_minutes_ago), "a"
    )


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
    assert decide(event, NOW, [], POLICY) == verdict


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
    verdict = decide(_event(1), NOW, [_post(event_minutes_ago, posted_minutes_ago)], POLICY)
    assert verdict == Verdict(action, "cooldown" if action == "skip" else None)  # type: ignore[arg-type]


def test_any_of_the_recent_posts_may_cause_the_cooldown() -> None:
    assert decide(_event(1), NOW, [_post(90, 80), _post(5, 100)], POLICY).reason == "cooldown"


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
    verdict = decide(event, NOW, [_post(*post) for post in posts], POLICY)
    assert (verdict.reason is not None) == (verdict.action == "skip")
    if verdict.action == "publish":
        assert state != "retracted"
        assert minutes_ago <= 15.001
        assert confidence >= 0.8
        assert all(abs(minutes_ago - post[0]) > 29.999 and post[1] > 29.999 for post in posts)


def test_settings_come_from_the_environment_and_the_rest_keeps_its_default() -> None:
    policy = PostPolicy.from_environment(
        {"PEEBOT_POST_COOLDOWN_MINUTES": "45", "PEEBOT_POST_MIN_CONFIDENCE": " 0.9 ", "PATH": "/bin"}
    )
    assert policy == PostPolicy(cooldown=timedelta(minutes=45), min_confidence=0.9)
    assert PostPolicy.from_environment({"PEEBOT_POST_COOLDOWN_MINUTES": ""}) == POLICY
    assert policy.freshness == timedelta(minutes=15)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PEEBOT_POST_COOLDOWN_MINUTES", "soon"),
        ("PEEBOT_POST_COOLDOWN_MINUTES", "-1"),
        ("PEEBOT_POST_COOLDOWN_MINUTES", "nan"),
        ("PEEBOT_POST_FRESHNESS_MINUTES", "inf"),
        ("PEEBOT_POST_MIN_CONFIDENCE", "80"),
        ("PEEBOT_POST_MIN_CONFIDENCE", "nan"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(PolicyError, match=name):
        PostPolicy.from_environment({name: value})
