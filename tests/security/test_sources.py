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
    r"verify\s*=\s*False|CERT_NONE|_create_unverified_context|ssl\s*=\s*False|check_hostname\s*=\s*False"
)


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


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_tls_is_verified_and_nothing_listens_to_all_by_itself(source: Path) -> None:
    text = source.read_text("utf-8")
    assert not TLS_OFF.search(text)
    assert "0.0.0.0" not in text  # noqa: S104
