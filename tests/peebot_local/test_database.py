from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.pool import NullPool
from typer.testing import CliRunner

from peebot_dagster.store import with_time_outs
from peebot_dagster.watch import LONGEST
from peebot_local.cli import app
from peebot_local.database import (
    create_database,
    dagster_environment,
    dagster_url,
    describe,
    mendable,
    migrate_databases,
    prepare_dagster_home,
    reachable,
    require_known_schema,
    wait_for_database,
)
from peebot_local.embedded_postgres import EmbeddedPostgres, free_port
from peebot_local.errors import MendableError
from sql.migrate import migrate


def test_a_server_that_is_not_there_is_one_line_without_the_password(tmp_path: Path) -> None:
    url = f"postgresql://me:hush@127.0.0.1:{free_port()}/peebot"
    with pytest.raises(MendableError, match="cannot reach the database peebot on ") as failure:
        migrate_databases(url, tmp_path)
    assert "hush" not in str(failure.value)
    assert "\n" not in str(failure.value)
    assert "correct PEEBOT_DATABASE_URL" in str(failure.value)
    assert not reachable(url)


def test_a_wrong_password_and_a_missing_database_are_one_line(postgres_server: EmbeddedPostgres) -> None:
    for change, reason in (({"password": "wrong"}, "password"), ({"dbname": "missing"}, "does not exist")):
        url = make_conninfo(postgres_server.url("postgres"), **change)
        with pytest.raises(MendableError, match=reason), mendable(url):
            psycopg.connect(url)


def test_what_sqlalchemy_wraps_is_one_line_too() -> None:
    url = f"postgresql://me:hush@127.0.0.1:{free_port()}/peebot"
    with pytest.raises(MendableError, match="Connection refused"), mendable(url):
        migrate(url)


def test_a_database_without_the_schema_says_how_to_migrate_it(postgres_server: EmbeddedPostgres) -> None:
    url = postgres_server.url("postgres")
    with pytest.raises(MendableError, match=r"run '\./peebot migrate'"), mendable(url):
        psycopg.connect(url).execute("SELECT FROM telemetry_reading")


def test_a_full_disk_is_said_plainly(database_url: str) -> None:
    with pytest.raises(MendableError, match="is full; free some space"), mendable(database_url):
        raise errors.DiskFull("could not extend file")


def test_a_fault_of_ours_stays_one(database_url: str) -> None:
    with pytest.raises(errors.SyntaxError), mendable(database_url):
        psycopg.connect(database_url).execute("SELEKT")


def test_dagster_has_its_own_database_beside_ours(postgres_server: EmbeddedPostgres, tmp_path: Path) -> None:
    create_database(postgres_server.url("postgres"), "peebot_dagster")
    environment = dagster_environment(postgres_server.url("peebot"), tmp_path)
    assert asked(environment["DAGSTER_PG_URL"], "SELECT current_database()") == "peebot_dagster"


def test_a_migration_leaves_the_settings_of_a_dagster_that_runs_alone(
    database_url: str, tmp_path: Path
) -> None:
    prepare_dagster_home(tmp_path, workers=2)
    before = (tmp_path / "dagster.yaml").read_text()
    migrate_databases(database_url, tmp_path)
    assert (tmp_path / "dagster.yaml").read_text() == before
    assert asked(dagster_url(database_url), "SELECT to_regclass('runs') IS NOT NULL") == "True"


def test_dagster_waits_for_live_detection_while_a_day_of_readings_is_put_in_order(tmp_path: Path) -> None:
    environment = dagster_environment("postgresql://db/peebot", tmp_path)
    seconds = int(environment["DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS"])
    assert seconds == LONGEST.total_seconds(), "a watch is ended by the server when no tick can need it"


def test_dagster_reaches_its_database_with_all_that_libpq_is_told(postgres_server: EmbeddedPostgres) -> None:
    create_database(postgres_server.url("postgres"), "wide_dagster")
    url = make_conninfo(
        postgres_server.url("wide"),
        host="127.0.0.1,127.0.0.1",
        port=f"{free_port()},{postgres_server.port()}",
        sslmode="prefer",
        application_name="a name & more",
        options="-c statement_timeout=4321",
    )
    made = dagster_environment(url, Path("/nowhere"))["DAGSTER_PG_URL"]
    assert asked(made, "SHOW application_name") == "a name & more"
    assert asked(made, "SHOW statement_timeout") == "4321ms"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("host=/var/run/postgresql dbname=peebot", {"host": "/var/run/postgresql"}),
        ("postgresql://me@db/peebot?sslmode=verify-full&sslrootcert=%2Fa%20b.pem",
         {"host": "db", "user": "me", "sslmode": "verify-full", "sslrootcert": "/a b.pem"}),
        ("postgresql://me:h%2Fu%40s%2Bh%25@db/peebot", {"host": "db", "user": "me", "password": "h/u@s+h%"}),
        ("host=a,b port=5433 dbname=peebot", {"host": "a,b", "port": "5433,5433"}),
        ("postgresql://[::1]:5433/peebot", {"host": "::1", "port": "5433"}),
        ("postgresql:///peebot", {}),
    ],
)  # fmt: skip
def test_each_form_of_a_url_tells_dagsters_driver_the_same(url: str, told: dict[str, str]) -> None:
    made = sqlalchemy.make_url(dagster_url(url))
    _, arguments = made.get_dialect()().create_connect_args(made)
    assert made.drivername == "postgresql+psycopg2"
    patience = conninfo_to_dict(with_time_outs("dbname=peebot"))
    assert {name: str(value) for name, value in arguments.items()} == {
        **patience,
        "dbname": "peebot_dagster",
        **told,
    }


def test_dagsters_sessions_end_soon_after_their_client_has_vanished(
    database_url: str, tmp_path: Path
) -> None:
    migrate_databases(database_url, tmp_path)
    asked_for = "SELECT reset_val FROM pg_settings WHERE name = 'tcp_keepalives_idle'"
    assert asked(dagster_url(database_url), asked_for) == "10"


def asked(url: str, query: str) -> str:
    with sqlalchemy.create_engine(url, poolclass=NullPool).connect() as connection:
        return str(connection.execute(sqlalchemy.text(query)).scalar_one())


def test_a_migration_waits_for_a_database_that_comes_late(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tmp_path: Path
) -> None:
    asked = iter([False, False, True])
    monkeypatch.setattr("peebot_local.database.reachable", lambda url: next(asked))
    monkeypatch.setattr("peebot_local.database._POLL_S", 0.0)
    monkeypatch.setenv("PEEBOT_HOME", str(tmp_path))
    monkeypatch.setenv("PEEBOT_DATABASE_URL", database_url)
    result = CliRunner().invoke(app, ["migrate", "--wait", "600"])
    assert result.exit_code == 0
    assert result.output.count("Waiting up to 600 s for the database") == 1
    assert next(asked, None) is None


def test_a_database_that_does_not_come_is_waited_for_no_longer_than_asked() -> None:
    said: list[str] = []
    wait_for_database(f"postgresql://127.0.0.1:{free_port()}/peebot", 0.0, said.append)
    assert said == []


def test_a_server_starts_nothing_on_a_schema_that_is_not_migrated_but_all_when_the_database_is_away(
    database_url: str,
) -> None:
    require_known_schema(database_url, newest=True)
    require_known_schema(f"postgresql://127.0.0.1:{free_port()}/peebot", newest=True)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    require_known_schema(database_url)
    with pytest.raises(MendableError, match=r"its schema is 0001, .*run \./peebot migrate"):
        require_known_schema(database_url, newest=True)


def test_creating_a_database_again_changes_nothing(postgres_server: EmbeddedPostgres) -> None:
    for _ in range(2):
        create_database(postgres_server.url("postgres"), "made twice")
    assert reachable(postgres_server.url("made%20twice"))


def test_a_database_is_in_utf8_on_a_server_without_a_locale(ascii_server: EmbeddedPostgres) -> None:
    create_database(ascii_server.url("postgres"), "peebot")
    for name, encoding in (("postgres", "SQL_ASCII"), ("peebot", "UTF8")):
        with psycopg.connect(ascii_server.url(name)) as connection:
            assert connection.info.parameter_status("server_encoding") == encoding


def test_a_description_names_no_password() -> None:
    assert describe("postgresql://me:hush@db.example:5433/peebot") == "peebot on db.example:5433"
    assert describe("host=db.example dbname=peebot password=hush") == "peebot on db.example:5432"
