from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest_daemon.reading import (
    MAX_OTHER_TEXT,
    MAX_TEXT,
    InvalidFieldError,
    RawUpdate,
    Reading,
    Rejection,
    clipped,
    event_time,
    parse,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW_HOURS = "1452.0"


def update(**changes: Any) -> RawUpdate:
    base = RawUpdate(
        item="NODE3000005",
        timestamp=NOW_HOURS,
        value="17",
        status_class="24",
        status_indicator=None,
        status_color=None,
        calibrated="17",
        is_snapshot=False,
        received_at=NOW,
    )
    return base._replace(**changes)


def hours(moment: datetime, year: int | None = None) -> str:
    january_0 = datetime(year or moment.year, 1, 1, tzinfo=UTC) - timedelta(days=1)
    return repr((moment - january_0) / timedelta(hours=1))


# Hypothesis wants its bounds without a zone.
FIRST, LAST = (datetime(year, 1, 1) for year in (2019, 2033))  # noqa: DTZ001
moments = st.datetimes(FIRST, LAST, timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)


@pytest.mark.parametrize(
    ("stamp", "received_at", "expected"),
    [
        ("24.0", "2025-01-01T00:00:00", "2025-01-01T00:00:00"),
        ("24.0", "2024-12-31T23:59:30", "2025-01-01T00:00:00"),
        ("8808.0", "2025-01-01T00:00:00", "2025-01-01T00:00:00"),
        ("8783.9997222", "2024-12-30T23:59:59", "2024-12-30T23:59:59"),
        ("8807.9997222", "2024-12-31T23:59:59", "2024-12-31T23:59:59"),
        ("8807.9997222", "2025-01-01T00:00:05", "2024-12-31T23:59:59"),
        ("8783.9997222", "2026-01-01T00:00:05", "2025-12-31T23:59:59"),
        ("1440.0", "2024-02-29T00:00:00", "2024-02-29T00:00:00"),
        ("1440.0", "2025-03-01T00:00:00", "2025-03-01T00:00:00"),
        ("7644.5", "2026-01-08T00:00:00", "2025-11-14T12:30:00"),
        ("8814.0", "2026-01-02T06:00:00", "2026-01-02T06:00:00"),
    ],
)
def test_a_timestamp_means_the_latest_moment_that_is_not_ahead_of_the_clock(
    stamp: str, received_at: str, expected: str
) -> None:
    received = datetime.fromisoformat(received_at).replace(tzinfo=UTC)
    assert event_time(stamp, received) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@given(moments, st.timedeltas(timedelta(minutes=-10), timedelta(days=363)))
@example(datetime(2025, 1, 1, tzinfo=UTC), timedelta(seconds=-1))
@example(datetime(2024, 2, 29, 12, tzinfo=UTC), timedelta(days=363))
@example(datetime(2025, 11, 14, tzinfo=UTC), timedelta(days=55))
def test_a_moment_of_the_last_twelve_months_survives_the_feeds_hours(
    moment: datetime, age: timedelta
) -> None:
    assert event_time(hours(moment), moment + age) == moment


@given(
    st.integers(2019, 2033),
    st.integers(0, 30 * 86_400),
    st.timedeltas(timedelta(minutes=-10), timedelta(days=330)),
)
def test_hours_counted_past_the_years_end_mean_the_next_january(
    year: int, seconds: int, age: timedelta
) -> None:
    moment = datetime(year + 1, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    assert event_time(hours(moment, year), moment + age) == moment


@given(moments, st.timedeltas(timedelta(minutes=-10), timedelta(days=300)))
def test_the_receivers_time_zone_does_not_matter(moment: datetime, age: timedelta) -> None:
    received = (moment + age).astimezone(timezone(timedelta(hours=9)))
    assert event_time(hours(moment), received) == moment


@given(st.floats(min_value=0.001, max_value=9552), moments)
def test_no_timestamp_is_dated_ahead_of_the_clock(stamp: float, received_at: datetime) -> None:
    try:
        dated = event_time(repr(stamp), received_at)
    except InvalidFieldError:
        return
    assert received_at - timedelta(days=732) < dated <= received_at + timedelta(minutes=10)


@pytest.mark.parametrize(
    ("stamp", "reason"),
    [
        (None, "timestamp_missing"),
        ("", "timestamp_missing"),
        ("0", "timestamp_not_positive"),
        ("0.0", "timestamp_not_positive"),
        ("-24", "timestamp_not_positive"),
        ("noon", "timestamp_not_a_number"),
        ("NaN", "timestamp_not_a_number"),
        ("inf", "timestamp_not_a_number"),
        ("1_428", "timestamp_not_a_number"),
        ("٢٤", "timestamp_not_a_number"),
        (" ", "timestamp_not_a_number"),
        ("1e309", "timestamp_out_of_range"),
        ("1e12", "timestamp_out_of_range"),
        ("9552.1", "timestamp_out_of_range"),
    ],
)
def test_a_timestamp_that_is_none_is_rejected_with_a_reason(stamp: str | None, reason: str) -> None:
    rejection = parse(update(timestamp=stamp))
    assert isinstance(rejection, Rejection)
    assert rejection.reason == reason
    assert rejection.fields["TimeStamp"] == stamp


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"value": None}, "value_missing"),
        ({"value": ""}, "value_missing"),
        ({"value": "  "}, "value_missing"),
        ({"value": "NaN"}, "value_not_finite"),
        ({"value": "-Infinity"}, "value_not_finite"),
        ({"value": "1e309"}, "value_not_finite"),
        ({"value": "9" * 400}, "value_not_finite"),
        ({"value": "x" * 1001}, "value_too_long"),
        ({"timestamp": "7870." + "1" * 96}, "timestamp_not_a_number"),
        ({"value": "a\x00b"}, "value_not_storable"),
        ({"value": "\ud800"}, "value_not_storable"),
        ({"status_class": "good"}, "status_class_not_a_number"),
        ({"item": "NODE 3"}, "item_name_invalid"),
        ({"item": ""}, "item_name_invalid"),
    ],
)
def test_a_field_that_breaks_the_rules_is_rejected_with_a_reason(
    changes: dict[str, Any], reason: str
) -> None:
    rejection = parse(update(**changes))
    assert isinstance(rejection, Rejection)
    assert rejection.reason == reason


def test_of_what_is_too_long_no_more_is_kept_than_it_takes_to_reject_it() -> None:
    kept = clipped(("1" * 16_000, "x" * 16_000, "2" * 16_000, None, "", "y" * 16_000))
    assert [None if text is None else len(text) for text in kept] == [101, 1001, 101, None, 0, 101]


FIELDS_OF_AN_UPDATE = (NOW_HOURS, "17", "24", None, "", "17")


@given(st.integers(0, 5), st.sampled_from(["1", "x", " ", "\x00", "é"]), st.integers(1, 3000))
def test_what_is_clipped_is_rejected_or_read_as_if_it_was_whole(which: int, unit: str, length: int) -> None:
    fields = list(FIELDS_OF_AN_UPDATE)
    fields[which] = unit * length

    def verdict(texts: Any) -> tuple[type, object, object]:
        result = parse(RawUpdate("NODE3000005", *texts, False, NOW))
        if isinstance(result, Rejection):
            return Rejection, result.reason, None
        return Reading, result.raw_value, result.event_id

    assert verdict(clipped(fields)) == verdict(fields)
    assert len(clipped(fields)[1] or "") <= MAX_TEXT + 1
    assert all(len(text or "") <= MAX_OTHER_TEXT + 1 for text in (*clipped(fields)[:1], *clipped(fields)[2:]))


def test_an_update_of_an_unknown_channel_is_a_reading() -> None:
    reading = parse(update(item="LUNA000001", value="-1.5e-3"))
    assert isinstance(reading, Reading)
    assert (reading.item, reading.value, reading.raw_value) == ("LUNA000001", -0.0015, "-1.5e-3")


def test_text_is_a_reading_without_a_number() -> None:
    reading = parse(update(value="OPEN", status_class=None))
    assert isinstance(reading, Reading)
    assert (reading.value, reading.raw_value, reading.status_class) == (None, "OPEN", None)


texts = st.none() | st.text(st.characters(codec=None), max_size=40)


@given(texts, texts, texts, texts, texts, st.text(max_size=20), moments)
def test_whatever_comes_is_a_reading_or_a_rejection_that_postgresql_can_hold(
    stamp: str | None,
    value: str | None,
    status: str | None,
    colour: str | None,
    calibrated: str | None,
    item: str,
    received_at: datetime,
) -> None:
    result = parse(RawUpdate(item, stamp, value, status, None, colour, calibrated, False, received_at))
    is_reading = isinstance(result, Reading)
    held = [result.raw_value] if is_reading else [result.item, *map(str, result.fields.values())]
    for text in held:
        assert "\x00" not in text
        text.encode()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["A1", "A12"]),
            st.sampled_from(["24.5", "24.50", "2"]),
            st.sampled_from(["1", "11", "1\x1f24", "x"]),
            st.sampled_from(["24", "2", None]),
        )
    )
)
def test_two_updates_share_an_id_only_when_item_stamp_value_and_class_are_the_same(
    fields: list[tuple[str, str, str, str | None]],
) -> None:
    ids = {}
    for item, stamp, value, status in fields:
        reading = parse(update(item=item, timestamp=stamp, value=value, status_class=status))
        assert isinstance(reading, Reading)
        assert -(2**63) <= reading.event_id < 2**63
        ids[item, stamp, value, status] = reading.event_id
    assert len(set(ids.values())) == len(ids)


def test_the_id_of_an_update_never_changes_between_releases() -> None:
    reading = parse(update())
    again = parse(update(is_snapshot=True, received_at=NOW + timedelta(hours=3)))
    assert isinstance(reading, Reading)
    assert isinstance(again, Reading)
    assert reading.event_id == again.event_id == 171862616758911353
