from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from peebot_local.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError, free_port, port_is_free
from peebot_local.errors import MendableError
from peebot_local.home import Home
from peebot_local.services import postgres
from peebot_local.supervisor import Supervisor


@pytest.fixture(scope="module")
def clusters() -> Iterator[Path]:
    # Not below pytest's own folder, which each new session of pytest closes to PostgreSQL's user.
    folder = Path(tempfile.mkdtemp(prefix="peebot-clusters-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cluster(clusters: Path) -> EmbeddedPostgres:
    server = EmbeddedPostgres(clusters / "original")
    server.initialise()
    return server


@pytest.fixture
def server(cluster: EmbeddedPostgres, clusters: Path) -> EmbeddedPostgres:
    """An initialised cluster of the test's own."""
    copy = EmbeddedPostgres(clusters / uuid.uuid4().hex)
    shutil.copytree(cluster.root, copy.root)
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", cluster.data.owner(), copy.data], check=True)
    return copy


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    process.wait(timeout=30)


def test_a_server_that_was_killed_together_with_its_runner_is_replaced(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    first = server.start(tmp_path / "log")
    server.wait_until_ready(first)
    second = server.start(tmp_path / "log")
    try:
        server.wait_until_ready(second)
        assert first.wait(timeout=10) is not None
        assert second.poll() is None
    finally:
        stop(second)


def test_a_stale_pid_file_that_names_another_process_keeps_no_server_from_starting(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    (server.data / "postmaster.pid").write_text(f"{os.getppid()}\n{server.data}\n")
    process = server.start(tmp_path / "log")
    try:
        server.wait_until_ready(process)
    finally:
        stop(process)


def test_a_taken_port_is_replaced_by_a_free_one(server: EmbeddedPostgres, tmp_path: Path) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        assert not port_is_free(taken)
        (server.root / "port").write_text(str(taken))
        process = server.start(tmp_path / "log")
        try:
            server.wait_until_ready(process)
            assert server.port() != taken
        finally:
            stop(process)


def test_an_interrupted_initdb_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres")
    (server.root / "data.unfinished" / "base").mkdir(parents=True)
    server.initialise()
    assert server.exists


def test_a_folder_that_is_no_cluster_is_named_with_what_to_do(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    server.data.mkdir()
    (server.data / "base").mkdir()
    with pytest.raises(EmbeddedPostgresError, match=r"no PG_VERSION.*move it away to start afresh"):
        server.initialise()


def test_a_cluster_of_another_version_is_named_with_what_to_do(server: EmbeddedPostgres) -> None:
    (server.data / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedPostgresError, match="is of PostgreSQL 16, this one is 18"):
        server.initialise()


def test_a_damaged_cluster_stops_the_whole_with_one_line_that_says_what_to_do(
    server: EmbeddedPostgres, home: Home, supervisor: Supervisor
) -> None:
    (server.data / "global" / "pg_control").write_bytes(b"\0" * 8192)
    server.initialise()
    supervisor.start(postgres(server))
    with pytest.raises(MendableError, match=r"postgres keeps dying.*: its data in .* look damaged; restore"):
        supervisor.wait_for(server.accepts_connections, "postgres", 30)


def test_too_little_space_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 5_000_000, 5_000_000))
    with pytest.raises(EmbeddedPostgresError, match=r"only 5 MB are free under .*needs 300; free some space"):
        EmbeddedPostgres(tmp_path / "postgres").initialise()


def test_a_connection_needs_the_password_that_only_the_owner_can_read(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    process = server.start(tmp_path / "log")
    try:
        server.wait_until_ready(process)
        assert (server.root / "password").stat().st_mode & 0o077 == 0
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url("postgres").replace(server.password(), "wrong"))
    finally:
        stop(process)


def test_free_ports_are_free() -> None:
    assert port_is_free(free_port())
