"""Migrations, the channel catalogue, and that the database explains itself."""

from __future__ import annotations

import csv
import json
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql as pgsql

from peebot_local.embedded_postgres import EmbeddedPostgres
from sql.migrate import load_channels, migrate

CATALOGUE = Path(__file__).parents[2] / "sql" / "channels.csv"
KINDS = {"quantity", "state", "counter", "time"}


@pytest.fixture
def empty_database(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    name = f"empty_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(pgsql.SQL("CREATE DATABASE {}").format(pgsql.Identifier(name)))
    yield name
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(pgsql.SQL("DROP DATABASE {} WITH (FORCE)").format(pgsql.Identifier(name)))


@pytest.fixture(scope="module")
def catalogue() -> list[dict[str, str]]:
    with CATALOGUE.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def public_list() -> list[dict[str, str]]:
    recordings = Path(os.environ.get("PEEBOT_RECORDINGS", CATALOGUE.parents[2] / "shared" / "data"))
    path = recordings / "pui_catalog.csv"
    if not path.exists():
        pytest.skip(f"{path} is not here; set PEEBOT_RECORDINGS to the folder with pui_catalog.csv")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def state_of(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return (
        connection.execute(
            "SELECT xmin::text, ctid::text, * FROM telemetry_channel ORDER BY channel_id"
        ).fetchall()
        + connection.execute(
            "SELECT xmin::text, oid, relname FROM pg_class"
            " WHERE relnamespace = current_schema()::regnamespace ORDER BY oid"
        ).fetchall()
    )


@pytest.mark.every_edition
def test_migrating_again_changes_nothing_at_all(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        before = state_of(connection)
        migrate(database_url)
        assert state_of(connection) == before


def test_two_migrations_at_once_both_succeed(postgres_server: EmbeddedPostgres, empty_database: str) -> None:
    url = postgres_server.url(empty_database)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(migrate, [url, url]))
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM telemetry_channel").fetchone() == (337,)


def test_special_characters_and_parameters_of_the_url_survive(
    postgres_server: EmbeddedPostgres, empty_database: str
) -> None:
    role, password = f"own@{empty_database}", "p@ss:w/o?r#d%25 +é"
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(
            pgsql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                pgsql.Identifier(role), pgsql.Literal(password)
            )
        )
        connection.execute(
            pgsql.SQL("ALTER DATABASE {} OWNER TO {}").format(
                pgsql.Identifier(empty_database), pgsql.Identifier(role)
            )
        )
    url = (
        f"postgresql://{quote(role, safe='')}:{quote(password, safe='')}@/{empty_database}"
        f"?host=127.0.0.1&port={postgres_server.port()}&options=-c%20timezone%3DAsia/Tokyo&application_name=a%25b"
    )
    try:
        migrate(url)
        with psycopg.connect(postgres_server.url(empty_database)) as connection:
            assert connection.execute(
                "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'telemetry_channel'"
            ).fetchone() == (role,)
    finally:
        with psycopg.connect(postgres_server.url(empty_database), autocommit=True) as connection:
            connection.execute(pgsql.SQL("DROP OWNED BY {0} CASCADE").format(pgsql.Identifier(role)))
            connection.execute(
                pgsql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(pgsql.Identifier(empty_database))
            )
            connection.execute(pgsql.SQL("DROP ROLE {}").format(pgsql.Identifier(role)))


@pytest.mark.every_edition(one_connection=True)
def test_the_catalogue_adopts_a_channel_that_the_feed_had_first(connection: psycopg.Connection) -> None:
    added = connection.execute(
        "INSERT INTO telemetry_channel (item_id, name, subsystem, kind, catalogued)"
        " VALUES ('NODE3000099', 'NODE3000099', 'unknown', 'unknown', false) RETURNING channel_id"
    ).fetchone()
    assert added is not None
    assert added[0] >= 10001
    known = CATALOGUE.read_text("utf-8")
    load_channels(connection, known + '338,NODE3000099,New thing,Water,%,quantity,,"What it is, shortly."\n')
    select = (
        "SELECT channel_id, name, unit, kind, catalogued FROM telemetry_channel WHERE item_id = 'NODE3000099'"
    )
    assert connection.execute(select).fetchall() == [(added[0], "New thing", "%", "quantity", True)]
    load_channels(connection, known)
    assert connection.execute(select).fetchall() == [(added[0], "New thing", "%", "quantity", False)]


def test_every_channel_of_the_catalogue_is_complete_and_consistent(catalogue: list[dict[str, str]]) -> None:
    assert len(catalogue) == 337
    for column in ("channel_id", "item_id", "name"):
        assert len({row[column] for row in catalogue}) == 337, column
    for row in catalogue:
        assert 1 <= int(row["channel_id"]) <= 10000
        assert row["kind"] in KINDS, row
        assert len(row["name"]) <= 40, row
        assert row["subsystem"], row
        assert row["description"].endswith("."), row
        if row["states"]:
            states = json.loads(row["states"])
            assert row["kind"] == "state", row
            assert all(str(int(number)) == number and name for number, name in states.items()), row
        if row["kind"] == "state":
            assert row["unit"] == "", row


def test_the_catalogue_has_exactly_the_items_of_the_public_list(
    catalogue: list[dict[str, str]], public_list: list[dict[str, str]]
) -> None:
    assert {row["item_id"] for row in catalogue} == {row["public_pui"] for row in public_list}


def test_the_catalogue_is_worded_by_ourselves(
    catalogue: list[dict[str, str]], public_list: list[dict[str, str]]
) -> None:
    theirs = {row[column].lower() for row in public_list for column in ("description", "ops_nom", "eng_nom")}
    ours = {row[column].lower().rstrip(".") for row in catalogue for column in ("name", "description")}
    assert ours & theirs == set()


def test_states_have_the_numbers_of_the_public_list(
    catalogue: list[dict[str, str]], public_list: list[dict[str, str]]
) -> None:
    ours = {row["item_id"]: row for row in catalogue}
    for row in public_list:
        if row["enum"]:
            names = [part for part in row["enum"].replace("|", ";").split(";") if part.strip()]
            numbers = {name.split("=")[0].strip() for name in names}
            assert set(json.loads(ours[row["public_pui"]]["states"])) == numbers, row["public_pui"]


def test_the_level_and_the_state_of_the_urine_system_are_not_mixed_up(
    catalogue: list[dict[str, str]],
) -> None:
    ours = {row["item_id"]: row for row in catalogue}
    assert (ours["NODE3000004"]["kind"], ours["NODE3000005"]["kind"]) == ("state", "quantity")
    assert json.loads(ours["NODE3000004"]["states"])["16"] == "normal"
    assert ours["NODE3000005"]["unit"] == "%"


@pytest.mark.every_edition(one_connection=True)
def test_every_table_column_view_and_function_says_what_it_is(connection: psycopg.Connection) -> None:
    connection.execute("SELECT create_telemetry_chunks('2025-01-01 00:00+00', '2025-01-01 00:00+00')")
    silent = connection.execute(
        """
        WITH described AS (
            SELECT c.oid, 'pg_class'::regclass AS catalogue, c.relname::text AS name,
                obj_description(c.oid, 'pg_class') AS text
            FROM pg_class c
            WHERE c.relkind IN ('r', 'p', 'v', 'm') AND c.relnamespace = current_schema()::regnamespace
            UNION ALL
            SELECT c.oid, 'pg_class'::regclass, c.relname || '.' || a.attname,
                col_description(c.oid, a.attnum)
            FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            WHERE c.relkind IN ('r', 'p', 'v', 'm') AND c.relnamespace = current_schema()::regnamespace
            UNION ALL
            SELECT p.oid, 'pg_proc'::regclass, p.oid::regprocedure::text, obj_description(p.oid, 'pg_proc')
            FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace
        )
        SELECT name FROM described
        WHERE text IS NULL AND NOT EXISTS (
            SELECT FROM pg_depend WHERE objid = oid AND classid = catalogue AND deptype = 'e'
        )
        """
    ).fetchall()
    assert silent == []
