"""Who is told what and when, in a real store; only the sending is made up."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from peebot_dagster.alerts import ledger
from peebot_dagster.alerts.conditions import Condition, Judgement, Occurrence
from peebot_dagster.alerts.destinations import Destination, name_of
from peebot_dagster.alerts.messages import Message
from peebot_dagster.alerts.telling import Telling, tell

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
MAIL, CHAT = Destination("1 mailtos", "mailtos://u:p@h"), Destination("2 json", "json://h")


@dataclass
class World:
    """Time, who is out of order, and what everybody has received."""

    url: str
    now: datetime = NOW
    people: tuple[Destination, ...] = (MAIL, CHAT)
    broken: set[Destination] = field(default_factory=set)
    received: dict[str, list[str]] = field(default_factory=lambda: {"1 mailtos": [], "2 json": []})
    on_sending: Callable[[], None] = lambda: None

    def deliver(self, messages: Mapping[Destination, Message]) -> dict[Destination, str | None]:
        outcomes: dict[Destination, str | None] = {}
        for destination, message in messages.items():
            if destination in self.broken:
                outcomes[destination] = "answered 500"
            else:
                self.received[destination.name].append(message.title.removeprefix("PeeBot: "))
                outcomes[destination] = None
        self.on_sending()
        return outcomes

    def look(
        self,
        *standing: Condition,
        unknown: frozenset[str] = frozenset(),
        asked: frozenset[str] = frozenset({"down", "spool", "a", "b"}),
        occurred: Sequence[Occurrence] = (),
        to: int = 2,
    ) -> Telling:
        """One tick of a process that knows nothing but the store."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            absent = asked - unknown - {each.key for each in standing}
            judgement = Judgement(standing, absent, unknown, occurred)
            return tell(connection, judgement, self.people[:to], self.deliver, lambda: self.now)

    def take(self) -> tuple[list[str], list[str]]:
        """What the two have received since the last call."""
        taken = (self.received["1 mailtos"], self.received["2 json"])
        self.received = {"1 mailtos": [], "2 json": []}
        return taken


@pytest.fixture
def world(database_url: str) -> World:
    return World(database_url)


def condition(
    key: str = "down", since: datetime | None = NOW, patience: timedelta = 10 * MINUTE
) -> Condition:
    return Condition(key, key, "advice", "ending", since, patience)


def test_a_condition_is_told_once_after_its_time_and_so_is_its_end(world: World) -> None:
    world.look(condition())
    world.now += 9 * MINUTE
    world.look(condition())
    assert world.take() == ([], [])
    world.now += MINUTE
    for _ in range(3):
        world.look(condition())
    assert world.take() == (["down"], ["down"])
    for _ in range(3):
        world.look()
    assert world.take() == (["Over: down"], ["Over: down"])


def test_what_ends_before_its_time_is_never_told(world: World) -> None:
    world.look(condition(since=None))
    world.now += 9 * MINUTE
    world.look()
    world.now += MINUTE
    world.look(condition(since=None))
    world.now += 9 * MINUTE
    world.look(condition(since=None))
    world.look()
    assert world.take() == ([], [])


def test_without_a_fact_of_its_begin_it_began_when_it_was_first_seen(world: World) -> None:
    world.look(condition(since=None))
    world.now += 10 * MINUTE
    world.look(condition(since=None))
    assert world.take() == (["down"], ["down"])


def test_an_interruption_that_nobody_saw_begins_the_time_anew(world: World) -> None:
    world.look(condition())
    world.now += 10 * MINUTE
    world.look(condition(since=world.now - MINUTE))
    assert world.take() == ([], [])
    world.now += 9 * MINUTE
    world.look(condition(since=world.now - 10 * MINUTE))
    assert world.take() == (["down"], ["down"])


def test_what_lasts_is_told_again_each_day_and_not_sooner(world: World) -> None:
    world.look(condition(patience=timedelta(0)))
    world.now += DAY - MINUTE
    world.look(condition(patience=timedelta(0)))
    assert world.take()[0] == ["down"]
    world.now += MINUTE
    world.look(condition(patience=timedelta(0)))
    world.look(condition(patience=timedelta(0)))
    assert world.take()[0] == ["Still: down"]


def test_what_is_not_known_just_now_neither_begins_nor_ends(world: World) -> None:
    world.look(unknown=frozenset({"spool"}))
    world.look(condition("spool", patience=timedelta(0)))
    world.look(unknown=frozenset({"spool"}))
    assert world.take()[0] == ["spool"]
    world.look()
    assert world.take()[0] == ["Over: spool"]


def test_nothing_is_told_of_what_is_unknown_not_even_that_it_still_lasts(world: World) -> None:
    unknown = frozenset({"spool"})
    world.look(condition("spool", since=None))
    world.now += 10 * MINUTE
    world.look(unknown=unknown)
    assert world.take() == ([], [])
    world.look(condition("spool", since=None))
    world.now += 2 * DAY
    world.look(unknown=unknown)
    assert world.take() == (["spool"], ["spool"])
    world.look(condition("spool", since=None))
    assert world.take() == (["Still: spool"], ["Still: spool"])


def test_what_nobody_asks_for_any_more_is_forgotten_and_not_said_to_be_over(
    world: World, connection: psycopg.Connection
) -> None:
    world.look(condition("spool", patience=timedelta(0)))
    world.look(asked=frozenset({"down"}))
    assert world.take()[0] == ["spool"]
    assert connection.execute("SELECT FROM alert_condition").fetchall() == []


def test_what_has_happened_is_told_once_and_is_never_over(
    world: World, connection: psycopg.Connection
) -> None:
    failure = Occurrence("run_failed:1", "failed", "advice", NOW)
    for age in (0 * DAY, MINUTE, DAY - MINUTE, DAY + MINUTE, 2 * DAY - MINUTE):
        world.now = NOW + age
        world.look(occurred=[failure])
        world.look()
    assert world.take() == (["failed"], ["failed"])
    world.now = NOW + 2 * DAY
    world.look()
    assert world.take() == ([], [])
    assert connection.execute("SELECT FROM alert_condition").fetchall() == []


def test_what_has_happened_is_told_later_to_who_could_not_be_told_at_once(world: World) -> None:
    world.broken = {MAIL}
    world.look(occurred=[Occurrence("run_failed:1", "failed", "advice", NOW)])
    world.broken = set()
    world.now += DAY
    world.look()
    assert world.take() == (["failed"], ["failed"])


def test_another_url_in_the_same_place_is_told_what_lasts_and_waits_for_no_retry_of_the_one_before(
    world: World,
) -> None:
    down = condition(patience=timedelta(0))
    world.broken = {MAIL}
    world.look(down)
    for url in ("mailtos://u:p@other", "mailtos://u:q@other"):
        world.people = (Destination("1 mailtos", url), CHAT)
        world.look(down)
        world.look(down)
    assert world.take() == (["down", "down"], ["down"])


def test_a_key_shows_place_and_kind_and_no_part_of_the_url() -> None:
    assert re.fullmatch(r"1 mailtos #[0-9a-f]{4}", MAIL.key)
    assert name_of(MAIL.key) == "1 mailtos"


def test_who_takes_nothing_is_tried_again_and_stops_nobody_else(world: World) -> None:
    down = condition(patience=timedelta(0))
    world.broken = {MAIL}
    telling = world.look(down)
    assert (telling.told, telling.failed) == ({"2 json": "PeeBot: down"}, {"1 mailtos": "answered 500"})
    telling = world.look(down)
    assert (telling.told, telling.failed, telling.waiting) == ({}, {}, {"1 mailtos": "answered 500"})
    tries = 0
    for _ in range(60):
        world.now += MINUTE
        tries += bool(world.look(down).failed)
    assert tries == 7  # after 1, 2, 4, 8, 15, 15, 15 minutes
    world.broken = set()
    world.now += 15 * MINUTE
    world.look(down)
    assert world.take() == (["down"], ["down"])
    assert world.look(down) == Telling({}, {}, {})


def test_who_never_heard_of_the_begin_hears_nothing_of_the_end(world: World) -> None:
    world.broken = {MAIL}
    world.look(condition(patience=timedelta(0)))
    world.broken = set()
    world.now += DAY
    world.look()
    assert world.take() == ([], ["down", "Over: down"])


def test_an_end_that_could_not_be_told_is_told_later_unless_it_has_begun_again(world: World) -> None:
    world.look(condition(patience=timedelta(0)), to=1)
    world.broken = {MAIL}
    world.look(to=1)
    world.broken = set()
    world.look(condition(patience=timedelta(0)), to=1)
    assert world.take()[0] == ["down"]
    world.now += MINUTE
    world.look(to=1)
    assert world.take()[0] == ["Over: down"]


def test_a_sender_that_dies_after_sending_sends_again_when_its_claim_has_run_out(world: World) -> None:
    def die() -> None:
        raise SystemExit

    down = condition(patience=timedelta(0))
    world.on_sending = die
    with pytest.raises(SystemExit):
        world.look(down, to=1)
    world.on_sending = lambda: None
    world.look(down, to=1)
    assert world.take()[0] == ["down"]
    world.now += ledger.CLAIM
    world.look(down, to=1)
    world.look(down, to=1)
    assert world.take()[0] == ["down"]


def test_while_one_is_sending_nobody_else_sends_the_same(world: World) -> None:
    down = condition(patience=timedelta(0))

    def another() -> None:
        world.on_sending = lambda: None
        world.look(down)

    world.on_sending = another
    world.look(down)
    assert world.take() == (["down"], ["down"])


def test_several_begun_at_once_are_one_message(world: World) -> None:
    world.look(condition("a", patience=timedelta(0)), condition("b", patience=timedelta(0)))
    assert world.take()[0] == ["2 alerts"]


def test_a_destination_that_is_gone_is_forgotten_and_keeps_nothing_open(
    world: World, connection: psycopg.Connection
) -> None:
    world.look(condition(patience=timedelta(0)))
    world.look(to=1)
    world.look(to=1)
    left = connection.execute(
        "SELECT (SELECT count(*) FROM alert_condition), (SELECT count(*) FROM alert_told),"
        " ARRAY(SELECT destination FROM alert_destination)"
    ).fetchone()
    assert left == (0, 0, [MAIL.key])


def test_dagsters_role_may_tell_and_the_reader_may_only_look(
    world: World, login_as: Callable[[str], str]
) -> None:
    world.url = login_as("peebot_dagster")
    world.look(condition(patience=timedelta(0)))
    assert world.take()[0] == ["down"]
    world.url = login_as("peebot_reader")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        world.look()
