"""Telling each destination what it does not know yet: claim, send, record, each in its own transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg

from peebot_dagster.alerts import ledger
from peebot_dagster.alerts.conditions import Judgement
from peebot_dagster.alerts.destinations import Destination, name_of
from peebot_dagster.alerts.messages import Message, message_of

Deliver = Callable[[Mapping[Destination, Message]], Mapping[Destination, str | None]]


@dataclass(frozen=True)
class Telling:
    """`told`: the titles that each destination took; `failed`: why another took nothing; `waiting`: the same
    of those that were not tried, because they failed lately."""

    told: Mapping[str, str]
    failed: Mapping[str, str]
    waiting: Mapping[str, str]


def tell(
    connection: psycopg.Connection,
    judgement: Judgement,
    destinations: Sequence[Destination],
    deliver: Deliver,
    clock: Callable[[], datetime],
) -> Telling:
    """Tell all destinations what has happened or begun, lasts for another day, or is over, by the `clock`.

    Who dies between sending and recording sends again when the claim has run out: of an alert, twice is
    better than never. The connection must not be in a transaction.
    """
    with connection.transaction():
        ledger.observe(connection, judgement, [destination.key for destination in destinations], clock())
    claimed = {}
    for destination in destinations:
        with connection.transaction():
            if news := ledger.claim(connection, destination.key, judgement.unknown, clock()):
                claimed[destination] = news
    messages = {destination: message_of(news) for destination, news in claimed.items()}
    outcomes = deliver(messages) if messages else {}
    told, failed = {}, {}
    for destination, why in outcomes.items():
        with connection.transaction():
            if why is None:
                ledger.record_told(connection, destination.key, claimed[destination], clock())
                told[destination.name] = messages[destination].title
            else:
                ledger.record_failure(connection, destination.key, why, clock())
                failed[destination.name] = why
    with connection.transaction():
        waiting = {name_of(key): why for key, why in ledger.waiting(connection, clock())}
    return Telling(told, failed, {name: why for name, why in waiting.items() if name not in failed})
