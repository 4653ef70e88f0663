from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from ingest_daemon.bounded_queue import BoundedQueue


def test_a_full_queue_drops_its_oldest_and_counts_them_once() -> None:
    queue: BoundedQueue[int] = BoundedQueue(3)
    queue.extend(range(5))
    assert queue.take(10) == [2, 3, 4]
    assert (queue.take_dropped(), queue.take_dropped()) == (2, 0)


def test_an_offer_takes_what_fits_and_drops_nothing() -> None:
    queue: BoundedQueue[int] = BoundedQueue(3)
    assert queue.offer([0, 1]) == 2
    assert queue.offer([2, 3]) == 1
    assert queue.offer([3]) == 0
    assert (queue.take(9), queue.take_dropped()) == ([0, 1, 2], 0)


def test_whoever_waits_for_room_goes_on_as_soon_as_something_is_taken() -> None:
    queue: BoundedQueue[int] = BoundedQueue(1)
    queue.offer([0])
    assert not queue.wait_for_room(0.01)
    waiter = threading.Thread(target=lambda: queue.wait_for_room(60) and queue.offer([1]))
    waiter.start()
    assert queue.take(1) == [0]
    waiter.join(timeout=60)
    assert queue.take(1) == [1]


@given(st.integers(1, 5), st.lists(st.one_of(st.integers(1, 9), st.just("take"), st.just("offer"))))
def test_every_item_is_taken_in_order_or_counted_as_dropped(capacity: int, steps: list[int | str]) -> None:
    queue: BoundedQueue[int] = BoundedQueue(capacity)
    put, dropped = 0, 0
    taken: list[int] = []
    for step in steps:
        if isinstance(step, int):
            queue.extend(range(put, put + step))
            put += step
        elif step == "take":
            taken += queue.take(2)
        else:
            put += queue.offer(range(put, put + 3))
        assert len(queue) <= capacity
        dropped += queue.take_dropped()
    taken += queue.take(capacity)
    assert taken == sorted(set(taken))
    assert len(taken) + dropped == put
