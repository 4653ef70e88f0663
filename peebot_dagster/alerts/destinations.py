"""Where alerts go: URLs of Apprise, each a mail server, a chat or a webhook. No SQL, no Dagster."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from peebot_dagster.alerts.messages import Message

VARIABLE = "PEEBOT_ALERT_URLS"
_NOWHERE = logging.NullHandler()


@dataclass(frozen=True)
class Destination:
    """A URL of Apprise, which is a secret, and a name that tells nothing of it but its place and its kind."""

    name: str
    url: str = field(repr=False)


def destinations(environment: Mapping[str, str]) -> list[Destination]:
    """The destinations that PEEBOT_ALERT_URLS names, separated by blanks or line ends."""
    return [
        Destination(f"{place} {_kind(url)}", url)
        for place, url in enumerate(environment.get(VARIABLE, "").split(), start=1)
    ]


def deliver(destination: Destination, message: Message) -> str | None:
    """Send the message; why it was not taken, without anything secret, or None when it was."""
    # Imported here: it is for those who ask for alerts.
    import apprise

    # What it logs may hold the URL.
    log = logging.getLogger("apprise")
    log.propagate = False
    log.addHandler(_NOWHERE)
    try:
        # In memory: it would keep files in the home folder, which a service need not have.
        to = apprise.Apprise(asset=apprise.AppriseAsset(storage_mode=apprise.PersistentStoreMode.MEMORY))
        if not to.add(destination.url):
            return f"is no URL that Apprise understands; correct it in {VARIABLE}"
        result = to.notify(
            body=message.body,
            title=message.title,
            notify_type=apprise.NotifyType.SUCCESS if message.good else apprise.NotifyType.FAILURE,
            body_format=apprise.NotifyFormat.TEXT,
        )
    except Exception as error:
        # Its text may hold the URL, too.
        return f"failed with {type(error).__name__}"
    if result:
        return None
    status = re.search(r"error=(\d{3})\b", " ".join(entry.message for entry in result.logs()))
    return f"answered {status[1]}" if status else "did not answer, or did not take it"


def deliver_all(messages: Mapping[Destination, Message], limit_s: float) -> dict[Destination, str | None]:
    """Send each its message, side by side; who has not answered after `limit_s` seconds has failed."""
    outcomes: dict[Destination, str | None] = dict.fromkeys(messages, f"did not answer in {limit_s:g} s")

    def send(destination: Destination, message: Message) -> None:
        outcomes[destination] = deliver(destination, message)

    # Daemon threads: one that hangs must not keep the process.
    threads = [threading.Thread(target=send, args=each, daemon=True) for each in messages.items()]
    for thread in threads:
        thread.start()
    end = time.monotonic() + limit_s
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0.0))
    return dict(outcomes)


def _kind(url: str) -> str:
    found = re.match(r"[a-z0-9]{1,20}(?=://)", url, re.IGNORECASE)
    return found[0].lower() if found else "unreadable"
