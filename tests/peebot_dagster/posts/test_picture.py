from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

import psycopg
import pytest

from peebot_dagster.posts.mute import mute
from peebot_dagster.posts.outbox import publish_new_events
from peebot_dagster.posts.outcomes import Image, Message, PublishResult
from peebot_dagster.posts.picture import Rise, describe, draw, event_picture, load_rise
from peebot_dagster.posts.policy import PostPolicy
from peebot_dagster.posts.publishers import DRY_RUN

StoreEvent = Callable[..., uuid.UUID]
StoreRise = Callable[..., uuid.UUID]
SECOND = timedelta(seconds=1)


@pytest.fixture
def store_rise(connection: psycopg.Connection, store_event: StoreEvent, now: datetime) -> StoreRise:
    """Stores a visit five minutes before NOW and the readings of the level around it."""

    def store(readings: int = 5, **payload: object) -> uuid.UUID:
        event_id = store_event(minutes_ago=5, **payload)
        start = now - timedelta(minutes=5)
        levels = [(start - timedelta(hours=3), 39.0), (start - timedelta(minutes=2), 40.0)]
        levels += [(start + 6 * n * SECOND, 41.0 + n) for n in range(3)]
        connection.execute("SELECT create_telemetry_chunks(%s, %s)", (levels[0][0], now))
        for ts, value in levels[:readings]:
            connection.execute(
                "INSERT INTO telemetry_reading SELECT channel_id, %(ts)s, %(ts)s, %(value)s, '', 24, false, 1"
                " FROM telemetry_channel WHERE item_id = 'NODE3000005'",
                {"ts": ts, "value": value},
            )
        connection.execute(
            "UPDATE detected_event SET channel_id ="
            " (SELECT channel_id FROM telemetry_channel WHERE item_id = 'NODE3000005')"
        )
        connection.commit()
        return event_id

    return store


class Gallery:
    """A platform that keeps the pictures."""

    def __init__(self, platform: str = "x") -> None:
        self.platform = platform
        self.images: list[Image | None] = []

    def publish(self, message: Message) -> PublishResult:
        self.images.append(message.image)
        return PublishResult("1")


def test_the_rise_is_read_with_the_level_before_it(
    connection: psycopg.Connection, store_rise: StoreRise, now: datetime
) -> None:
    rise = load_rise(connection, store_rise())
    assert rise is not None
    start = now - timedelta(minutes=5)
    assert (rise.started_at, rise.percent) == (start, 3)
    assert rise.levels[0] == (start - timedelta(minutes=6), 39)
    assert [value for _, value in rise.levels] == [39, 40, 41, 42, 43]


@pytest.mark.parametrize(("readings", "amount"), [(0, 3), (1, 3), (5, None), (5, "3"), (5, 0)])
def test_of_what_is_hardly_known_there_is_no_picture(
    connection: psycopg.Connection, store_rise: StoreRise, readings: int, amount: object
) -> None:
    assert event_picture(connection, store_rise(readings=readings, amount_percent=amount)) is None


def test_a_picture_is_a_png_that_says_in_words_what_it_shows(
    connection: psycopg.Connection, store_rise: StoreRise
) -> None:
    image = event_picture(connection, store_rise())
    assert image is not None
    assert image.png.startswith(b"\x89PNG\r\n")
    # Width and height, where a PNG has them.
    assert [int.from_bytes(image.png[at : at + 4], "big") for at in (16, 20)] == [1200, 675]
    assert len(image.png) < 200_000
    assert image.alt_text == (
        "A line chart of the level of the space station's urine tank. At 08:55 UTC the line rises from 40 to "
        "43 percent within 12 seconds."
    )


def test_the_same_visit_gives_the_same_picture(now: datetime) -> None:
    levels = ((now - 60 * SECOND, 40.0), (now, 41.0), (now + SECOND, 42.0))
    rise = Rise(now, now + SECOND, 2, levels)
    assert draw(rise) == draw(rise)
    assert describe(rise).endswith("within 1 second.")


@pytest.mark.parametrize(
    ("wanted", "platform", "drawn"), [(True, "x", True), (False, "x", False), (True, DRY_RUN, False)]
)
def test_a_picture_goes_with_a_post_only_where_it_was_asked_for_and_something_is_sent(
    connection: psycopg.Connection,
    store_rise: StoreRise,
    now: datetime,
    wanted: bool,
    platform: str,
    drawn: bool,
) -> None:
    store_rise()
    gallery = Gallery(platform)
    publish_new_events(connection, gallery, PostPolicy(picture=wanted), lambda: now)
    assert [image is not None for image in gallery.images] == [drawn]


def test_a_picture_that_cannot_be_drawn_does_not_keep_the_text_back(
    connection: psycopg.Connection, store_rise: StoreRise, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(rise: Rise) -> Image:
        raise ZeroDivisionError("by design")

    monkeypatch.setattr("peebot_dagster.posts.picture.draw", broken)
    store_rise()
    gallery = Gallery()
    [decision] = publish_new_events(connection, gallery, PostPolicy(picture=True), lambda: now)
    assert (decision.state, gallery.images) == ("sent", [None])


def test_a_picture_is_drawn_before_the_claim_so_that_a_mute_meanwhile_is_obeyed(
    database_url: str,
    connection: psycopg.Connection,
    store_rise: StoreRise,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slowly(rise: Rise) -> Image:
        with psycopg.connect(database_url) as other:
            assert mute(other, now, None) == 0, "nothing is on its way yet"
        return draw(rise)

    monkeypatch.setattr("peebot_dagster.posts.picture.draw", slowly)
    store_rise()
    gallery = Gallery()
    [decision] = publish_new_events(connection, gallery, PostPolicy(picture=True), lambda: now)
    assert (decision.state, decision.reason, gallery.images) == ("skipped", "muted", [])


def test_an_error_of_the_store_keeps_the_text_back_only_when_the_connection_is_lost(
    database_url: str, store_rise: StoreRise, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_rise()
    gallery = Gallery()
    policy = PostPolicy(picture=True)
    with psycopg.connect(database_url) as lost:

        def losing(rise: Rise) -> Image:
            lost.close()
            raise psycopg.OperationalError("by design")

        monkeypatch.setattr("peebot_dagster.posts.picture.draw", losing)
        with pytest.raises(psycopg.OperationalError):
            publish_new_events(lost, gallery, policy, lambda: now)
    assert gallery.images == []

    def cancelled(rise: Rise) -> Image:
        raise psycopg.errors.QueryCanceled("by design")

    monkeypatch.setattr("peebot_dagster.posts.picture.draw", cancelled)
    with psycopg.connect(database_url) as kept:
        [decision] = publish_new_events(kept, gallery, policy, lambda: now)
    assert (decision.state, gallery.images) == ("sent", [None])
