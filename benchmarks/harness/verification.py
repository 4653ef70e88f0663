"""What is in the store against what was sent: lost, doubled, changed, and how long it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from benchmarks.harness.commit_log import Look, commit_times
from benchmarks.harness.load import Send, checksum
from benchmarks.harness.quantiles import Weighted

_STORED = """
SELECT count(*),
       count(DISTINCT r.value) FILTER (
           WHERE 8 * r.value >= 0 AND 8 * r.value < %(sent)s AND 8 * r.value = floor(8 * r.value)
       ),
       coalesce(sum(('x' || left(md5(
           c.item_id || ' ' || (extract(epoch FROM r.ts) * 1000)::bigint || ' ' || r.raw_value
       ), 15))::bit(60)::bigint), 0)
FROM telemetry_reading r JOIN telemetry_channel c USING (channel_id)
"""
_REJECTED = "SELECT reason, count(*) FROM rejected_reading GROUP BY reason ORDER BY reason"
_TRANSACTIONS = """
SELECT xmin::text::bigint, (extract(epoch FROM ts) * 1000)::bigint, count(*)
FROM telemetry_reading GROUP BY 1, 2
"""


@dataclass(frozen=True)
class Comparison:
    """Updates sent and rows stored; `is_same` when count and checksum agree."""

    sent: int
    stored: int
    lost: int
    doubled: int
    is_same: bool
    rejected: dict[str, int]


def compare(connection: psycopg.Connection, sends: Sequence[Send], items: Sequence[str]) -> Comparison:
    """Compare what the source has sent with all that is in telemetry_reading."""
    sent = sum(send.count for send in sends)
    row = connection.execute(_STORED, {"sent": sent}).fetchone()
    assert row is not None  # noqa: S101  an aggregate without GROUP BY has one row
    stored, distinct, stored_checksum = row
    return Comparison(
        sent=sent,
        stored=stored,
        lost=sent - distinct,
        doubled=stored - distinct,
        is_same=stored == sent and int(stored_checksum) == checksum(sends, items),
        rejected=dict(connection.execute(_REJECTED).fetchall()),
    )


def delays_ms(connection: psycopg.Connection, looks: tuple[Look, ...]) -> Weighted:
    """Milliseconds from the stamp that the source gave an update to the first sight of its committed row."""
    rows = connection.execute(_TRANSACTIONS).fetchall()
    seen = commit_times({transaction for transaction, _, _ in rows}, looks)
    return Weighted.of((seen[transaction] - ts_ms, count) for transaction, ts_ms, count in rows)
