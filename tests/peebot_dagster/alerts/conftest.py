from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peebot_dagster.alerts.servers import Mailbox, Webhook, mail_server, webhook_server


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with webhook_server() as hook:
        yield hook


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as box:
        yield box
