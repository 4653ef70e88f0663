"""Visits in the store, as a detector writes them."""

from __future__ import annotations

from datetime import datetime

import psycopg


def insert_event(connection: psycopg.Connection, started_at: datetime, confidence: float = 0.95) -> None:
    connection.execute(
        "INSERT INTO detected_event (event_id, detector, detector_version, event_type, started_at, ended_at,"
        " state, confidence, payload) VALUES (gen_random_uuid(), 'urine_tank', '1', 'toilet_visit', %s, %s,"
        """ 'closed', %s, '{"amount_percent": 4, "amount_ml": 330}')""",
        (started_at, started_at, confidence),
    )
    connection.commit()
