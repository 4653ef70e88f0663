from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

import pytest

from peebot_local.errors import MendableError
from peebot_local.ports import PortClaims
from peebot_local.runner import choose_ports, given_environment
from peebot_local.settings import Settings


def test_dagsters_processes_are_told_a_candidates_file_from_the_root() -> None:
    given = given_environment({"PEEBOT_CANDIDATES": "mine.py:Mine a.module:Other"}, Path("/some/where"))
    assert given == {"PEEBOT_CANDIDATES": "/some/where/mine.py:Mine a.module:Other"}


def test_candidates_that_cannot_be_read_are_refused_before_anything_runs() -> None:
    with pytest.raises(MendableError, match=r"PEEBOT_CANDIDATES is not readable.*correct or unset it"):
        given_environment({"PEEBOT_CANDIDATES": "'mine.py:Mine"}, Path("/"))


def test_what_is_not_set_is_not_given() -> None:
    assert given_environment({"PEEBOT_CANDIDATES": "", "HOME": "/root"}, Path("/")) == {}


def test_two_that_start_at_the_same_moment_choose_different_ports() -> None:
    settings = Settings(home=Path("/nowhere"))
    with closing(PortClaims()) as one, closing(PortClaims()) as other:
        chosen = [choose_ports(settings, claims) for claims in (one, other)]
        assert len({port for ports in chosen for port in (ports.live, ports.ui)}) == 4


def test_the_usual_port_is_chosen_again_once_who_had_claimed_it_is_gone() -> None:
    with closing(PortClaims()) as one:
        first = one.next_free(3001)
    with closing(PortClaims()) as other:
        assert other.next_free(first) == first


def test_a_port_on_which_somebody_listens_is_passed_over_but_refused_where_it_is_given() -> None:
    with closing(PortClaims()) as claims, socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert claims.next_free(taken) > taken
        with pytest.raises(MendableError, match=f"port {taken} of .* set PEEBOT_UI_PORT to another"):
            choose_ports(Settings(home=Path("/nowhere"), ui_port=taken), claims)


def test_a_port_that_is_given_is_kept_and_chosen_for_nothing_else() -> None:
    with closing(PortClaims()) as claims:
        usual = choose_ports(Settings(home=Path("/nowhere")), claims).live
    with closing(PortClaims()) as claims:
        ports = choose_ports(Settings(home=Path("/nowhere"), metrics_port=usual), claims)
        assert ports.metrics == usual
        assert usual not in (ports.live, ports.ui)
