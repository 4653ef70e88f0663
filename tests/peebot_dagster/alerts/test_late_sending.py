"""A sending that takes longer than anybody waits for; only what sends is made up."""

from __future__ import annotations

from dataclasses import replace
from threading import Event

import pytest

from peebot_dagster.alerts import destinations
from peebot_dagster.alerts.destinations import Destination, deliver_all
from peebot_dagster.alerts.messages import TEST_MESSAGE, Message

OTHER = replace(TEST_MESSAGE, body="something else")


class Slow:
    """Sends nothing before it `may`; `outcome` is what comes of it."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.may, self.outcome = Event(), None

    def __call__(self, _: Destination, message: Message) -> str | None:
        self.sent.append(message)
        assert self.may.wait(30)
        return self.outcome


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    slow = Slow()
    monkeypatch.setattr(destinations, "deliver", slow)
    monkeypatch.setattr(destinations, "_late", {})
    return slow


TO = Destination("1 json", "json://h")


def end_of_late() -> None:
    destinations._late[TO].thread.join(30)


def test_while_a_late_sending_may_still_deliver_nothing_is_sent_there(slow: Slow) -> None:
    assert deliver_all({TO: TEST_MESSAGE}, 0.0) == {TO: "did not answer in 0 s"}
    for message in (TEST_MESSAGE, OTHER):
        assert deliver_all({TO: message}, 0.0) == {TO: "is still busy with an earlier message"}
    assert slow.sent == [TEST_MESSAGE]
    slow.may.set()
    end_of_late()


def test_what_was_taken_late_is_not_sent_again(slow: Slow) -> None:
    deliver_all({TO: TEST_MESSAGE}, 0.0)
    slow.may.set()
    end_of_late()
    assert deliver_all({TO: TEST_MESSAGE}, 30.0) == {TO: None}
    assert slow.sent == [TEST_MESSAGE]


def test_other_news_than_what_was_taken_late_is_sent(slow: Slow) -> None:
    deliver_all({TO: TEST_MESSAGE}, 0.0)
    slow.may.set()
    end_of_late()
    assert deliver_all({TO: OTHER}, 30.0) == {TO: None}
    assert slow.sent == [TEST_MESSAGE, OTHER]


def test_what_failed_late_is_sent_again(slow: Slow) -> None:
    slow.outcome = "answered 500"
    deliver_all({TO: TEST_MESSAGE}, 0.0)
    slow.may.set()
    end_of_late()
    slow.outcome = None
    assert deliver_all({TO: TEST_MESSAGE}, 30.0) == {TO: None}
    assert slow.sent == [TEST_MESSAGE, TEST_MESSAGE]
