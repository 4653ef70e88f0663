"""The connections to the store."""

from __future__ import annotations

from psycopg.conninfo import make_conninfo

from peebot_dagster.store import connect


def test_neither_end_waits_for_long_when_the_other_has_vanished(database_url: str) -> None:
    with connect(make_conninfo(database_url, host="127.0.0.1")) as connection:
        of_the_client = connection.info.get_parameters()
        of_the_server = {
            name: connection.execute("SELECT current_setting(%s)", (f"tcp_keepalives_{name}",)).fetchone()
            for name in ("idle", "interval", "count")
        }

    limits = ("connect_timeout", "keepalives_idle", "tcp_user_timeout")
    assert {name: of_the_client.get(name) for name in limits} == dict(
        zip(limits, ("10", "10", "10000"), strict=True)
    )
    assert of_the_server == {"idle": ("10",), "interval": ("5",), "count": ("4",)}


def test_what_the_url_says_of_the_connection_holds_and_times_are_utc(database_url: str) -> None:
    url = make_conninfo(
        database_url,
        host="127.0.0.1",
        connect_timeout=7,
        options="-c tcp_keepalives_idle=99 -c TimeZone=Asia/Tokyo",
    )
    with connect(url) as connection:
        assert connection.info.get_parameters()["connect_timeout"] == "7"
        assert connection.execute("SHOW tcp_keepalives_idle").fetchone() == ("99",)
        assert connection.execute("SHOW TimeZone").fetchone() == ("UTC",)
