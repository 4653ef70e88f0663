"""A login of its own for each part of PeeBot: a user of the database that may do what that part needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg import sql as pgsql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from peebot_local.database import dagster_database, describe, grant_dagsters_tables, mendable
from peebot_local.errors import MendableError

ROLES = {
    "PEEBOT_INGEST_URL": "peebot_ingest",
    "PEEBOT_DAGSTER_URL": "peebot_dagster",
    "PEEBOT_DAGSTER_READER_URL": "peebot_dagster_reader",
    "PEEBOT_READER_URL": "peebot_reader",
}
"""Whose user is a member of which role."""
_IN_DAGSTERS_DATABASE = ("peebot_dagster", "peebot_dagster_reader")


@dataclass(frozen=True)
class Login:
    """A user, as the URL of `setting` has it, and the role whose rights it gets."""

    setting: str
    role: str
    user: str
    url: str = field(repr=False)


def logins_of(environment: Mapping[str, str]) -> tuple[Login, ...]:
    """The logins that the environment names; MendableError when a URL lacks something or two share a user."""
    logins = tuple(
        _login(setting, role, environment[setting])
        for setting, role in ROLES.items()
        if environment.get(setting)
    )
    for user, number in Counter(login.user for login in logins).items():
        if number > 1:
            raise MendableError(f"{number} logins have the user {user}; give each a user of its own")
    return logins


def _login(setting: str, role: str, url: str) -> Login:
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # Its message may quote the password.
        raise MendableError(f"{setting} is no connection string of PostgreSQL; correct it") from None
    for needed in ("user", "password", "dbname"):
        if not parts.get(needed):
            raise MendableError(f"{setting} has no {needed}; write postgresql://user:password@host/database")
    user = str(parts["user"])
    if user in ROLES.values():
        raise MendableError(
            f"{setting}: {user} is the name of a role that nobody logs in as; name another user"
        )
    return Login(setting, role, user, url)


def make_logins(owner_url: str, logins: Sequence[Login]) -> None:
    """Make the users or give them the passwords of their URLs, all or none, and log in as each of them.

    Both databases are migrated; `owner_url` is that of their owner, who may make roles. MendableError when
    a user has other rights already: somebody else's password is not changed.
    """
    database = conninfo_to_dict(owner_url)["dbname"]
    for login in logins:
        if (named := conninfo_to_dict(login.url)["dbname"]) != database:
            raise MendableError(f"{login.setting} names the database {named}, not {database}; correct it")
    with mendable(owner_url), psycopg.connect(owner_url) as connection:
        server = _server(connection)
        # Two migrations at once must not make the same user.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('peebot logins'))")
        connection.execute("SELECT grant_roles()")
        for login in logins:
            _make(connection, login)
    grant_dagsters_tables(owner_url)
    for login in logins:
        _try(login, server)


_STANDING = """
SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls OR rolname = current_user,
       ARRAY(SELECT granted.rolname::text
             FROM pg_auth_members JOIN pg_roles AS granted ON granted.oid = roleid
             WHERE member = pg_roles.oid)
FROM pg_roles WHERE rolname = %s
"""


def _make(connection: psycopg.Connection, login: Login) -> None:
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (login.role,)).fetchone() is None:
        raise MendableError(
            f"there is no role {login.role}, and {connection.info.user} may not make it; "
            f'let a superuser run: ALTER ROLE "{connection.info.user}" CREATEROLE'
        )
    standing = connection.execute(_STANDING, (login.user,)).fetchone()
    if standing is not None and standing != (False, [login.role]):
        raise MendableError(
            f"{login.setting}: there is a user {login.user} already who is more, or else, than a member of "
            f"{login.role}; name another user"
        )
    user = pgsql.Identifier(login.user)
    # Made here: the password itself is in no statement, so no log of the server has it.
    verifier = connection.pgconn.encrypt_password(
        str(conninfo_to_dict(login.url)["password"]).encode(), login.user.encode(), b"scram-sha-256"
    )
    statement = "CREATE ROLE {} LOGIN PASSWORD {}" if standing is None else "ALTER ROLE {} LOGIN PASSWORD {}"
    connection.execute(pgsql.SQL(statement).format(user, pgsql.Literal(verifier.decode())))
    if standing is None:
        connection.execute(pgsql.SQL("GRANT {} TO {}").format(pgsql.Identifier(login.role), user))


def _server(connection: psycopg.Connection) -> int | None:
    """The number that a server has from its making, and its replicas have, too; None where it is not told."""
    try:
        with connection.transaction():
            row = connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None
    return None if row is None else int(row[0])


def _try(login: Login, owners: int | None) -> None:
    databases = [login.url]
    if login.role in _IN_DAGSTERS_DATABASE:
        databases.append(make_conninfo(login.url, dbname=dagster_database(login.url)))
    for url in databases:
        try:
            with psycopg.connect(url, connect_timeout=10) as connection:
                server = _server(connection)
        except psycopg.OperationalError as error:
            reason = str(error).strip().splitlines()[-1].removeprefix("connection failed: ")
            raise MendableError(
                f"{login.setting}: {login.user} cannot log in to {describe(url)} ({reason}); "
                "correct the URL, or what the server lets in (pg_hba.conf)"
            ) from None
        if None not in (server, owners) and server != owners:
            raise MendableError(
                f"{login.setting} leads to another server ({describe(url)}) than PEEBOT_DATABASE_URL; "
                "did the database move? Correct the one that is out of date"
            )
