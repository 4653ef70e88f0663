"""Debian's Caddy with our Caddyfile, in front of upstreams that say who they are."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from peebot_local.embedded_postgres import free_port

pytestmark = pytest.mark.slow

CADDYFILE = Path(__file__).parents[2] / "deploy" / "compose" / "Caddyfile"
UPSTREAMS = ("webserver", "public webserver", "live")
HEALTH_PORT = free_port()


def upstream(name: str) -> ThreadingHTTPServer:
    class Says(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"{name}: {self.path}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Says)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def caddy(tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str]) -> Iterator[str]:
    command = tool("caddy")
    folder = tmp_path_factory.mktemp("caddy")
    servers = [upstream(name) for name in UPSTREAMS]
    port = free_port()
    hashed = subprocess.run(
        [command, "hash-password", "--plaintext", "s3cret"], capture_output=True, text=True, check=True
    )
    # Certificates are asked for from outside; here the same sites are served without.
    plain = CADDYFILE.read_text("utf-8").replace("\tadmin off\n", "\tadmin off\n\tauto_https off\n", 1)
    (folder / "Caddyfile").write_text(plain)
    addresses = [f"127.0.0.1:{server.server_address[1]}" for server in servers]
    environment = {
        **os.environ,
        "HOME": str(folder),
        "PEEBOT_CADDY_HEALTH_PORT": str(HEALTH_PORT),
        "PEEBOT_HOST": f"http://public.localhost:{port}",
        "PEEBOT_PRIVATE_HOST": f"http://control.localhost:{port}",
        "PEEBOT_UI_HOST": f"http://ui.localhost:{port}",
        "PEEBOT_USER": "crew",
        "PEEBOT_PASSWORD_HASH": hashed.stdout.strip(),
        "PEEBOT_WEBSERVER": addresses[0],
        "PEEBOT_PUBLIC_WEBSERVER": addresses[1],
        "PEEBOT_LIVE": addresses[2],
    }
    process = subprocess.Popen(
        [command, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while True:
        try:
            requests.get(f"http://127.0.0.1:{port}", timeout=5)
            break
        except requests.ConnectionError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(timeout=20)
    for server in servers:
        server.shutdown()
        server.server_close()


def ask(url: str, host: str, path: str = "/", **more: object) -> requests.Response:
    name = f"{host}.localhost:{url.rpartition(':')[2]}"
    return requests.request("GET", f"{url}{path}", headers={"Host": name}, timeout=10, **more)  # type: ignore[arg-type]


def test_the_world_sees_the_live_page_and_nothing_else_on_the_public_host(caddy: str) -> None:
    for path in ("/", "/events", "/live.css", "/live.js"):
        assert ask(caddy, "public", path).text == f"live: {path}"
    for path in ("/graphql", "/healthz", "/report_asset_materialization/posts", "/../graphql"):
        assert ask(caddy, "public", path).status_code == 404


def test_the_public_ui_is_the_read_only_one_and_takes_no_reports(caddy: str) -> None:
    assert ask(caddy, "ui", "/graphql").text == "public webserver: /graphql"
    assert ask(caddy, "ui", "/report_asset_materialization/posts").status_code == 403


def test_who_has_no_login_does_not_reach_the_real_ui(caddy: str) -> None:
    for path in ("/", "/graphql", "/server_info"):
        assert ask(caddy, "control", path).status_code == 401
        assert ask(caddy, "control", path, auth=("crew", "wrong")).status_code == 401
        assert ask(caddy, "control", path, auth=("crew", "s3cret")).text == f"webserver: {path}"


def test_a_host_that_is_not_ours_gets_nothing_of_ours(caddy: str) -> None:
    answer = ask(caddy, "elsewhere")
    assert not any(name in answer.text for name in UPSTREAMS)


def test_the_health_check_is_answered_on_loopback_by_the_proxy_itself(caddy: str) -> None:
    assert requests.get(f"http://127.0.0.1:{HEALTH_PORT}/", timeout=10).text == "ok"
    # Only there: the world's port knows nothing of it.
    assert requests.get(f"{caddy}/", timeout=10).text != "ok"
