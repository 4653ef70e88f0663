"""When readings of one channel, visits and posts were committed, as a bystander sees it by notifications."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import psycopg

_VISIT, _POST = "bench_visit", "bench_post"
_TELL = """
CREATE FUNCTION bench_tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify(TG_ARGV[0], NEW.event_id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER bench_visit AFTER INSERT OR UPDATE ON detected_event FOR EACH ROW
    WHEN (NEW.event_type = 'toilet_visit' AND NEW.state <> 'retracted')
    EXECUTE FUNCTION bench_tell('bench_visit');
CREATE TRIGGER bench_post AFTER INSERT OR UPDATE ON post FOR EACH ROW
    WHEN (NEW.state = 'dry_run') EXECUTE FUNCTION bench_tell('bench_post');
"""


@dataclass
class Seen:
    """The moments (seconds since 1970) of commits: of the channel; of visits and posts by event id."""

    readings: list[float] = field(default_factory=list)
    visits: dict[str, float] = field(default_factory=dict)
    posts: dict[str, float] = field(default_factory=dict)


class EventLog:
    """Listens in a thread; the database must be the benchmark's own, as it gets two triggers."""

    def __init__(self, database_url: str, channel_id: int) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True)
        self._connection.execute(_TELL)
        for name in ("telemetry_stored", _VISIT, _POST):
            self._connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(name)))
        self._channel = str(channel_id)
        self._stop = threading.Event()
        self.changed = threading.Event()
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
                if note.channel == _VISIT:
                    self.seen.visits.setdefault(note.payload, now)
                elif note.channel == _POST:
                    self.seen.posts.setdefault(note.payload, now)
                elif self._channel in note.payload.split(","):
                    self.seen.readings.append(now)
                else:
                    continue
                self.changed.set()
