from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from peebot_local.restart import LONGEST_DELAY_S, RestartPolicy


def test_the_pause_doubles_and_the_fifth_death_within_a_minute_is_the_last() -> None:
    policy = RestartPolicy()
    assert [policy.died(t) for t in (0.0, 1.0, 2.0, 3.0, 4.0)] == [0.25, 0.5, 1.0, 2.0, None]


def test_deaths_that_are_a_minute_old_are_forgiven() -> None:
    policy = RestartPolicy()
    assert [policy.died(t) for t in (0.0, 60.0, 120.0, 180.0, 240.0, 300.0)] == [0.25] * 6


@given(st.lists(st.floats(0.0, 1e4), min_size=1, max_size=60))
def test_it_gives_up_exactly_when_five_deaths_lie_within_one_window(pauses: list[float]) -> None:
    policy = RestartPolicy()
    now, deaths = 0.0, []
    for pause in pauses:
        now += pause
        deaths.append(now)
        delay = policy.died(now)
        recent = [death for death in deaths if death > now - policy.window_s]
        assert (delay is None) == (len(recent) >= policy.most_deaths)
        assert delay is None or 0.0 < delay <= LONGEST_DELAY_S
