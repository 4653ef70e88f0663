from __future__ import annotations

from pathlib import Path

from peebot_local.log_files import last_lines, rotate


def test_a_large_log_is_moved_aside_while_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "ingest.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 100)
        rotate(log, largest=300)
        writer.write(b"new\n")
    assert log.read_text() == "new\n"
    assert (tmp_path / "ingest.log.1").read_text() == "old\n" * 100


def test_a_small_log_stays_where_it_is(tmp_path: Path) -> None:
    log = tmp_path / "ingest.log"
    log.write_text("a line\n")
    rotate(log, largest=300)
    rotate(tmp_path / "missing.log")
    assert log.read_text() == "a line\n"


def test_the_last_lines_of_a_huge_log_come_without_reading_it_all(tmp_path: Path) -> None:
    log = tmp_path / "ingest.log"
    log.write_text("\n".join(f"line {number}" for number in range(100_000)) + "\n\n")
    assert last_lines(log, 2) == ("line 99998", "line 99999")
    assert last_lines(tmp_path / "missing.log") == ()
