from __future__ import annotations

import asyncio

import pytest

from peebot_live.broadcast import BEHIND, VIEWERS, Broadcast, TooManyViewersError


def taken(queue: asyncio.Queue[object]) -> list[object]:
    return [queue.get_nowait() for _ in range(queue.qsize())]


def test_a_viewer_gets_all_parts_and_then_what_changes() -> None:
    broadcast = Broadcast({"a": "1", "b": "1"})
    with broadcast.viewer() as viewer:
        broadcast.tell({"a": "1", "b": "2"})
        broadcast.tell({"a": "1", "b": "2"})
        assert taken(viewer) == [{"a": "1", "b": "1"}, {"b": "2"}]


def test_who_is_far_behind_is_let_go_and_the_others_are_not() -> None:
    broadcast = Broadcast({"a": "0"})
    with broadcast.viewer() as slow, broadcast.viewer() as quick:
        for number in range(1, BEHIND + 2):
            broadcast.tell({"a": str(number)})
            assert taken(quick)[-1] == {"a": str(number)}
        assert slow.qsize() == BEHIND + 1
        assert taken(slow)[-1] is None
        broadcast.tell({"a": "end"})
        assert (slow.qsize(), taken(quick)) == (0, [{"a": "end"}])


def test_there_is_a_limit_to_how_many_look_at_once() -> None:
    broadcast = Broadcast({})
    entered = [broadcast.viewer() for _ in range(VIEWERS)]
    for viewer in entered:
        viewer.__enter__()
    with pytest.raises(TooManyViewersError), broadcast.viewer():
        pass
    entered[0].__exit__(None, None, None)
    with broadcast.viewer():
        pass


def test_at_the_end_all_are_let_go() -> None:
    broadcast = Broadcast({})
    with broadcast.viewer() as viewer:
        broadcast.end()
        assert taken(viewer) == [{}, None]
