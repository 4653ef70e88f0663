"""Real databases for the tests: one server a session, one fresh migrated database a test.

A test with the mark `every_edition` runs on each edition of the store that is there; the others run on the
embedded PostgreSQL. On the other editions it is slow. The report says which editions were there.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql as pgsql

from peebot_local.embedded_postgres import EmbeddedPostgres
from sql.migrate import migrate

ROOT = Path(__file__).parents[1]
EMBEDDED, NATIVE, WASM = "postgresql", "timescaledb", "timescaledb-wasm"
SERVERS = {EMBEDDED: "postgres_server", NATIVE: "timescaledb_server", WASM: "community_server"}
TEMPLATES = {EMBEDDED: "postgres_template", NATIVE: "timescaledb_template"}
NPM_UNREACHABLE = ("ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "EAI_AGAIN", "ENETUNREACH")
TESTS_ON = pytest.StashKey[Counter[str]]()
MISSING = pytest.StashKey[dict[str, str]]()


class Server(Protocol):
    """Somewhere to make databases; the user may do everything."""

    def url(self, database: str) -> str: ...


@dataclass(frozen=True)
class ServerAt:
    """A server that somebody else has started, known by the URL of one of its databases."""

    any_url: str

    def url(self, database: str) -> str:
        return urlunsplit(urlsplit(self.any_url)._replace(path=f"/{database}"))


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TESTS_ON] = Counter()
    config.stash[MISSING] = {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker("every_edition")
    if mark is None or "store_edition" not in metafunc.fixturenames:
        return
    editions: list[object] = [EMBEDDED, pytest.param(NATIVE, marks=pytest.mark.slow)]
    # It has one session, and knows no COPY.
    if mark.kwargs.get("one_connection") and not metafunc.definition.get_closest_marker(
        "several_connections"
    ):
        editions.append(pytest.param(WASM, marks=pytest.mark.slow))
    metafunc.parametrize("store_edition", editions, indirect=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of several (pytest-xdist) tells the one that prints the summary."""
    told: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if told is not None:
        told["editions"] = (dict(session.config.stash[TESTS_ON]), session.config.stash[MISSING])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    ran, missing = getattr(node, "workeroutput", {}).get("editions", ({}, {}))
    node.config.stash[TESTS_ON].update(ran)
    node.config.stash[MISSING].update(missing)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    ran = [f"{edition}: {count} tests" for edition, count in sorted(config.stash[TESTS_ON].items())]
    missing = [f"{edition}: not run, {why}" for edition, why in config.stash[MISSING].items()]
    if ran or missing:
        terminalreporter.write_line(f"editions of the store: {'; '.join(ran + missing)}")


def not_here(config: pytest.Config, edition: str, why: str, required_by: str) -> None:
    """Skip for want of an edition; a failure where this variable says that it has to be there, as in CI."""
    config.stash[MISSING][edition] = why
    if os.environ.get(required_by):
        pytest.fail(why)
    pytest.skip(why)


@contextmanager
def fresh_postgres() -> Iterator[EmbeddedPostgres]:
    """A server of PostgreSQL for the block, without any role or database of PeeBot's."""
    root = Path(tempfile.mkdtemp(prefix="peebot-pg-"))
    server = EmbeddedPostgres(root)
    process = server.start(root / "log")
    try:
        server.wait_until_ready(process)
        # A crash of the machine ends the tests anyway; a crash of the server needs no fsync.
        _administer(server, "ALTER SYSTEM SET fsync = off")
        _administer(server, "SELECT pg_reload_conf()")
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        shutil.rmtree(root)


@pytest.fixture
def ascii_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedPostgres]:
    """As initdb makes it where there is no locale: its databases are in SQL_ASCII unless one asks."""
    run = subprocess.run

    def in_ascii(command: list[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
        return run(
            ["--encoding=SQL_ASCII" if word == "--encoding=UTF8" else word for word in command], **options
        )

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "run", in_ascii)
        with fresh_postgres() as server:
            yield server


@contextmanager
def fresh_timescaledb(config: pytest.Config) -> Iterator[ServerAt]:
    """The same of Debian's TimescaleDB."""
    script = ROOT / ".ci" / "timescaledb"
    if subprocess.run([script, "installed"], check=False).returncode != 0:
        why = "run .ci/timescaledb install, or set PEEBOT_TEST_TIMESCALE_URL"
        not_here(config, NATIVE, why, "PEEBOT_REQUIRE_TIMESCALEDB")
    # It ends with its pipe: also when this process is killed.
    with subprocess.Popen(
        [script, "run"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        server = ServerAt(process.stdout.readline().strip())
        _wait_for(server.url("postgres"))
        yield server
        process.terminate()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    with fresh_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def timescaledb_server(pytestconfig: pytest.Config) -> Iterator[ServerAt]:
    """A native TimescaleDB: that of PEEBOT_TEST_TIMESCALE_URL (a superuser's), else Debian's."""
    url = os.environ.get("PEEBOT_TEST_TIMESCALE_URL")
    if url:
        yield ServerAt(url)
        return
    with fresh_timescaledb(pytestconfig) as server:
        yield server


@pytest.fixture(scope="session")
def community_server(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerAt]:
    """TimescaleDB's Community edition in WebAssembly; one connection at a time."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        not_here(pytestconfig, WASM, "node and npm are missing", "PEEBOT_REQUIRE_NODE")
    folder = tmp_path_factory.mktemp("community")
    shutil.copytree(ROOT / "tests" / "sql" / "community", folder, dirs_exist_ok=True)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    npm = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if any(code in npm.stderr for code in NPM_UNREACHABLE):
        not_here(pytestconfig, WASM, "the npm registry cannot be reached", "PEEBOT_REQUIRE_NODE")
    assert npm.returncode == 0, npm.stderr
    with subprocess.Popen(
        ["node", "server.mjs"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        server = ServerAt(f"postgresql://postgres:postgres@127.0.0.1:{port}/migrated")
        migrate(server.any_url)
        yield server


@pytest.fixture
def store_edition(request: pytest.FixtureRequest) -> str:
    """Which kind of server `store_server`, `database_url` and `connection` are on."""
    return str(getattr(request, "param", EMBEDDED))


@pytest.fixture
def store_server(store_edition: str, request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue(SERVERS[store_edition])
    return server


@pytest.fixture(scope="session")
def postgres_template(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    with _migrated_template(postgres_server) as name:
        yield name


@pytest.fixture(scope="session")
def timescaledb_template(timescaledb_server: ServerAt) -> Iterator[str]:
    with _migrated_template(timescaledb_server) as name:
        yield name


@pytest.fixture
def database_url(
    store_edition: str,
    store_server: Server,
    request: pytest.FixtureRequest,
    pytestconfig: pytest.Config,
) -> Iterator[str]:
    """The URL of a fresh database with the whole schema and the channel catalogue in it."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    url = store_server.url(name)
    if store_edition != WASM:
        template = request.getfixturevalue(TEMPLATES[store_edition])
        _administer(store_server, "CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, template)
    with psycopg.connect(url) as connection:
        pytestconfig.stash[TESTS_ON][_describe(connection)] += 1
    yield url
    if store_edition != WASM:
        _administer(store_server, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def login_as(database_url: str) -> Iterator[Callable[[str], str]]:
    """Gives the URL of the test's database for a new user whose only right is to be a member of a role."""
    made: list[str] = []
    password = secrets.token_hex(16)

    def login(role: str) -> str:
        user = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                pgsql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}").format(
                    pgsql.Identifier(user), pgsql.Literal(password), pgsql.Identifier(role)
                )
            )
        made.append(user)
        parts = urlsplit(database_url)
        return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.hostname}:{parts.port}"))

    yield login
    with psycopg.connect(database_url, autocommit=True) as connection:
        for user in made:
            connection.execute(pgsql.SQL("DROP OWNED BY {}").format(pgsql.Identifier(user)))
            connection.execute(pgsql.SQL("DROP ROLE {}").format(pgsql.Identifier(user)))


@pytest.fixture
def login_urls(database_url: str) -> Iterator[dict[str, str]]:
    """URLs of logins that `migrate` may make on the test's database, by their part; dropped after it."""
    parts = urlsplit(database_url)
    unique = uuid.uuid4().hex[:8]
    users = {part: f"{part}_{unique}" for part in ("ingest", "dagster", "dagster_reader", "reader")}
    yield {
        part: urlunsplit(
            parts._replace(netloc=f"{user}:{secrets.token_hex(12)}@{parts.hostname}:{parts.port}")
        )
        for part, user in users.items()
    }
    with psycopg.connect(database_url, autocommit=True) as connection:
        for user in users.values():
            connection.execute(pgsql.SQL("DROP ROLE IF EXISTS {}").format(pgsql.Identifier(user)))


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url) as connection:
        yield connection


def _administer(server: Server, statement: str, *names: str) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(pgsql.SQL(statement).format(*map(pgsql.Identifier, names)))


@contextmanager
def _migrated_template(server: Server) -> Iterator[str]:
    """A database from which those of the tests are copied."""
    name = f"migrated_{uuid.uuid4().hex[:12]}"
    _administer(server, "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", name)
    migrate(server.url(name))
    # TimescaleDB's scheduler would stay connected, and a database in use cannot be copied.
    _administer(server, "ALTER DATABASE {} ALLOW_CONNECTIONS false", name)
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
    yield name
    _administer(server, "DROP DATABASE {} WITH (FORCE)", name)


def _describe(connection: psycopg.Connection) -> str:
    row = connection.execute(
        "SELECT store_edition(), current_setting('server_version'),"
        " (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb')"
    ).fetchone()
    assert row is not None
    edition, server, extension = row
    server = server.partition(" ")[0]
    return f"{edition} {server}" if extension is None else f"{edition} {extension} on PostgreSQL {server}"


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
