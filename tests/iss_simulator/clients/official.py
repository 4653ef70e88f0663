"""The official Python client as a child process: one JSON line per callback, until its stdin is closed.

Arguments: the server's URL, a transport or ANY, the items (comma separated).
"""

from __future__ import annotations

import json
import sys
from typing import Any

from lightstreamer.client import ClientListener, LightstreamerClient, Subscription, SubscriptionListener


def say(event: str, *details: Any) -> None:
    sys.stdout.write(json.dumps([event, *details]) + "\n")
    sys.stdout.flush()


class Connection(ClientListener):
    def onStatusChange(self, status: str) -> None:  # noqa: N802
        say("status", status)

    def onServerError(self, code: int, message: str) -> None:  # noqa: N802
        say("server_error", code, message)


class Channel(SubscriptionListener):
    def onSubscription(self) -> None:  # noqa: N802
        say("subscribed")

    def onUnsubscription(self) -> None:  # noqa: N802
        say("unsubscribed")

    def onSubscriptionError(self, code: int, message: str) -> None:  # noqa: N802
        say("subscription_error", code, message)

    def onItemLostUpdates(self, item: str, position: int, lost: int) -> None:  # noqa: N802
        say("lost", item, position, lost)

    def onRealMaxFrequency(self, frequency: str) -> None:  # noqa: N802
        say("frequency", frequency)

    def onItemUpdate(self, update: Any) -> None:  # noqa: N802
        say("update", update.getItemName(), update.isSnapshot(), [update.getValue(n) for n in range(1, 7)])


url, transport, items = sys.argv[1:]
client = LightstreamerClient(url, "ISSLIVE")
client.addListener(Connection())
if transport != "ANY":
    client.connectionOptions.setForcedTransport(transport)
client.connectionOptions.setKeepaliveInterval(400)
client.connectionOptions.setStalledTimeout(200)
client.connectionOptions.setReconnectTimeout(200)
client.connectionOptions.setRetryDelay(300)
fields = ["TimeStamp", "Value", "Status.Class", "Status.Indicator", "Status.Color", "CalibratedData"]
subscription = Subscription("MERGE", items.split(","), fields)
subscription.addListener(Channel())
client.subscribe(subscription)
client.connect()
for line in sys.stdin:
    command = line.strip()
    if command == "unsubscribe":
        client.unsubscribe(subscription)
    elif command == "disconnect":
        client.disconnect()
    else:
        subscription.setRequestedMaxFrequency(command)
