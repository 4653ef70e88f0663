"""Watches the store and tells what changes: woken by its notifications, and every few seconds without one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from datetime import datetime, timedelta

import psycopg

from peebot_dagster.store import connection_info
from peebot_dagster.watch import CHANGED, STORED, concerns
from peebot_live.broadcast import Broadcast
from peebot_live.facts import Facts, Level, channel_of, read_facts
from peebot_live.page import parts_of

AT_LEAST_EVERY = timedelta(seconds=5)
"""A daemon that is gone sends no notification: the link is DOWN because its heartbeat is old."""
CURVE_EVERY = timedelta(seconds=60)
RETRY = timedelta(seconds=2)

logger = logging.getLogger(__name__)


class Station:
    """Reads the facts whenever they may have changed, and gives them to the broadcast."""

    def __init__(
        self, database_url: str, level_item: str, broadcast: Broadcast, now: Callable[[], datetime]
    ) -> None:
        self._database_url = connection_info(database_url, "peebot_live")
        self._level_item = level_item
        self._broadcast = broadcast
        self._now = now
        self._curve: tuple[Level, ...] | None = None
        self._curve_read_s = 0.0
        self.is_connected = False

    async def watch(self) -> None:
        """Until cancelled. While the database is away the page says so, and the watch goes on trying."""
        while True:
            try:
                await self._watch()
            except (psycopg.OperationalError, LookupError) as error:
                logger.warning("the store cannot be read: %s", str(error).strip())
            self.is_connected = False
            self._broadcast.tell(parts_of(None))
            await asyncio.sleep(RETRY.total_seconds())

    async def _watch(self) -> None:
        connect = psycopg.AsyncConnection.connect
        async with await connect(self._database_url, autocommit=True) as listening:
            # First: what changes from here on is not missed.
            await listening.execute(f"LISTEN {CHANGED}")
            await listening.execute(f"LISTEN {STORED}")
            async with await connect(self._database_url, autocommit=True) as reading:
                channel_id = await channel_of(reading, self._level_item)
                while True:
                    facts = await self._read(reading, channel_id)
                    self.is_connected = True
                    self._broadcast.tell(parts_of(facts))
                    await _news(listening, channel_id)

    async def _read(self, connection: psycopg.AsyncConnection, channel_id: int) -> Facts:
        is_due = time.monotonic() - self._curve_read_s >= CURVE_EVERY.total_seconds()
        facts = await read_facts(connection, channel_id, self._now(), None if is_due else self._curve)
        if is_due:
            self._curve, self._curve_read_s = facts.curve, time.monotonic()
        return facts


async def _news(connection: psycopg.AsyncConnection, channel_id: int) -> None:
    """Return when something of the page may have changed, and after AT_LEAST_EVERY anyway."""
    notes = connection.notifies(timeout=AT_LEAST_EVERY.total_seconds())
    with suppress(StopAsyncIteration):
        async with aclosing(notes):
            async for note in notes:
                if note.channel == CHANGED or concerns(note.payload, (channel_id,)):
                    return
