"""The settings of the local runner, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import platformdirs
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from peebot_local.errors import MendableError

NASA_FEED = "https://push.lightstreamer.com"
NASA_ADAPTER_SET = "ISSLIVE"
UI_PORT = 3000

ENVIRONMENT = {
    "home": "PEEBOT_HOME",
    "database_url": "PEEBOT_DATABASE_URL",
    "feed_url": "PEEBOT_FEED_URL",
    "ui_port": "PEEBOT_UI_PORT",
    "ui_url": "PEEBOT_UI_URL",
    "live_port": "PEEBOT_LIVE_PORT",
    "code_server_port": "PEEBOT_CODE_SERVER_PORT",
    "metrics_port": "PEEBOT_METRICS_PORT",
}


class Settings(BaseModel):
    """Where state lives, which database and feed are used, and the ports (all on loopback).

    `ui_url` is that of a webserver which somebody else runs.
    """

    model_config = ConfigDict(frozen=True)

    home: Path
    database_url: SecretStr | None = None
    feed_url: str = Field(default=NASA_FEED, pattern="^https?://[^/]")
    ui_port: int | None = Field(default=None, ge=1, le=65535)
    ui_url: str | None = Field(default=None, pattern="^https?://[^/]")
    live_port: int | None = Field(default=None, ge=1, le=65535)
    code_server_port: int | None = Field(default=None, ge=1, le=65535)
    metrics_port: int | None = Field(default=None, ge=1, le=65535)

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("database_url")
    @classmethod
    def _a_libpq_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            try:
                parts = conninfo_to_dict(url.get_secret_value())
            except ProgrammingError as error:
                raise ValueError("it is no connection string of PostgreSQL") from error
            if not parts.get("dbname"):
                raise ValueError("it names no database")
        return url

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """The settings in these variables; an empty variable counts as not set."""
        given = {field: environment[name] for field, name in ENVIRONMENT.items() if environment.get(name)}
        given.setdefault("home", platformdirs.user_data_dir("peebot", appauthor=False))
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False)[0]
            name = ENVIRONMENT[str(problem["loc"][0])]
            reason = problem["msg"].removeprefix("Value error, ")
            raise MendableError(f"{name} is not usable ({reason}); correct or unset it") from None

    def for_demo(self) -> Settings:
        """The same for the demo, which has its own state and database, apart from those of the live feed."""
        return self.model_copy(update={"home": self.home / "demo", "database_url": None})
