from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from peebot_dagster.alerts.conditions import Facts, FailedRun, Judgement, Spool, judge
from peebot_dagster.alerts.messages import News, message_of
from peebot_dagster.store import FeedState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def judged(state: str = "LIVE", since: datetime | None = NOW, **changes: Any) -> Judgement:
    feed = FeedState(state, "isslive", since, 1, NOW, 0, 1)  # type: ignore[arg-type]
    given = {"newest_visit_at": NOW - HOUR, "spools": (), "failed_runs": (), **changes}
    return judge(Facts(feed, **given), NOW)


def keys(judgement: Judgement) -> list[str]:
    return [condition.key for condition in judgement.standing]


@pytest.mark.parametrize("state", ["LIVE", "LOS"])
def test_nothing_stands_while_the_station_is_heard_or_in_a_loss_of_signal(state: str) -> None:
    assert judged(state) == Judgement([], frozenset({"feed_down", "no_visit"}), frozenset(), [])


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


def test_what_is_known_not_to_be_there_is_absent_and_what_nobody_asks_for_is_neither() -> None:
    judgement = judged("DOWN", spools=(Spool("a:1", 5), Spool("b:2", 0), Spool("c:3", None)))
    assert judgement.absent == {"no_visit", "spool:b:2"}


def told_of(*runs: FailedRun) -> list[tuple[str, str]]:
    return [(each.key, each.title) for each in judged(failed_runs=runs).occurred]


def test_each_run_by_hand_that_failed_is_told() -> None:
    by_hand = [FailedRun(run_id * 8, "__ASSET_JOB", NOW) for run_id in "12"]
    assert told_of(*by_hand) == [
        (f"run_failed:{run_id * 8}", "A run of assets outside of a job failed") for run_id in "12"
    ]


def test_the_runs_of_a_job_that_fail_in_an_hour_are_told_once_and_those_of_the_next_again() -> None:
    runs = [FailedRun(str(n) * 8, "hourly", NOW + n * 25 * MINUTE, partition="P") for n in range(4)]
    assert [key for key, _ in told_of(*reversed(runs))] == [
        "run_failed:hourly:2026-03-01T12",
        "run_failed:hourly:2026-03-01T13",
    ]
    first, _ = judged(failed_runs=runs).occurred
    assert (first.at, first.title) == (NOW, "A run of hourly failed")
    assert first.advice.startswith("Run 00000000 of P failed, and Dagster does not retry it.")


def test_the_runs_of_a_backfill_that_fail_are_told_once() -> None:
    runs = [FailedRun(str(n) * 8, "__ASSET_JOB", NOW + n * HOUR, backfill="abcd") for n in range(3)]
    assert told_of(*runs) == [("run_failed:backfill:abcd", "A run of backfill abcd failed")]


def news(**changes: Any) -> News:
    told = {
        "title": "The feed is DOWN",
        "ending": "Heard.",
        "over_at": None,
        "told_before": False,
        **changes,
    }
    return News(condition="feed_down", advice="Look.", began_at=NOW, **told)


def test_a_message_tells_begin_advice_and_end() -> None:
    begun, still, over = (
        message_of([each])
        for each in (news(), news(told_before=True), news(told_before=True, over_at=NOW + HOUR))
    )
    assert (begun.title, begun.good) == ("PeeBot: The feed is DOWN", False)
    assert "Since 2026-03-01 12:00 UTC. Look." in begun.body
    assert "At 2026-03-01 12:00 UTC. Look." in message_of([news(ending="")]).body
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
