"""The daemon's settings, from its arguments and the environment."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict

from ingest_daemon.channel_slice import ChannelSlice
from ingest_daemon.endpoint import LOOPBACK
from ingest_daemon.log_lines import LogFormat

NASA_SERVER = "https://push.lightstreamer.com"
_INSTANCE = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")


class SettingsError(ValueError):
    """A setting is missing or makes no sense; the message says what to do, and holds no secret."""


@dataclass(frozen=True)
class Settings:
    """What to listen to and where to store it. `as_of` (UTC) is there when `clock` is `feed`."""

    server: str
    adapter_set: str
    source: str
    """Names the link: the kind of feed, and after a slash the instance, if it has a name."""
    clock: Literal["system", "feed"]
    as_of: datetime | None
    queue_capacity: int
    feed: Literal["official", "tlcp"]
    spool: Path | None
    """Folder for what waits for the database; None: it waits in memory."""
    spool_limit_mb: int
    channels: ChannelSlice
    metrics_port: int | None
    """Port of /metrics and /healthz; 0: any, None: none."""
    metrics_host: str
    """Where it listens: loopback, or what somebody vouches for by --exposed."""
    log_format: LogFormat
    database_url: str = field(repr=False)

    @classmethod
    def read(cls, arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
        """The settings from command-line arguments and PEEBOT_DATABASE_URL; raises SettingsError."""
        options = _parser().parse_args(arguments)
        feed = options.feed or environment.get("PEEBOT_FEED") or "official"
        if feed not in ("official", "tlcp"):
            raise SettingsError(f"PEEBOT_FEED must be official or tlcp, not {feed!r}")
        if not options.server.startswith(("http://", "https://")):
            raise SettingsError(f"--server must begin with http:// or https://, not {options.server!r}")
        if options.queue_capacity < 1:
            raise SettingsError("--queue-capacity must be at least 1")
        if (options.clock == "feed") != (options.as_of is not None):
            raise SettingsError("--clock feed and --as-of belong together: a replay needs to know the year")
        return cls(
            server=options.server,
            adapter_set=options.adapter_set,
            source=_source(options.source, options.instance or environment.get("PEEBOT_INSTANCE", "")),
            clock=options.clock,
            as_of=options.as_of,
            queue_capacity=options.queue_capacity,
            feed="tlcp" if feed == "tlcp" else "official",
            spool=Path(spool) if (spool := options.spool or environment.get("PEEBOT_SPOOL")) else None,
            spool_limit_mb=_megabytes(
                options.spool_limit_mb or environment.get("PEEBOT_SPOOL_LIMIT_MB") or "512"
            ),
            channels=ChannelSlice.read(options.channels or environment.get("PEEBOT_CHANNELS", "")),
            metrics_port=_port(options.metrics_port or environment.get("PEEBOT_METRICS_PORT", "")),
            metrics_host=_host(
                options.metrics_host or environment.get("PEEBOT_METRICS_HOST") or LOOPBACK, options.exposed
            ),
            log_format=_log_format(options.log_format or environment.get("PEEBOT_LOG_FORMAT") or "text"),
            database_url=_database_url(environment),
        )


def _source(kind: str, instance: str) -> str:
    if instance and not _INSTANCE.fullmatch(instance):
        raise SettingsError(f"--instance takes up to 40 of a-z, 0-9, '.', '_', '-', not {instance!r}")
    return f"{kind}/{instance}" if instance else kind


def _port(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or int(text) > 65535:
        raise SettingsError(
            f"--metrics-port takes a port number, not {text!r}; the address is that of --metrics-host"
        )
    return int(text)


def _megabytes(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise SettingsError(f"--spool-limit-mb (PEEBOT_SPOOL_LIMIT_MB) must be at least 1, not {text!r}")
    return int(text)


def _host(host: str, exposed: bool) -> str:
    try:
        is_loopback = ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if not (is_loopback or exposed):
        raise SettingsError(
            f"{host} can be reached from elsewhere, and /metrics asks for no login; listen on 127.0.0.1, "
            "or give --exposed if nobody else is on that network"
        )
    return host


def _log_format(text: str) -> LogFormat:
    if text not in ("text", "json"):
        raise SettingsError(f"PEEBOT_LOG_FORMAT must be text or json, not {text!r}")
    return "json" if text == "json" else "text"


def _database_url(environment: Mapping[str, str]) -> str:
    url = environment.get("PEEBOT_DATABASE_URL", "")
    if not url:
        raise SettingsError(
            "PEEBOT_DATABASE_URL is not set: give it as postgresql://user:password@host:port/database"
        )
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # Its message may quote the password.
        raise SettingsError("PEEBOT_DATABASE_URL is no valid PostgreSQL URL") from None
    return url


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ingest_daemon", description="Listens to ISS telemetry; stores it in PEEBOT_DATABASE_URL."
    )
    parser.add_argument("--server", default=NASA_SERVER, help="Lightstreamer server (default: %(default)s)")
    parser.add_argument("--adapter-set", default="ISSLIVE")
    parser.add_argument(
        "--feed",
        choices=("official", "tlcp"),
        help="the official client, or our own reader, which never drops (default: PEEBOT_FEED or official)",
    )
    parser.add_argument("--source", choices=("isslive", "simulator", "replay"), default="isslive")
    parser.add_argument(
        "--clock",
        choices=("system", "feed"),
        default="system",
        help="feed: the newest event time on the feed is the present (for replays)",
    )
    parser.add_argument(
        "--as-of", type=_utc, help="with --clock feed: a time (ISO 8601) at most a year after all events"
    )
    parser.add_argument(
        "--queue-capacity",
        type=int,
        default=200_000,
        help="updates kept in memory while neither the database nor the spool takes them",
    )
    parser.add_argument(
        "--spool",
        metavar="FOLDER",
        help="where on disk updates wait while the database is away (default: PEEBOT_SPOOL, or nowhere)",
    )
    parser.add_argument(
        "--spool-limit-mb",
        metavar="MB",
        help="how large it may grow (default: PEEBOT_SPOOL_LIMIT_MB, or 512)",
    )
    parser.add_argument(
        "--channels",
        metavar="LIST",
        help="items or patterns, as in NODE3*,TIME_* (default: PEEBOT_CHANNELS, or the whole catalogue)",
    )
    parser.add_argument(
        "--instance",
        metavar="NAME",
        help="tells this daemon from others on the same database, as in isslive/NAME (or PEEBOT_INSTANCE)",
    )
    parser.add_argument(
        "--metrics-port",
        metavar="PORT",
        help="serve /metrics and /healthz; 0: any port (default: PEEBOT_METRICS_PORT, or not)",
    )
    parser.add_argument(
        "--metrics-host",
        metavar="HOST",
        help="where to serve them (default: PEEBOT_METRICS_HOST, or 127.0.0.1)",
    )
    parser.add_argument(
        "--exposed", action="store_true", help="let --metrics-host be one that others can reach"
    )
    parser.add_argument(
        "--log-format",
        choices=("text", "json"),
        help="for people or for machines (default: PEEBOT_LOG_FORMAT, or text)",
    )
    return parser
