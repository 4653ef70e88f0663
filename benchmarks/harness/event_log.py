"""When readings, changes of the link, events and posts were committed, as notifications tell a bystander."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import psycopg

_READING, _CHANGE, _EVENT, _POST = "telemetry_stored", "peebot_changed", "bench_event", "bench_post"
_TELL = """
CREATE FUNCTION bench_tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify(TG_ARGV[0], concat_ws(' ', to_jsonb(NEW) ->> 'event_type', NEW.event_id));
    RETURN NULL;
END $$;
CREATE TRIGGER bench_event AFTER INSERT OR UPDATE ON detected_event FOR EACH ROW
    WHEN (NEW.state <> 'retracted') EXECUTE FUNCTION bench_tell('bench_event');
CREATE TRIGGER bench_post AFTER INSERT OR UPDATE ON post FOR EACH ROW
    WHEN (NEW.state = 'dry_run') EXECUTE FUNCTION bench_tell('bench_post');
"""


@dataclass
class Seen:
    """The moments (seconds since 1970) of commits.

    `readings` by channel id; `events`, the first of each, by type and id; `posts` by event id; `changes` of
    the link.
    """

    readings: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    events: defaultdict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    posts: dict[str, float] = field(default_factory=dict)
    changes: list[float] = field(default_factory=list)


class EventLog:
    """Listens in a thread; the database must be the benchmark's own, as it gets two triggers."""

    def __init__(self, database_url: str) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True)
        self._connection.execute(_TELL)
        for name in (_READING, _CHANGE, _EVENT, _POST):
            self._connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(name)))
        self._stop = threading.Event()
        self.seen = Seen()
        self._thread = threading.Thread(target=self._listen, name="event log", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._connection.close()

    def _listen(self) -> None:
        while not self._stop.is_set():
            for note in self._connection.notifies(timeout=0.2):
                now = time.time()
                if note.channel == _EVENT:
                    event_type, event = note.payload.split()
                    self.seen.events[event_type].setdefault(event, now)
                elif note.channel == _POST:
                    self.seen.posts.setdefault(note.payload, now)
                elif note.channel == _CHANGE:
                    self.seen.changes += [now] if note.payload == "link_interval" else []
                else:
                    for channel in filter(None, note.payload.split(",")):
                        self.seen.readings[int(channel)].append(now)
