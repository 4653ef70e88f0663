"""The installed Mastodon.py, over real HTTP, against a server on loopback that answers like Mastodon."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from peebot_dagster.posts.mastodon_publisher import MastodonCredentials, MastodonPublisher
from peebot_dagster.posts.outcomes import Image, Message, PublishRefused, PublishUncertain
from tests.peebot_dagster.posts.platforms.loopback import Answer
from tests.peebot_dagster.posts.platforms.mastodon import ACCESS_TOKEN, FakeMastodon

MakeMessage = Callable[..., Message]


def publisher_to(url: str, read_seconds: float = 30, token: str = ACCESS_TOKEN) -> MastodonPublisher:
    credentials = MastodonCredentials(url=url, access_token=SecretStr(token))
    return MastodonPublisher(credentials, (30, read_seconds))


@pytest.mark.parametrize("text", ["Nominal.", "Grüße 🚽 → “42%” & <ok>\n\n06:42 UTC", "日本"])
def test_a_post_arrives_unchanged_in_public_and_its_link_is_known(
    mastodon_server: FakeMastodon, message: MakeMessage, text: str
) -> None:
    result = publisher_to(mastodon_server.url).publish(message(text))
    assert mastodon_server.texts == [text]
    assert mastodon_server.forms[0]["visibility"] == ["public"]
    assert result.external_id == "115000000000000001"
    assert result.link == "https://mastodon.example/@peebot/115000000000000001"


def test_the_same_message_comes_with_the_same_key_so_the_server_takes_it_once(
    mastodon_server: FakeMastodon, message: MakeMessage
) -> None:
    results = [publisher_to(mastodon_server.url).publish(message()) for _ in range(2)]
    assert results[0] == results[1]
    assert mastodon_server.texts == ["Nominal."]


def test_a_wrong_token_is_refused_as_unauthorized(
    mastodon_server: FakeMastodon, message: MakeMessage
) -> None:
    with pytest.raises(PublishRefused, match=r"^unauthorized: The access token is invalid"):
        publisher_to(mastodon_server.url, token="wrong").publish(message())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(400, {"error": "Bad"}), "bad_request"),
        (Answer(403, {"error": "This action is not allowed"}), "forbidden"),
        (Answer(403, b"<html>blocked</html>"), "forbidden"),
        (Answer(404, {"error": "Record not found"}), "not_found"),
        (Answer(422, {"error": "Validation failed: Text is too long"}), "http_422"),
    ],
)
def test_a_definite_refusal_has_a_reason_and_what_the_server_says(
    mastodon_server: FakeMastodon, message: MakeMessage, answer: Answer, reason: str
) -> None:
    mastodon_server.answers = [answer]
    with pytest.raises(PublishRefused) as refused:
        publisher_to(mastodon_server.url).publish(message())
    assert refused.value.reason == reason
    assert len(str(refused.value)) > len(reason)
    assert mastodon_server.requests == 1


def test_a_rate_limit_is_a_refusal_that_tells_until_when(
    mastodon_server: FakeMastodon, message: MakeMessage
) -> None:
    server_now = datetime.now(UTC).replace(microsecond=0)
    limits = {
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Limit": "300",
        "X-RateLimit-Reset": (server_now + timedelta(hours=1)).isoformat(),
    }
    mastodon_server.answers = [Answer(429, {"error": "Too many requests"}, limits), Answer(429, b"")]
    with pytest.raises(PublishRefused, match=r"^rate_limited: until") as refused:
        publisher_to(mastodon_server.url).publish(message())
    assert refused.value.resume_at is not None
    assert timedelta(minutes=50) < refused.value.resume_at - server_now < timedelta(minutes=70)
    with pytest.raises(PublishRefused, match=r"^rate_limited$"):
        publisher_to(mastodon_server.url).publish(message())
    assert mastodon_server.requests == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(500, {"error": "oops"}), "http_500"),
        (Answer(502, b"bad gateway"), "http_502"),
        (Answer(503, b"over capacity"), "http_503"),
        (Answer(301, headers={"Location": "/elsewhere"}), "transport_error"),
        (Answer(200, b"not json"), "malformed_answer"),
        (Answer(200, b""), "malformed_answer"),
        (Answer(200, []), "malformed_answer"),
        (Answer(200, {}), "malformed_answer"),
        (Answer(200, {"id": None, "url": "x"}), "malformed_answer"),
        (Answer(200, {"id": "1"}, {"X-RateLimit-Reset": "soon"}), "malformed_answer"),
        (Answer(drop=True), "connection_lost"),
        (Answer(hold=True), "timeout"),
    ],
)
def test_whatever_leaves_doubt_is_uncertain_and_is_not_sent_again(
    mastodon_server: FakeMastodon, message: MakeMessage, answer: Answer, reason: str
) -> None:
    mastodon_server.answers = [answer]
    publisher = publisher_to(mastodon_server.url, read_seconds=0.5 if answer.hold else 30)
    with pytest.raises(PublishUncertain) as uncertain:
        publisher.publish(message())
    assert uncertain.value.reason == reason
    assert mastodon_server.requests == 1


def test_a_server_that_is_not_there_certainly_got_nothing(message: MakeMessage) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "http://no-such-host.invalid"):
        with pytest.raises(PublishRefused, match=r"^unreachable"):
            publisher_to(url).publish(message())


def test_a_picture_goes_with_its_description(mastodon_server: FakeMastodon, message: MakeMessage) -> None:
    picture = Image(b"\x89PNG picture", "The level rises from 40 to 43 percent.")
    publisher_to(mastodon_server.url).publish(message(image=picture))
    [upload] = mastodon_server.images
    assert picture.png in upload
    assert picture.alt_text.encode() in upload
    assert mastodon_server.forms[0]["media_ids[]"] == ["7"]


@pytest.mark.parametrize("status", [422, 429, 500])
def test_a_picture_that_is_not_taken_is_left_out(
    mastodon_server: FakeMastodon, message: MakeMessage, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    mastodon_server.upload_status = status
    publisher_to(mastodon_server.url).publish(message(image=Image(b"\x89PNG", "A picture.")))
    assert mastodon_server.texts == ["Nominal."]
    assert "the text goes alone" in caplog.text


def test_no_secret_shows_in_a_log_a_repr_or_an_error(
    mastodon_server: FakeMastodon,
    message: MakeMessage,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    publisher = publisher_to(mastodon_server.url)
    publisher.publish(message())
    shown: list[Any] = [repr(publisher)]
    mastodon_server.answers = [Answer(503, b""), Answer(403, {"error": "no"}), Answer(200, b"[")]
    for n in range(3):
        with pytest.raises((PublishRefused, PublishUncertain)) as caught:
            publisher.publish(message(key=f"again-{n}"))
        shown.append(f"{caught.value!r} {caught.value.__cause__!r}")
    shown += [caplog.text, *capsys.readouterr()]
    assert not any(ACCESS_TOKEN in text for text in shown)
