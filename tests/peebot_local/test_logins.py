"""The users that `migrate` makes for the parts of PeeBot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql as pgsql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from peebot_local.database import create_database, dagster_database
from peebot_local.embedded_postgres import EmbeddedPostgres, free_port
from peebot_local.errors import MendableError
from peebot_local.logins import ROLES, Login, logins_of, make_logins
from peebot_local.secret_files import SECRETS, secrets_of_files

URL = "postgresql://listener:s3cret@db/peebot"


def test_each_login_may_come_by_file(tmp_path: Path) -> None:
    assert set(ROLES) <= set(SECRETS)
    (tmp_path / "url").write_text(f"{URL}\n")
    found = logins_of(secrets_of_files({"PEEBOT_INGEST_URL_FILE": str(tmp_path / "url")}))
    assert found == (Login("PEEBOT_INGEST_URL", "peebot_ingest", "listener", URL),)
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"PEEBOT_INGEST_URL": "postgresql://listener@db/peebot"}, "PEEBOT_INGEST_URL has no password"),
        ({"PEEBOT_READER_URL": "postgresql://db/peebot"}, "PEEBOT_READER_URL has no user"),
        ({"PEEBOT_READER_URL": "postgresql://a:s3cret@db"}, "PEEBOT_READER_URL has no dbname"),
        ({"PEEBOT_READER_URL": "s3cret"}, "PEEBOT_READER_URL is no connection string"),
        ({"PEEBOT_READER_URL": "postgresql://peebot_ingest:s3cret@db/x"}, "that nobody logs in as"),
        ({"PEEBOT_READER_URL": URL, "PEEBOT_INGEST_URL": URL}, "2 logins have the user listener"),
    ],
)
def test_a_login_that_cannot_be_made_is_refused_in_one_line_without_its_password(
    environment: dict[str, str], why: str
) -> None:
    with pytest.raises(MendableError, match=why) as refusal:
        logins_of(environment)
    assert "s3cret" not in str(refusal.value)


Named = Callable[..., tuple[Login, ...]]


@pytest.fixture
def named(database_url: str, login_urls: dict[str, str]) -> Named:
    """Logins on the test's database, by their parts (`ingest="password"`)."""
    create_database(database_url, dagster_database(database_url))

    def name(**passwords: str) -> tuple[Login, ...]:
        return logins_of(
            {
                f"PEEBOT_{part.upper()}_URL": make_conninfo(login_urls[part], password=password)
                for part, password in passwords.items()
            }
        )

    return name


def rights(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [
            role
            for (role,) in connection.execute(
                "SELECT granted.rolname FROM pg_auth_members JOIN pg_roles AS granted ON granted.oid = roleid"
                " JOIN pg_roles AS own ON own.oid = member WHERE own.rolname = current_user"
            )
        ]


def test_each_login_is_a_member_of_its_role_alone_and_another_password_replaces_the_first(
    database_url: str, named: Named
) -> None:
    first = named(ingest="one", dagster="two", reader="three")
    make_logins(database_url, first)
    make_logins(database_url, first)
    assert [rights(login.url) for login in first] == [[login.role] for login in first]

    (later,) = named(reader="four")
    make_logins(database_url, [later])
    assert rights(later.url) == ["peebot_reader"]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(first[2].url)
    assert rights(first[0].url) == ["peebot_ingest"]


def test_the_server_is_never_told_a_password(
    database_url: str, named: Named, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    execute = psycopg.Connection.execute

    def overheard(self: psycopg.Connection, query: object, *more: object, **options: object) -> object:
        told.append(query.as_string(self) if isinstance(query, pgsql.Composable) else str(query))
        return execute(self, query, *more, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(psycopg.Connection, "execute", overheard)
    make_logins(database_url, named(ingest="verysecret"))
    assert any("SCRAM-SHA-256$" in query for query in told)
    assert not any("verysecret" in query for query in told)


def test_nobody_elses_password_is_changed(database_url: str, named: Named) -> None:
    (reader,) = named(reader="one")
    user = pgsql.Identifier(reader.user)
    with psycopg.connect(database_url, autocommit=True) as connection:
        for options, role in (
            ("SUPERUSER", "peebot_reader"),
            ("CREATEROLE", "peebot_reader"),
            ("", "peebot_ingest"),
            ("", None),
        ):
            connection.execute(pgsql.SQL("CREATE ROLE {} {}").format(user, pgsql.SQL(options)))
            if role:
                connection.execute(pgsql.SQL("GRANT {} TO {}").format(pgsql.Identifier(role), user))
            with pytest.raises(MendableError, match=r"there is a user .* already"):
                make_logins(database_url, [reader])
            connection.execute(pgsql.SQL("DROP ROLE {}").format(user))


def test_a_login_on_another_server_is_refused_though_it_works_there(
    database_url: str, named: Named, ascii_server: EmbeddedPostgres
) -> None:
    (reader,) = named(reader="one")
    database = str(conninfo_to_dict(database_url)["dbname"])
    with psycopg.connect(ascii_server.url("postgres"), autocommit=True) as there:
        there.execute(pgsql.SQL("CREATE DATABASE {}").format(pgsql.Identifier(database)))
        there.execute(pgsql.SQL("CREATE ROLE {} LOGIN PASSWORD 'one'").format(pgsql.Identifier(reader.user)))
    forgotten = replace(reader, url=make_conninfo(reader.url, port=ascii_server.port()))
    psycopg.connect(forgotten.url).close()
    with pytest.raises(
        MendableError, match=r"PEEBOT_READER_URL leads to another server \(.*\) than PEEBOT_DATA"
    ):
        make_logins(database_url, [forgotten])


def test_all_logins_are_made_or_none(database_url: str, named: Named) -> None:
    ingest, reader = named(ingest="one", reader="two")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(pgsql.SQL("CREATE ROLE {}").format(pgsql.Identifier(reader.user)))
        with pytest.raises(MendableError, match="there is a user"):
            make_logins(database_url, [ingest, reader])
        made = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (ingest.user,)).fetchone()
    assert made is None


def test_a_login_that_is_made_but_not_let_in_is_told(database_url: str, named: Named) -> None:
    (login,) = named(reader="one")
    nowhere = make_conninfo(login.url, port=free_port())
    elsewhere = Login(login.setting, login.role, login.user, nowhere)
    with pytest.raises(MendableError, match=r"cannot log in to .* correct the URL") as refusal:
        make_logins(database_url, [elsewhere])
    assert "\n" not in str(refusal.value)


def test_a_login_for_another_database_is_refused(database_url: str, named: Named) -> None:
    (login,) = logins_of({"PEEBOT_READER_URL": URL})
    with pytest.raises(MendableError, match="names the database peebot, not test_"):
        make_logins(database_url, [login])
