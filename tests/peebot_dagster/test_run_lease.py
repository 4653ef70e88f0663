from __future__ import annotations

import threading
from typing import Any

import psycopg

from peebot_dagster.run_lease import _watch, is_held, lease
from peebot_dagster.store import connect

RUN, OTHER = "0fb4e9a5-5c3c-4f0e-9d8e-1d3f7a1c2b3d", "1fb4e9a5-5c3c-4f0e-9d8e-1d3f7a1c2b3d"


def held(database_url: str, run_id: str) -> bool:
    with connect(database_url) as connection:
        return is_held(connection, run_id)


def test_a_run_is_held_by_one_at_a_time_and_by_nobody_afterwards(database_url: str) -> None:
    with lease(database_url, RUN) as is_mine:
        assert is_mine
        assert held(database_url, RUN)
        assert not held(database_url, OTHER)
        with lease(database_url, RUN) as is_mine_too, lease(database_url, OTHER) as is_mine_as_well:
            assert (is_mine_too, is_mine_as_well) == (False, True)
        assert held(database_url, RUN)
    assert not held(database_url, RUN)


def test_who_loses_the_lease_is_told(database_url: str) -> None:
    lost = threading.Event()
    with lease(database_url, RUN, lost.set, heartbeat_s=0.01), psycopg.connect(database_url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'peebot_run_lease' AND datname = current_database()"
        )
        assert lost.wait(30)
        assert not is_held(connection, RUN)


class Broken:
    def execute(self, query: str) -> None:
        raise psycopg.InternalError("invalid cache id")


def test_whatever_error_the_question_ends_in_the_lease_counts_as_lost() -> None:
    lost = threading.Event()
    connection: Any = Broken()
    _watch(connection, threading.Event(), lost.set, heartbeat_s=0.001)
    assert lost.is_set()


def test_nothing_is_lost_when_the_run_ends(database_url: str) -> None:
    lost = threading.Event()
    with lease(database_url, RUN, lost.set, heartbeat_s=0.001):
        pass
    assert not lost.is_set()
