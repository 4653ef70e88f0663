"""Where alerts go: URLs of Apprise, each a mail server, a chat or a webhook. No SQL, no Dagster."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from peebot_dagster.alerts.messages import Message

VARIABLE = "PEEBOT_ALERT_URLS"
_KEY_MARK = " #"
_NOWHERE = logging.NullHandler()


@dataclass(frozen=True)
class Destination:
    """A URL of Apprise, which is a secret, and a name that tells nothing of it but its place and its kind."""

    name: str
    url: str = field(repr=False)

    @property
    def key(self) -> str:
        """What the store knows it by: another URL in its place is somebody else, who has heard nothing yet.

        Of 16 bits: too few for anybody to find a password by trying, as each 65,536th guess would fit.
        """
        digest = hashlib.blake2b(self.url.encode(), digest_size=2, person=b"peebot alerts")
        return f"{self.name}{_KEY_MARK}{digest.hexdigest()}"


def name_of(key: str) -> str:
    """The name of the destination with this key."""
    return key.partition(_KEY_MARK)[0]


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


@dataclass
class _Sending:
    """A message on its way; `outcome` counts once `thread` has ended."""

    message: Message
    thread: threading.Thread
    outcome: str | None = None


_late: dict[Destination, _Sending] = {}
"""What had not ended in time: nobody can end a thread, so it may still deliver while this process lives."""


def deliver_all(messages: Mapping[Destination, Message], limit_s: float) -> dict[Destination, str | None]:
    """Send each its message, side by side; who has not answered after `limit_s` seconds has failed.

    Until such a sending has ended nothing else is sent there; then the same message is not sent again if it
    was taken.
    """
    outcomes: dict[Destination, str | None] = {}
    started: dict[Destination, _Sending] = {}
    for destination, message in messages.items():
        late = _late.get(destination)
        if late is not None and late.thread.is_alive():
            outcomes[destination] = "is still busy with an earlier message"
            continue
        _late.pop(destination, None)
        if late is not None and late.message == message and late.outcome is None:
            outcomes[destination] = None
            continue
        started[destination] = _start(destination, message)
    end = time.monotonic() + limit_s
    for destination, sending in started.items():
        sending.thread.join(max(end - time.monotonic(), 0.0))
        if sending.thread.is_alive():
            _late[destination] = sending
            outcomes[destination] = f"did not answer in {limit_s:g} s"
        else:
            outcomes[destination] = sending.outcome
    return {destination: outcomes[destination] for destination in messages}


def _start(destination: Destination, message: Message) -> _Sending:
    def send() -> None:
        sending.outcome = "could not be sent to"  # stands if what follows raises
        sending.outcome = deliver(destination, message)

    # A daemon thread: one that hangs must not keep the process.
    sending = _Sending(message, threading.Thread(target=send, daemon=True))
    sending.thread.start()
    return sending


def _kind(url: str) -> str:
    found = re.match(r"[a-z0-9]{1,20}(?=://)", url, re.IGNORECASE)
    return found[0].lower() if found else "unreadable"
