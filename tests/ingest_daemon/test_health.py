"""When the daemon counts as ready, and why not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingest_daemon.health import DATABASE_AWAY_S, FRESH_S, STUCK_S, Beat, Health
from ingest_daemon.link import LinkState

LIVE, LOS, DOWN = LinkState.LIVE, LinkState.LOS, LinkState.DOWN


def asked(beat: Beat, monotonic_s: float = 1000.0) -> tuple[bool, dict[str, Any]]:
    health = Health(0.0)
    health.beat(beat)
    is_ready, line = health.answer(monotonic_s)
    assert "\n" not in line
    return is_ready, json.loads(line)


@pytest.mark.parametrize("state", [LIVE, LOS])
def test_live_or_los_with_fresh_data_is_ready(state: LinkState) -> None:
    is_ready, answer = asked(Beat(999.9, state, 1000.0 - FRESH_S + 1, None))
    assert is_ready
    assert (answer["ready"], answer["why"], answer["feed"]) == (True, None, state)


@pytest.mark.parametrize(
    ("beat", "why"),
    [
        (Beat(999.9, None, None, None), "starting"),
        (Beat(999.9, DOWN, 999.0, None), "DOWN: no connection"),
        (Beat(999.9, LOS, None, None), "no live update since the start"),
        (Beat(999.9, LOS, 1000.0 - FRESH_S - 1, None), "LOS: no live update for 901 s"),
        (Beat(1000.0 - STUCK_S - 1, LIVE, 999.0, None), "the main loop is stuck for 11 s"),
        (Beat(999.9, LIVE, 999.0, 1000.0 - DATABASE_AWAY_S - 1), "the database is away for 31 s"),
        (Beat(999.9, LIVE, 999.0, 999.0, spool_is_full=True), "the spool is full"),
    ],
)
def test_what_is_not_ready_says_why(beat: Beat, why: str) -> None:
    is_ready, answer = asked(beat)
    assert not is_ready
    assert answer["ready"] is False
    assert why in answer["why"]


def test_a_database_that_restarts_does_not_make_the_daemon_unready() -> None:
    assert asked(Beat(999.9, LIVE, 999.0, 990.0))[0]


def test_how_far_the_client_is_behind_is_said() -> None:
    assert asked(Beat(999.9, LIVE, 999.0, None, 4.26))[1]["behind_s"] == 4.3


def test_whether_the_spool_is_full_is_told_in_a_field_of_its_own() -> None:
    assert asked(Beat(999.9, LIVE, 999.0, None))[1]["spool_full"] is False
    assert asked(Beat(999.9, DOWN, 999.0, 999.0, spool_is_full=True))[1]["spool_full"] is True


def test_a_daemon_whose_main_loop_never_ran_is_not_ready() -> None:
    assert not Health(0.0).answer(STUCK_S + 1)[0]
