"""The installed atproto, over real HTTP, against a server on loopback that answers like Bluesky's."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from peebot_dagster.posts.bluesky_publisher import BlueskyCredentials, BlueskyPublisher, record_key
from peebot_dagster.posts.outcomes import Image, Message, PublishRefused, PublishUncertain
from tests.peebot_dagster.posts.platforms.bluesky import (
    ACCESS_TOKEN,
    APP_PASSWORD,
    DID,
    HANDLE,
    FakeBluesky,
    error,
)
from tests.peebot_dagster.posts.platforms.loopback import Answer

MakeMessage = Callable[..., Message]


def publisher_to(url: str, read_seconds: float = 30, app_password: str = APP_PASSWORD) -> BlueskyPublisher:
    credentials = BlueskyCredentials(handle=HANDLE, app_password=SecretStr(app_password), service=url)
    return BlueskyPublisher(credentials, read_seconds)


@pytest.mark.parametrize("text", ["Nominal.", "Grüße 🚽 → “42%” & <ok>\n\n06:42 UTC", "日本"])
def test_a_post_arrives_unchanged_and_its_link_is_known(
    bluesky_server: FakeBluesky, message: MakeMessage, text: str
) -> None:
    result = publisher_to(bluesky_server.url).publish(message(text))
    [(key, record)] = bluesky_server.records.items()
    assert (record["text"], record["langs"]) == (text, ["en"])
    assert result.external_id == f"at://{DID}/app.bsky.feed.post/{key}"
    assert result.link == f"https://bsky.app/profile/{HANDLE}/post/{key}"


def test_the_same_message_has_the_same_key_so_the_server_refuses_a_second_one(
    bluesky_server: FakeBluesky, message: MakeMessage
) -> None:
    publisher_to(bluesky_server.url).publish(message())
    with pytest.raises(PublishRefused, match=r"^bad_request: InvalidRequest: There is already a value"):
        publisher_to(bluesky_server.url).publish(message())
    publisher_to(bluesky_server.url).publish(message(key="event-2"))
    assert bluesky_server.texts == ["Nominal.", "Nominal."]


def test_keys_have_the_form_of_a_posts_key_and_the_order_of_the_events(message: MakeMessage) -> None:
    first = message()
    later = replace(first, happened_at=first.happened_at + timedelta(seconds=1))
    assert len(record_key(first)) == 13
    assert set(record_key(first)) <= set("234567abcdefghijklmnopqrstuvwxyz")
    assert record_key(first) < record_key(later)
    assert record_key(first) != record_key(replace(first, key="event-2"))


def test_one_log_in_serves_several_posts(bluesky_server: FakeBluesky, message: MakeMessage) -> None:
    publisher = publisher_to(bluesky_server.url)
    publisher.publish(message())
    bluesky_server.login_answer = Answer(500, {})
    publisher.publish(message(key="event-2"))
    assert len(bluesky_server.texts) == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (error(400, "AccountTakedown", "Account has been suspended"), "login_bad_request"),
        (error(429, "RateLimitExceeded", "Too many"), "login_rate_limited"),
        (Answer(503, b"over capacity"), "login_http_503"),
        (Answer(200, {"accessJwt": "only"}), "login_malformed_answer"),
        (Answer(200, b"not json"), "login_malformed_answer"),
        (Answer(drop=True), "login_connection_lost"),
        (Answer(hold=True), "login_timeout"),
    ],
)
def test_whatever_goes_wrong_before_the_post_certainly_published_nothing(
    bluesky_server: FakeBluesky, message: MakeMessage, answer: Answer, reason: str
) -> None:
    bluesky_server.login_answer = answer
    publisher = publisher_to(bluesky_server.url, read_seconds=0.5 if answer.hold else 30)
    with pytest.raises(PublishRefused) as refused:
        publisher.publish(message())
    assert refused.value.reason == reason
    assert bluesky_server.requests == 0


def test_a_wrong_password_is_refused_as_unauthorized(
    bluesky_server: FakeBluesky, message: MakeMessage
) -> None:
    with pytest.raises(PublishRefused, match=r"^login_unauthorized: AuthenticationRequired: Invalid"):
        publisher_to(bluesky_server.url, app_password="wrong").publish(message())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (error(400, "InvalidRequest", "Record is too long"), "bad_request"),
        (error(401, "ExpiredToken", "Token has expired"), "unauthorized"),
        (error(403, "AccountDeactivated", "no"), "forbidden"),
        (Answer(404, b"<html>not here</html>"), "not_found"),
        (error(409, "Conflict", "swap"), "http_409"),
        (error(413, "PayloadTooLarge", "no"), "http_413"),
    ],
)
def test_a_definite_refusal_has_a_reason(
    bluesky_server: FakeBluesky, message: MakeMessage, answer: Answer, reason: str
) -> None:
    bluesky_server.answers = [answer]
    with pytest.raises(PublishRefused) as refused:
        publisher_to(bluesky_server.url).publish(message())
    assert refused.value.reason == reason
    assert bluesky_server.requests == 1


@pytest.mark.parametrize(
    ("headers", "resume_at"),
    [
        ({"ratelimit-reset": "1795510800"}, datetime(2026, 11, 24, 9, tzinfo=UTC)),
        ({}, None),
        ({"ratelimit-reset": "soon"}, None),
        ({"ratelimit-reset": "9" * 30}, None),
    ],
)
def test_a_rate_limit_is_a_refusal_that_tells_until_when(
    bluesky_server: FakeBluesky, message: MakeMessage, headers: dict[str, str], resume_at: datetime | None
) -> None:
    bluesky_server.answers = [error(429, "RateLimitExceeded", "Rate Limit Exceeded", headers)]
    with pytest.raises(PublishRefused, match=r"^rate_limited") as refused:
        publisher_to(bluesky_server.url).publish(message())
    assert refused.value.resume_at == resume_at
    assert bluesky_server.requests == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (error(500, "InternalServerError", "oops"), "http_500"),
        (Answer(502, b"bad gateway"), "http_502"),
        (Answer(503, b"over capacity"), "http_503"),
        (Answer(200, b"not json"), "malformed_answer"),
        (Answer(200, b""), "malformed_answer"),
        (Answer(200, []), "malformed_answer"),
        (Answer(200, {"uri": None}), "malformed_answer"),
        (Answer(200, {"cid": "x"}), "malformed_answer"),
        (Answer(drop=True), "connection_lost"),
        (Answer(hold=True), "timeout"),
    ],
)
def test_whatever_leaves_doubt_is_uncertain_and_is_not_sent_again(
    bluesky_server: FakeBluesky, message: MakeMessage, answer: Answer, reason: str
) -> None:
    bluesky_server.answers = [answer]
    publisher = publisher_to(bluesky_server.url, read_seconds=0.5 if answer.hold else 30)
    with pytest.raises(PublishUncertain) as uncertain:
        publisher.publish(message())
    assert uncertain.value.reason == reason
    assert bluesky_server.requests == 1


def test_a_server_that_is_not_there_certainly_got_nothing(message: MakeMessage) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "http://no-such-host.invalid"):
        with pytest.raises(PublishRefused, match=r"^login_unreachable"):
            publisher_to(url).publish(message())


def test_a_picture_goes_with_its_description(bluesky_server: FakeBluesky, message: MakeMessage) -> None:
    picture = Image(b"\x89PNG picture", "The level rises from 40 to 43 percent.")
    publisher_to(bluesky_server.url).publish(message(image=picture))
    [record] = bluesky_server.records.values()
    assert bluesky_server.images == [picture.png]
    assert [image["alt"] for image in record["embed"]["images"]] == [picture.alt_text]


def test_a_picture_that_is_not_taken_is_left_out(
    bluesky_server: FakeBluesky, message: MakeMessage, caplog: pytest.LogCaptureFixture
) -> None:
    bluesky_server.upload_status = 413
    publisher_to(bluesky_server.url).publish(message(image=Image(b"\x89PNG", "A picture.")))
    assert bluesky_server.texts == ["Nominal."]
    assert "the text goes alone" in caplog.text


def test_no_secret_shows_in_a_log_a_repr_or_an_error(
    bluesky_server: FakeBluesky, message: MakeMessage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    publisher = publisher_to(bluesky_server.url)
    publisher.publish(message())
    shown = [repr(publisher), repr(publisher._credentials)]
    bluesky_server.answers = [Answer(503, b""), error(403, "Forbidden", "no"), Answer(200, b"{}")]
    for n in range(3):
        with pytest.raises((PublishRefused, PublishUncertain)) as caught:
            publisher.publish(message(key=f"again-{n}"))
        shown.append(f"{caught.value!r} {caught.value}")
    shown.append(caplog.text)
    assert not any(secret in text for secret in (APP_PASSWORD, ACCESS_TOKEN) for text in shown)
