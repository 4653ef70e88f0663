from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from evaluation.labels import Label, LabelError, read_labels


def written(folder: Path, *lines: str) -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_labels_are_read_with_and_without_an_end_and_an_amount(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "started_at,ended_at,kind,amount_percent",
        "2025-01-02T06:00:00Z,2025-01-02T06:00:20Z,toilet_visit,3.0",
        "2025-01-02 07:00:00+01:00,,transfer,",
    )
    six = datetime(2025, 1, 2, 6, tzinfo=UTC)
    assert read_labels(path) == [
        Label("toilet_visit", six, six.replace(second=20), 3),
        Label("transfer", six, six),
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["started_at,kind"], "labels.csv:1: no column ended_at"),
        (["started_at,ended_at,kind", "noon,,visit"], "labels.csv:2: "),
        (["started_at,ended_at,kind", "2025-01-02,,"], "labels.csv:2: kind is empty"),
    ],
)
def test_what_is_no_label_is_named_with_its_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(LabelError, match=re.escape(message)):
        read_labels(written(tmp_path, *lines))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"nothing\.csv: cannot be read"):
        read_labels(tmp_path / "nothing.csv")
