from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import psycopg
import pytest
from pydantic import SecretStr

from peebot_dagster.posts.bluesky_publisher import BlueskyCredentials, BlueskyPublisher
from peebot_dagster.posts.ledger import lock_ledger
from peebot_dagster.posts.mastodon_publisher import MastodonCredentials, MastodonPublisher
from peebot_dagster.posts.mute import Mute, current_mute, mute, unmute
from peebot_dagster.posts.outbox import publish_new_events
from peebot_dagster.posts.outcomes import Image, Message, Publisher, PublishResult
from peebot_dagster.posts.policy import PostPolicy
from peebot_dagster.posts.publishers import DryRun
from peebot_dagster.posts.x_publisher import XPublisher
from tests.peebot_dagster.posts.platforms.bluesky import APP_PASSWORD, HANDLE, FakeBluesky
from tests.peebot_dagster.posts.platforms.loopback import LoopbackPlatform
from tests.peebot_dagster.posts.platforms.mastodon import ACCESS_TOKEN, FakeMastodon
from tests.peebot_dagster.posts.platforms.x import FakeX

StoreEvent = Callable[..., uuid.UUID]
HOUR = timedelta(hours=1)


def test_while_muted_no_event_is_posted_and_the_ledger_says_why(
    connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    assert mute(connection, now, None) == 0
    store_event()
    [decision] = publish_new_events(connection, DryRun(), PostPolicy(), lambda: now)
    assert (decision.state, decision.reason) == ("skipped", "muted")
    assert unmute(connection) is True
    store_event()
    [decision] = publish_new_events(connection, DryRun(), PostPolicy(), lambda: now)
    assert decision.state == "dry_run"


def test_a_mute_for_a_while_ends_by_itself(connection: psycopg.Connection, now: datetime) -> None:
    mute(connection, now, now + 2 * HOUR)
    assert current_mute(connection, now + HOUR) == Mute(now, now + 2 * HOUR)
    assert current_mute(connection, now + 2 * HOUR) is None


def test_the_last_word_counts_and_lifting_what_is_not_there_changes_nothing(
    connection: psycopg.Connection, now: datetime
) -> None:
    assert unmute(connection) is False
    mute(connection, now, now + HOUR)
    mute(connection, now + HOUR / 2, None)
    assert current_mute(connection, now + 900 * HOUR) == Mute(now + HOUR / 2, None)


def test_a_mute_works_at_once_also_in_the_middle_of_a_run(
    database_url: str, connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    sent: list[str] = []
    for minutes_ago in (3, 2, 1):
        store_event(minutes_ago=minutes_ago)

    class MutedMeanwhile:
        platform = "x"

        def publish(self, message: Message) -> PublishResult:
            sent.append(message.text)
            with psycopg.connect(database_url) as other:
                assert mute(other, now, None) == 1, "the one that is just on its way"
            return PublishResult("1")

    decisions = publish_new_events(
        connection, MutedMeanwhile(), PostPolicy(cooldown=timedelta(0)), lambda: now
    )
    assert Counter(decision.reason for decision in decisions) == {None: 1, "muted": 2}
    assert len(sent) == 1


def test_a_mute_while_the_platform_logs_in_or_takes_the_picture_stops_the_post_and_the_ledger_says_so(
    database_url: str, connection: psycopg.Connection, store_event: StoreEvent, now: datetime
) -> None:
    sent: list[str] = []
    store_event()

    class Uploading:
        platform = "x"

        def publish(self, message: Message) -> PublishResult:
            with psycopg.connect(database_url) as other:
                assert mute(other, now, None) == 1
            message.last_check()
            sent.append(message.text)
            return PublishResult("1")

    [decision] = publish_new_events(connection, Uploading(), PostPolicy(), lambda: now)
    assert (decision.state, decision.reason, sent) == ("skipped", "muted", [])
    with connection.transaction():
        assert connection.execute("SELECT state, reason FROM post").fetchall() == [("skipped", "muted")]


@pytest.mark.parametrize("platform", ["x", "bluesky", "mastodon"])
def test_each_platform_asks_for_the_last_time_right_before_its_post(
    platform: str,
    x_server: FakeX,
    bluesky_server: FakeBluesky,
    mastodon_server: FakeMastodon,
    publisher_to: Callable[[str], XPublisher],
    message: Callable[..., Message],
) -> None:
    server: LoopbackPlatform
    publisher: Publisher
    if platform == "x":
        server, publisher = x_server, publisher_to(x_server.url)
    elif platform == "bluesky":
        server = bluesky_server
        publisher = BlueskyPublisher(
            BlueskyCredentials(handle=HANDLE, app_password=SecretStr(APP_PASSWORD), service=server.url)
        )
    else:
        server = mastodon_server
        publisher = MastodonPublisher(
            MastodonCredentials(url=server.url, access_token=SecretStr(ACCESS_TOKEN))
        )
    uploaded: list[int] = []

    class StopHere(Exception):  # noqa: N818
        pass

    def check() -> None:
        uploaded.append(len(server.images))
        raise StopHere

    picture = Image(b"\x89PNG picture", "The level rises.")
    with pytest.raises(StopHere):
        publisher.publish(replace(message(image=picture), last_check=check))
    assert (uploaded, server.texts) == ([1], [])


def test_when_mute_returns_no_decision_is_under_way_that_has_not_seen_it(
    database_url: str, connection: psycopg.Connection, now: datetime
) -> None:
    muted = threading.Event()

    def silence() -> None:
        with psycopg.connect(database_url, application_name="silence") as other:
            mute(other, now, None)
        muted.set()

    with psycopg.connect(database_url, autocommit=True) as observer, ThreadPoolExecutor(1) as pool:
        lock_ledger(connection, "x")
        silencing = pool.submit(silence)
        waits = "SELECT FROM pg_stat_activity WHERE application_name = 'silence' AND wait_event_type = 'Lock'"
        while not observer.execute(waits).fetchall():
            assert not muted.is_set()
        connection.commit()
        silencing.result(timeout=60)
    assert muted.is_set()


def test_a_mute_that_ends_before_it_begins_is_refused(connection: psycopg.Connection, now: datetime) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        mute(connection, now, now)


def test_dagsters_role_publishes_and_sees_the_mute_but_cannot_change_it(
    connection: psycopg.Connection,
    login_as: Callable[[str], str],
    store_event: StoreEvent,
    now: datetime,
) -> None:
    store_event()
    with psycopg.connect(login_as("peebot_dagster")) as member:
        [posted] = publish_new_events(member, DryRun(), PostPolicy(cooldown=timedelta(0)), lambda: now)
        mute(connection, now, None)
        store_event()
        [muted] = publish_new_events(member, DryRun(), PostPolicy(cooldown=timedelta(0)), lambda: now)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            unmute(member)
    assert (posted.state, muted.reason) == ("dry_run", "muted")
