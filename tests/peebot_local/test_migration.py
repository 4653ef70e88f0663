"""The migration of a PeeBot that starts: in a process of its own, and told of as if it were not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from peebot_local.database import create_database
from peebot_local.embedded_postgres import EmbeddedPostgres
from peebot_local.errors import MendableError
from peebot_local.migration import migrate_in_a_child

ALONE = """
import sys
from pathlib import Path
import peebot_local.runner
from peebot_local.migration import migrate_in_a_child
migrate_in_a_child(sys.argv[1], Path(sys.argv[2]))
assert not {"alembic", "sqlalchemy", "pandas", "dagster"} & set(sys.modules), "loaded all the same"
"""


def test_both_databases_are_migrated_and_who_asked_has_loaded_nothing_for_it(
    postgres_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    create_database(postgres_server.url("postgres"), "child")
    url = postgres_server.url("child")
    subprocess.run([sys.executable, "-P", "-c", ALONE, url, str(tmp_path)], check=True)
    for database, table in ((url, "telemetry_reading"), (postgres_server.url("child_dagster"), "runs")):
        with psycopg.connect(database) as connection:
            assert connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone() == (True,)


def test_what_the_child_was_told_to_mend_is_what_the_parent_tells(database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(MendableError, match="run the newer version of PeeBot") as told:
        migrate_in_a_child(database_url, tmp_path)
    assert "\n" not in str(told.value)


def test_a_child_that_dies_without_a_word_is_an_error(
    database_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # A file where the folder should be is nothing that the child knows how to tell.
    (tmp_path / "dagster").write_text("")
    with pytest.raises(MendableError, match="exit code 1; what it said is above"):
        migrate_in_a_child(database_url, tmp_path / "dagster")
    assert "FileExistsError" in capfd.readouterr().err
