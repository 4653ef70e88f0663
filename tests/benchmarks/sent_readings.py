"""Three sends of a load, and the readings that a daemon makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from benchmarks.harness.load import Send, item_of, value_of
from ingest_daemon.reading import Reading

ITEMS = ("NODE3000004", "NODE3000005", "TIME_000001")
SENDS = (Send(0, 500, 1_735_689_600_123), Send(500, 499, 1_735_689_601_999), Send(999, 1, 1_735_689_602_000))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def readings(sends: Sequence[Send]) -> list[Reading]:
    return [
        reading(number, _EPOCH + timedelta(milliseconds=send.ts_ms))
        for send in sends
        for number in range(send.first, send.first + send.count)
    ]


def reading(number: int, ts: datetime, event_id: int | None = None) -> Reading:
    value = value_of(number)
    return Reading(
        item=item_of(number, ITEMS), ts=ts, received_at=ts, value=float(value), raw_value=value,
        status_class=24, is_snapshot=False, event_id=number if event_id is None else event_id,
    )  # fmt: skip
