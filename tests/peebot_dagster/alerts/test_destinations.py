"""Apprise as it is, against a webhook and a mail server on loopback."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from functools import partial

import pytest

from peebot_dagster.alerts.destinations import Destination, deliver, deliver_all, destinations
from peebot_dagster.alerts.messages import TEST_MESSAGE
from tests.peebot_dagster.alerts.servers import PASSWORD, Mailbox, Webhook

pytestmark = pytest.mark.slow  # to load Apprise takes seconds


def of(*urls: str) -> list[Destination]:
    return destinations({"PEEBOT_ALERT_URLS": "\n ".join(urls)})


@pytest.fixture
def silent_url() -> Iterator[str]:
    """Of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"json://crew:{PASSWORD}@127.0.0.1:{silent.getsockname()[1]}"


def test_a_message_reaches_webhook_and_mailbox_with_title_and_text(
    webhook: Webhook, mailbox: Mailbox
) -> None:
    outcomes = deliver_all(dict.fromkeys(of(webhook.url, mailbox.url), TEST_MESSAGE), 30.0)
    assert {to.name: why for to, why in outcomes.items()} == {"1 json": None, "2 mailto": None}
    (hooked,), (mail,) = webhook.received, mailbox.received
    assert (hooked["title"], hooked["message"]) == (TEST_MESSAGE.title, TEST_MESSAGE.body)
    assert mail["Subject"] == TEST_MESSAGE.title
    assert mail["To"] == "crew@example.org"
    text = mail.get_body(("plain", "html"))
    assert text is not None
    assert TEST_MESSAGE.body.partition(":")[0] in text.get_content()


def test_who_refuses_is_told_with_its_status_and_the_others_get_theirs(
    webhook: Webhook, mailbox: Mailbox
) -> None:
    webhook.status = 503
    outcomes = deliver_all(dict.fromkeys(of(webhook.url, mailbox.url), TEST_MESSAGE), 30.0)
    assert list(outcomes.values()) == ["answered 503", None]
    webhook.status, mailbox.answer = 200, "451 later"
    outcomes = deliver_all(dict.fromkeys(of(webhook.url, mailbox.url), TEST_MESSAGE), 30.0)
    assert list(outcomes.values()) == [None, "did not answer, or did not take it"]


def test_who_never_answers_is_not_waited_for(silent_url: str, webhook: Webhook) -> None:
    # Apprise's first look at its plugins takes seconds.
    assert deliver(of(webhook.url)[0], TEST_MESSAGE) is None
    outcomes = deliver_all(dict.fromkeys(of(silent_url, webhook.url), TEST_MESSAGE), 2.0)
    assert list(outcomes.values()) == ["did not answer in 2 s", None]


@pytest.mark.parametrize("url", ["nonsense", "nosuch://x", "mailto://", f"://{PASSWORD}"])
def test_what_is_no_url_is_told_by_its_place_and_not_by_its_text(url: str) -> None:
    (destination,) = of(url)
    why = deliver(destination, TEST_MESSAGE)
    assert why is not None
    assert "PEEBOT_ALERT_URLS" in why
    assert PASSWORD not in destination.name + why


def test_without_the_variable_there_is_nobody_to_tell() -> None:
    assert destinations({}) == destinations({"PEEBOT_ALERT_URLS": " \n "}) == []


def test_no_part_of_a_url_is_in_a_name_a_repr_an_outcome_or_a_log_line_of_any_level(
    webhook: Webhook,
    mailbox: Mailbox,
    request: pytest.FixtureRequest,
    capfd: pytest.CaptureFixture[str],
) -> None:
    to = of(webhook.url, mailbox.url, f"nosuch://{PASSWORD}", f"slack://{PASSWORD}")
    webhook.status, mailbox.answer = 500, "451 later"
    # Where a process of PeeBot logs to; caplog would hang itself onto the very logger that is silenced.
    root, lines = logging.getLogger(), []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            # urllib3's own lines at DEBUG name paths; PeeBot logs nothing below INFO.
            if not (record.levelno == logging.DEBUG and record.name.startswith("urllib3")):
                lines.append((record.name, record.getMessage()))

    for undo in (partial(root.setLevel, root.level), partial(root.removeHandler, keep := Keep())):
        request.addfinalizer(undo)
    root.addHandler(keep)
    root.setLevel(logging.DEBUG)
    outcomes = deliver_all(dict.fromkeys(to, TEST_MESSAGE), 30.0)
    assert all(outcomes.values())
    assert PASSWORD not in repr((to, outcomes, lines, capfd.readouterr()))
