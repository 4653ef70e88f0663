"""Telemetry in a real store, a real Dagster instance on PostgreSQL, and a detector easy to foretell."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from psycopg import sql as pgsql

from peebot_dagster.defs.live import live_detection_sensors
from peebot_dagster.defs.resources import Store
from peebot_dagster.detectors.detector import DetectedEvent, Detector, Window, event_id
from peebot_local.database import DAGSTERS_OWN
from peebot_local.embedded_postgres import EmbeddedPostgres

ROOT = Path(__file__).parents[3]

LEVEL = "NODE3000005"
DAY = datetime(2025, 3, 1, tzinfo=UTC)


@dataclass(frozen=True)
class JumpDetector:
    """A jump is a rise by 2 or more between two readings; it closes after a minute."""

    name: str = "jump"
    version: str = "1"
    items: tuple[str, ...] = (LEVEL,)
    event_types: tuple[str, ...] = ("jump",)
    look_back: timedelta = timedelta(minutes=10)
    settle: timedelta = timedelta(minutes=2)
    trigger_interval: timedelta = timedelta(0)

    def detect(self, window: Window) -> list[DetectedEvent]:
        readings = window.readings
        rises = readings["value"].diff()
        found = []
        for ts, rise in zip(readings["ts"][rises >= 2], rises[rises >= 2], strict=True):
            moment = ts.to_pydatetime()
            closed = window.end >= moment + timedelta(minutes=1)
            found.append(
                DetectedEvent(
                    event_id(self.name, LEVEL, moment),
                    self.name,
                    self.version,
                    "jump",
                    LEVEL,
                    moment,
                    moment,
                    "closed" if closed else "open",
                    0.9 if closed else 0.5,
                    {"amount_percent": rise},
                )
            )
        return found


@dataclass(frozen=True)
class BrokenDetector(JumpDetector):
    """Fails at each window."""

    name: str = "broken"

    def detect(self, window: Window) -> list[DetectedEvent]:
        raise ZeroDivisionError("by design")


@pytest.fixture(autouse=True)
def as_dagsters_processes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in DAGSTERS_OWN.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def jump() -> JumpDetector:
    return JumpDetector()


@pytest.fixture
def broken() -> BrokenDetector:
    return BrokenDetector()


@pytest.fixture
def day() -> datetime:
    """The midnight (UTC) at which the tests' telemetry begins; in the past, as partitions must be."""
    return DAY


Reading = tuple[datetime, float]
StoreReadings = Callable[[Sequence[Reading]], None]


@pytest.fixture
def store_readings(connection: psycopg.Connection) -> StoreReadings:
    """Stores readings of the level as the ingest daemon does: once each, and bumping the hours' revisions."""

    def store(readings: Sequence[Reading], item: str = LEVEL) -> None:
        if not readings:
            return
        times = [ts for ts, _ in readings]
        connection.execute("SELECT create_telemetry_chunks(%s, %s)", (min(times), max(times)))
        connection.execute(
            """
            WITH stored AS (
                INSERT INTO telemetry_reading
                SELECT c.channel_id, r.ts, r.ts, r.value, r.value::text, 24, false,
                       hashtextextended(r.ts::text || r.value::text, 0)
                FROM unnest(%s::timestamptz[], %s::float8[]) AS r (ts, value)
                JOIN telemetry_channel c ON c.item_id = %s
                ON CONFLICT DO NOTHING RETURNING ts
            )
            INSERT INTO telemetry_revision AS t (hour, revision, readings)
            SELECT date_trunc('hour', ts, 'UTC'), count(*), count(*) FROM stored GROUP BY 1 ORDER BY 1
            ON CONFLICT (hour) DO UPDATE SET revision = t.revision + excluded.revision,
                readings = t.readings + excluded.readings, updated_at = clock_timestamp()
            """,
            (times, [value for _, value in readings], item),
        )
        connection.commit()

    return store


@pytest.fixture
def live_link(connection: psycopg.Connection) -> Callable[..., None]:
    """Says that the link was LIVE from … to …, according to a source."""

    def say(start: datetime, end: datetime, source: str = "isslive") -> None:
        connection.execute(
            "INSERT INTO link_interval (source, state, started_at, last_seen_at, ended_at)"
            " VALUES (%s, 'LIVE', %s, %s, %s)",
            (source, start, end, end),
        )
        connection.commit()

    return say


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def dagster_database(postgres_server: EmbeddedPostgres) -> Iterator[dict[str, str]]:
    """The environment that dagster.yaml asks for, with a fresh database for Dagster."""
    name = f"dagster_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(pgsql.SQL("CREATE DATABASE {}").format(pgsql.Identifier(name)))
    yield {"DAGSTER_PG_URL": postgres_server.url(name).replace("postgresql:", "postgresql+psycopg2:", 1)}
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(pgsql.SQL("DROP DATABASE {} WITH (FORCE)").format(pgsql.Identifier(name)))


@pytest.fixture
def postgres_instance(
    dagster_database: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance with the project's own dagster.yaml."""
    for name, value in dagster_database.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def tick(database_url: str, instance: dg.DagsterInstance) -> Callable[..., dg.SensorResult]:
    """One evaluation of live_detection as the sensor daemon makes it, without waiting; `late` by so long.

    All are made at the same moment but for that, however long they take.
    """
    moment = datetime.now(UTC)

    def evaluate(*detectors: Detector, late: timedelta = timedelta(0)) -> dg.SensorResult:
        sensor, _ = live_detection_sensors(detectors, timedelta(0), lambda: moment + late)
        context = dg.build_sensor_context(
            instance=instance, resources={"store": Store(database_url=database_url)}
        )
        result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        return result

    return evaluate
