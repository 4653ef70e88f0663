from __future__ import annotations

from pathlib import Path

import pytest

from peebot_local.errors import MendableError
from peebot_local.runner import given_environment


def test_dagsters_processes_are_told_a_candidates_file_from_the_root() -> None:
    given = given_environment({"PEEBOT_CANDIDATES": "mine.py:Mine a.module:Other"}, Path("/some/where"))
    assert given == {"PEEBOT_CANDIDATES": "/some/where/mine.py:Mine a.module:Other"}


def test_candidates_that_cannot_be_read_are_refused_before_anything_runs() -> None:
    with pytest.raises(MendableError, match=r"PEEBOT_CANDIDATES is not readable.*correct or unset it"):
        given_environment({"PEEBOT_CANDIDATES": "'mine.py:Mine"}, Path("/"))


def test_what_is_not_set_is_not_given() -> None:
    assert given_environment({"PEEBOT_CANDIDATES": "", "HOME": "/root"}, Path("/")) == {}
