"""The installed tweepy, over real HTTP, against a server on loopback that answers like X."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from peebot_dagster.posts.outcomes import Image, Message, PublishRefused, PublishUncertain
from peebot_dagster.posts.x_publisher import TimeoutAdapter, XCredentials, XPublisher

MakePublisher = Callable[..., XPublisher]

NOMINAL = Message("Nominal.", "event-1", datetime(2026, 11, 24, 9, 0, tzinfo=UTC))
PICTURE = Image(b"\x89PNG picture", "The level rises from 40 to 43 percent.")


@pytest.mark.parametrize("text", ["Nominal.", "Grüße 🚽 → “42%” & <ok>\n\n06:42 UTC", "日本"])
def test_a_signed_post_arrives_unchanged_and_its_link_is_known(
    x_server: Any, publisher_to: MakePublisher, text: str
) -> None:
    result = publisher_to(x_server.url).publish(replace(NOMINAL, text=text))
    assert x_server.texts == [text]
    assert result.external_id == "1000000000000000001"
    assert result.link == "https://x.com/i/web/status/1000000000000000001"


@pytest.mark.parametrize("field", ["consumer_key", "consumer_secret", "access_token", "access_token_secret"])
def test_a_wrong_credential_is_refused_as_unauthorized(
    x_server: Any, publisher_to: MakePublisher, field: str
) -> None:
    with pytest.raises(PublishRefused, match=r"^unauthorized: Unauthorized") as refused:
        publisher_to(x_server.url, **{field: "wrong"}).publish(NOMINAL)
    assert refused.value.reason == "unauthorized"
    assert x_server.texts == []


def test_a_duplicate_is_refused_with_what_x_says(x_server: Any, publisher_to: MakePublisher) -> None:
    publisher = publisher_to(x_server.url)
    publisher.publish(NOMINAL)
    with pytest.raises(PublishRefused, match=r"^duplicate: You are not allowed"):
        publisher.publish(NOMINAL)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, {"errors": [{"message": "Text is too long"}], "title": "Invalid Request"}, "bad_request"),
        (401, {"title": "Unauthorized", "detail": "Unauthorized"}, "unauthorized"),
        (402, {"title": "CreditsDepleted", "detail": "No credits"}, "http_402"),
        (403, {"title": "Forbidden", "detail": "Your app may not write"}, "forbidden"),
        (403, b"<html>blocked</html>", "forbidden"),
        (404, {"title": "Not Found"}, "not_found"),
        (422, {"detail": "?"}, "http_422"),
    ],
)
def test_a_definite_refusal_has_a_reason_and_what_x_says(
    x_server: Any, publisher_to: MakePublisher, x_answer: Any, status: int, body: Any, reason: str
) -> None:
    x_server.answers = [x_answer(status, body)]
    with pytest.raises(PublishRefused) as refused:
        publisher_to(x_server.url).publish(NOMINAL)
    assert refused.value.reason == reason
    assert len(str(refused.value)) > len(reason)
    assert x_server.requests == 1


def test_a_rate_limit_is_a_refusal_that_tells_until_when(
    x_server: Any, publisher_to: MakePublisher, x_answer: Any
) -> None:
    limit = {"x-rate-limit-reset": "1795510800"}
    x_server.answers = [x_answer(429, {"title": "Too Many Requests"}, limit), x_answer(429, b"")]
    with pytest.raises(PublishRefused, match=r"^rate_limited: until 2026-11-24 09:00 UTC$") as refused:
        publisher_to(x_server.url).publish(NOMINAL)
    assert refused.value.resume_at == datetime(2026, 11, 24, 9, tzinfo=UTC)
    with pytest.raises(PublishRefused, match=r"^rate_limited$") as refused:
        publisher_to(x_server.url).publish(NOMINAL)
    assert refused.value.resume_at is None
    assert x_server.requests == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": 500, "body": {"title": "Internal"}}, "http_500"),
        ({"status": 503, "body": b"over capacity"}, "http_503"),
        ({"status": 301, "headers": {"Location": "/elsewhere"}}, "transport_error"),
        ({"status": 304}, "http_304"),
        ({"status": 201, "body": b"not json"}, "malformed_answer"),
        ({"status": 201, "body": b""}, "malformed_answer"),
        ({"status": 201, "body": []}, "malformed_answer"),
        ({"status": 201, "body": {"data": None}}, "malformed_answer"),
        ({"status": 201, "body": {"data": {"text": "no id"}}}, "malformed_answer"),
        ({"status": 201, "body": {"data": {"id": {}}}}, "malformed_answer"),
        ({"status": 403, "body": [1]}, "malformed_answer"),
        ({"status": 429, "body": {}, "headers": {"x-rate-limit-reset": "soon"}}, "malformed_answer"),
        ({"drop": True}, "connection_lost"),
    ],
)
def test_whatever_leaves_doubt_is_uncertain_and_is_not_sent_again(
    x_server: Any, publisher_to: MakePublisher, x_answer: Any, answer: dict[str, Any], reason: str
) -> None:
    x_server.answers = [x_answer(**answer)]
    with pytest.raises(PublishUncertain) as uncertain:
        publisher_to(x_server.url).publish(NOMINAL)
    assert uncertain.value.reason == reason
    assert x_server.requests == 1


def test_an_answer_that_does_not_come_in_time_is_uncertain(
    x_server: Any, publisher_to: MakePublisher, x_answer: Any
) -> None:
    x_server.answers = [x_answer(hold=True)]
    with pytest.raises(PublishUncertain) as uncertain:
        publisher_to(x_server.url, read_seconds=0.2).publish(NOMINAL)
    assert uncertain.value.reason == "timeout"
    assert x_server.requests == 1


def test_a_server_that_is_not_there_certainly_got_nothing(publisher_to: MakePublisher) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "http://no-such-host.invalid"):
        with pytest.raises(PublishRefused, match=r"^unreachable"):
            publisher_to(url).publish(NOMINAL)


def test_no_secret_shows_in_a_log_a_repr_or_an_error(
    x_server: Any,
    publisher_to: MakePublisher,
    credentials: dict[str, str],
    x_answer: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    publisher = publisher_to(x_server.url)
    publisher.publish(NOMINAL)
    x_server.answers = [x_answer(503, b""), x_answer(403, {"detail": "no"})]
    shown = [repr(publisher), str(vars(publisher))]
    for _ in range(2):
        with pytest.raises((PublishRefused, PublishUncertain)) as error:
            publisher.publish(replace(NOMINAL, text="Nominal again."))
        shown.append(f"{error.value!r} {error.value.__cause__!r}")
    shown.append(caplog.text)
    assert "Nominal." in caplog.text
    assert not any(value in text for value in credentials.values() for text in shown)


def test_requests_to_x_have_time_limits_and_no_retries(credentials: dict[str, str]) -> None:
    publisher = XPublisher(XCredentials.model_validate(credentials))
    adapter = publisher._client.session.get_adapter("https://api.twitter.com/2/tweets")
    assert isinstance(adapter, TimeoutAdapter)
    assert adapter.max_retries.total == 0


def test_a_picture_goes_with_its_description(x_server: Any, publisher_to: MakePublisher) -> None:
    publisher_to(x_server.url).publish(replace(NOMINAL, image=PICTURE))
    assert x_server.texts == ["Nominal."]
    assert x_server.images == [PICTURE.png]
    assert x_server.alt_texts == [PICTURE.alt_text]
    assert x_server.shown == [["900000000000000001"]]


@pytest.mark.parametrize("status", [403, 429, 500])
def test_a_picture_that_is_not_taken_is_left_out(
    x_server: Any, publisher_to: MakePublisher, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    x_server.upload_status = status
    publisher_to(x_server.url).publish(replace(NOMINAL, image=PICTURE))
    assert (x_server.texts, x_server.shown) == (["Nominal."], [[]])
    assert "the text goes alone" in caplog.text
