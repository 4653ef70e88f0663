"""How far a client is behind, and when it is too far, by a clock that is passed in."""

from __future__ import annotations

from ingest_daemon.passage import LIMIT_S, PATIENCE_S, Overload, Passage


def test_what_came_before_a_mark_that_has_passed_has_come_out_and_no_more_is_claimed() -> None:
    passage = Passage()
    first, second = passage.send(10.0), passage.send(11.0)
    passage.passed(first)
    assert passage.behind_s(14.0) == 4.0
    assert passage.waited_s(14.0) == 3.0
    passage.passed(second)
    assert passage.behind_s(14.0) == 3.0
    assert passage.waited_s(14.0) == 0.0


def test_a_client_that_has_said_nothing_yet_is_not_behind() -> None:
    assert Passage().behind_s(1000.0) == Passage().waited_s(1000.0) == 0.0


def test_the_first_mark_may_be_late() -> None:
    passage = Passage()
    passage.entered = 500
    passage.send(10.0)
    passage.left = 20
    position = passage.position()
    assert passage.behind_s(13.0) == 3.0
    assert position is not None
    assert passage.missing_since(position) == 480


def test_what_is_forgotten_when_the_client_is_closed_is_known_by_number() -> None:
    passage = Passage()
    passage.entered = passage.left = 1000
    passage.passed(passage.send(1.0))
    passage.entered = 6000
    late = passage.send(2.0)
    passage.left = 3000
    position = passage.position()
    assert position is not None
    # The client forgets the rest, and the mark comes out at once.
    passage.left, passage.entered = 3010, 6100
    passage.passed(late)
    assert passage.missing_since(position) == 3090


def test_a_main_loop_that_stood_still_takes_no_client_for_late() -> None:
    passage = Passage()
    passage.passed(passage.send(0.0))
    assert passage.behind_s(60.0) == 60.0
    assert passage.waited_s(60.0) == 0.0


def seconds_until_over(waited_s: list[float]) -> int | None:
    overload = Overload()
    for second, waited in enumerate(waited_s):
        if overload.is_over(waited, float(second)):
            return second
    return None


def test_a_client_that_stays_too_far_behind_is_given_up() -> None:
    growing = [second * 0.7 for second in range(20)]
    assert seconds_until_over(growing) == int(LIMIT_S / 0.7) + 1 + PATIENCE_S


def test_a_client_at_the_limit_is_kept() -> None:
    assert seconds_until_over([LIMIT_S] * 100) is None


def test_a_process_that_was_stopped_for_a_minute_has_caught_up_before_anybody_gives_up() -> None:
    assert seconds_until_over([0.1, 60.0, 0.1, 60.0, 0.1, 0.1]) is None
