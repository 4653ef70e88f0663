"""What no line of our packages may say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (
    *("benchmarks", "evaluation", "ingest_daemon", "iss_simulator"),
    *("peebot_dagster", "peebot_live", "peebot_local", "sql"),
)
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
EXECUTES = {"execute", "executemany", "exec_driver_sql", "copy", "text"}
TLS_OFF = re.compile(
    # As an argument or attribute (verify, verify_ssl, ssl_verify, …), and as a key.
    r"(verify|ssl|check_hostname|tls)\w*[\"']?\s*[=:]\s*(False|0)\b"
    r"|CERT_NONE|_create_unverified_context|disable_warnings\(|assert_hostname\s*=\s*False"
    r"|sslmode[\"']?\s*[=:]\s*[\"']?(disable|allow)"
)
TO_ALL = {"0.0.0.0", "::", "[::]"}  # noqa: S104


def built_of_values(node: ast.expr) -> bool:
    """Whether the text is put together from something that is no constant."""
    if isinstance(node, ast.JoinedStr):
        return any(
            isinstance(part, ast.FormattedValue) and not is_constant_name(part.value) for part in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.Add):
        return (
            built_of_values(node.left)
            or built_of_values(node.right)
            or not (is_text(node.left) and is_text(node.right))
        )
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr == "format" and isinstance(node.func.value, ast.Constant)
    return False


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp) or is_constant_name(node)


def is_constant_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id.strip("_").isupper()


def queries(tree: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in EXECUTES
            and node.args
        ):
            yield node.args[0]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_query_is_put_together_from_values(source: Path) -> None:
    offending = [
        query.lineno for query in queries(ast.parse(source.read_text("utf-8"))) if built_of_values(query)
    ]
    assert offending == []


@pytest.mark.parametrize(
    ("code", "is_bad"),
    [
        ('c.execute(f"SELECT {x}")', True),
        ('c.execute("SELECT %s" % x)', True),
        ('c.execute("SELECT " + x)', True),
        ('c.execute("SELECT {}".format(x))', True),
        ('c.execute(f"LISTEN {CHANNEL}")', False),
        ('c.execute(_QUERY, {"x": 1})', False),
        ('c.execute("SELECT " "1")', False),
        ('c.execute(sql.SQL("SELECT {}").format(sql.Identifier(x)))', False),
    ],
)
def test_the_look_at_queries_sees_what_it_should(code: str, is_bad: bool) -> None:
    (query,) = queries(ast.parse(code))
    assert built_of_values(query) is is_bad


CUTS = {"split", "rsplit", "partition", "rpartition"}


def listens_to_all(tree: ast.AST) -> Iterator[int]:
    """Lines that name all interfaces: their address anywhere, and an empty host where one is asked for."""
    between = {
        id(given)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CUTS
        for given in node.args
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in TO_ALL and id(node) not in between:
            yield node.lineno
        elif isinstance(node, ast.keyword) and "host" in (node.arg or ""):
            if isinstance(node.value, ast.Constant) and node.value.value in ("", None, "*"):
                yield node.value.lineno
        elif isinstance(node, ast.Call):
            for given in node.args:
                # An address, as bind and the servers of the standard library take it.
                if isinstance(given, ast.Tuple) and len(given.elts) >= 2:
                    host = given.elts[0]
                    if isinstance(host, ast.Constant) and host.value == "" and _is_address(node.func):
                        yield given.lineno


def _is_address(called: ast.expr) -> bool:
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    return name in ("bind", "create_server", "__init__") or name.endswith("Server")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_tls_is_verified_and_nothing_listens_to_all_by_itself(source: Path) -> None:
    text = source.read_text("utf-8")
    assert [line for line in text.splitlines() if TLS_OFF.search(line)] == []
    assert list(listens_to_all(ast.parse(text))) == []


@pytest.mark.parametrize(
    ("code", "is_bad"),
    [
        ("requests.get(url, verify=False)", True),
        ("TCPConnector(verify_ssl=False)", True),
        ("TCPConnector(ssl=False)", True),
        ("connect(ssl_verify = 0)", True),
        ("context.check_hostname = False", True),
        ("context.verify_mode = ssl.CERT_NONE", True),
        ('options = {"verify": False}', True),
        ("context = ssl._create_unverified_context()", True),
        ("urllib3.disable_warnings()", True),
        ('connect("postgresql://db/peebot?sslmode=disable")', True),
        ("requests.get(url, verify=True)", False),
        ('TCPConnector(ssl=context, verify_ssl="ca.pem")', False),
        ("is_verified = False_alarm", False),
    ],
)
def test_the_look_at_tls_sees_what_it_should(code: str, is_bad: bool) -> None:
    assert bool(TLS_OFF.search(code)) is is_bad


@pytest.mark.parametrize(
    ("code", "is_bad"),
    [
        ('run(host="0.0.0.0")', True),
        ('web.TCPSite(runner, "::", 80)', True),
        ('DEFAULT = "[::]"', True),
        ('run(host="")', True),
        ("run(host=None)", True),
        ('sock.bind(("", 80))', True),
        ('HTTPServer(("", 80), Handler)', True),
        ('super().__init__(("", 80), Handler)', True),
        ('run(host="127.0.0.1")', False),
        ('sock.bind(("127.0.0.1", 0))', False),
        ('print(("", 80))', False),
        ('"a::b".split("::")', False),
    ],
)
def test_the_look_at_hosts_sees_what_it_should(code: str, is_bad: bool) -> None:
    assert bool(list(listens_to_all(ast.parse(code)))) is is_bad
