from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from peebot_dagster.detectors.candidate import candidate_id
from peebot_dagster.detectors.urine_tank import UrineTankDetector
from peebot_local.compare import as_tables, compare_stored
from peebot_local.errors import MendableError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def store(
    connection: psycopg.Connection, event_id: uuid.UUID, candidate: bool, confidence: float, hour: int = 0
) -> None:
    connection.execute(
        "INSERT INTO detected_event (event_id, detector, detector_version, event_type, started_at, state,"
        " confidence, payload) VALUES (%s, %s, %s, %s, %s, 'closed', %s, '{}')",
        (
            event_id,
            "urine_tank_candidate" if candidate else "urine_tank",
            "2" if candidate else "1",
            "candidate_toilet_visit" if candidate else "toilet_visit",
            NOON + timedelta(hours=hour),
            confidence,
        ),
    )
    connection.commit()


def test_what_a_candidate_stored_is_compared_with_what_the_detector_stored(
    connection: psycopg.Connection, database_url: str
) -> None:
    same, changed = uuid.uuid4(), uuid.uuid4()
    for number, event_id in enumerate((same, changed)):
        store(connection, event_id, candidate=False, confidence=0.5, hour=number)
        store(connection, candidate_id(event_id), candidate=True, confidence=0.5 + number * 0.25, hour=number)
    store(connection, uuid.uuid4(), candidate=False, confidence=0.5, hour=5)
    compared = compare_stored(UrineTankDetector(), database_url, NOON, NOON + DAY)
    assert [event.event_id for event in compared.same] == [same]
    assert [(c.before.event_id, c.fields) for c in compared.changed] == [(changed, ("confidence",))]
    assert [event.started_at for event in compared.gone] == [NOON + timedelta(hours=5)]
    assert [table.row_count for table in as_tables(compared)] == [1, 2]


def test_without_a_candidate_the_user_is_told_how_to_get_one(database_url: str) -> None:
    with pytest.raises(MendableError, match="PEEBOT_CANDIDATES"):
        compare_stored(UrineTankDetector(), database_url, NOON, NOON + DAY)
