from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from peebot_dagster.alerts.conditions import Facts, JobEnd, Judgement, Spool, judge
from peebot_dagster.alerts.messages import News, message_of
from peebot_dagster.store import FeedState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def judged(state: str = "LIVE", since: datetime | None = NOW, **changes: Any) -> Judgement:
    feed = FeedState(state, "isslive", since, 1, NOW, 0, 1)  # type: ignore[arg-type]
    given = {"newest_visit_at": NOW - HOUR, "spools": (), "job_ends": (), **changes}
    return judge(Facts(feed, **given), NOW)


def keys(judgement: Judgement) -> list[str]:
    return [condition.key for condition in judgement.standing]


@pytest.mark.parametrize("state", ["LIVE", "LOS"])
def test_nothing_stands_while_the_station_is_heard_or_in_a_loss_of_signal(state: str) -> None:
    assert judged(state) == Judgement([], frozenset())


def test_a_feed_that_is_down_stands_since_then_and_is_told_after_ten_minutes() -> None:
    (down,) = judged("DOWN", NOW - MINUTE).standing
    assert (down.key, down.since, down.patience) == ("feed_down", NOW - MINUTE, 10 * MINUTE)


def test_a_day_without_a_visit_stands_and_so_does_a_store_that_never_saw_one() -> None:
    assert keys(judged(newest_visit_at=NOW - 24 * HOUR + MINUTE)) == []
    assert keys(judged(newest_visit_at=NOW - 24 * HOUR)) == ["no_visit"]
    (never,) = judged(newest_visit_at=None).standing
    assert (never.since, never.patience) == (None, 24 * HOUR)


def test_a_spool_that_is_not_empty_stands_and_one_that_cannot_be_asked_is_unknown() -> None:
    judgement = judged(spools=(Spool("a:1", 5), Spool("b:2", 0), Spool("c:3", None)))
    assert keys(judgement) == ["spool:a:1"]
    assert judgement.standing[0].patience == 5 * MINUTE
    assert judgement.unknown == {"spool:c:3"}


def test_a_failed_run_stands_for_its_job_until_one_succeeds_or_a_day_has_passed() -> None:
    ends = (
        JobEnd("posts", "1" * 32, failed=True, at=NOW - HOUR),
        JobEnd("hourly", "2" * 32, failed=False, at=NOW),
        JobEnd("__ASSET_JOB", "3" * 32, failed=True, at=NOW - 24 * HOUR),
    )
    judgement = judged(job_ends=ends)
    assert keys(judgement) == ["run_failed:posts"]
    assert "Run 11111111 failed at 2026-03-01 11:00 UTC" in judgement.standing[0].advice


def news(**changes: Any) -> News:
    told = {"title": "The feed is DOWN", "over_at": None, "told_before": False, **changes}
    return News(condition="feed_down", advice="Look.", ending="Heard.", began_at=NOW, **told)


def test_a_message_tells_begin_advice_and_end() -> None:
    begun, still, over = (
        message_of([each])
        for each in (news(), news(told_before=True), news(told_before=True, over_at=NOW + HOUR))
    )
    assert (begun.title, begun.good) == ("PeeBot: The feed is DOWN", False)
    assert "Since 2026-03-01 12:00 UTC. Look." in begun.body
    assert still.title == "PeeBot: Still: The feed is DOWN"
    assert (over.title, over.good) == ("PeeBot: Over: The feed is DOWN", True)
    assert "From 2026-03-01 12:00 UTC to 2026-03-01 13:00 UTC. Heard." in over.body


def test_all_that_there_is_to_tell_is_one_message_and_good_only_when_all_is_over() -> None:
    message = message_of([news(), news(title="Another", told_before=True, over_at=NOW)])
    assert (message.title, message.good) == ("PeeBot: 2 alerts", False)
    assert "The feed is DOWN" in message.body
    assert "Over: Another" in message.body
    with pytest.raises(ValueError, match="something to tell"):
        message_of([])
