from __future__ import annotations

from pathlib import Path

import pytest

from peebot_dagster.posts.publishers import PLATFORMS
from peebot_local.errors import MendableError
from peebot_local.secret_files import SECRETS, secrets_of_files


def test_a_secret_comes_from_its_file_without_the_line_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    found = secrets_of_files({"PEEBOT_X_ACCESS_TOKEN_FILE": str(tmp_path / "token")})
    assert found == {"PEEBOT_X_ACCESS_TOKEN": "s3cret"}
    assert secrets_of_files({"PEEBOT_X_ACCESS_TOKEN_FILE": "", "PEEBOT_UI_PORT_FILE": "/none"}) == {}


@pytest.mark.parametrize(
    ("content", "given", "why"),
    [
        (None, {}, "cannot be read"),
        (b" \n", {}, "is empty"),
        (b"\xff\xfe", {}, "it is no text"),
        (b"s3cret", {"PEEBOT_X_ACCESS_TOKEN": "other"}, "are both set"),
    ],
)
def test_what_can_not_be_taken_is_one_line_without_the_secret(
    tmp_path: Path, content: bytes | None, given: dict[str, str], why: str
) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(MendableError, match=why) as refused:
        secrets_of_files({"PEEBOT_X_ACCESS_TOKEN_FILE": str(tmp_path / "token"), **given})
    assert "s3cret" not in str(refused.value)
    assert "other" not in str(refused.value)


def test_every_credential_of_every_platform_may_come_by_file() -> None:
    credentials = {name for platform in PLATFORMS.values() for name in platform.variables.values()}
    assert credentials - {"PEEBOT_MASTODON_URL"} <= set(SECRETS)
