"""What systemd wants to hear from a service (sd_notify): one datagram to NOTIFY_SOCKET for each message."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

logger = logging.getLogger(__name__)


class ServiceManager:
    """Silent where no service manager listens. For the main loop only: that it calls is the proof of life."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the NUL of Linux' abstract namespace.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        limit_us = environment.get("WATCHDOG_USEC", "") if for_us else ""
        # Thrice within the limit: one ping may be late.
        self._ping_every_s = int(limit_us) / 3_000_000 if limit_us.isdecimal() else 0.0
        self._pinged_s = float("-inf")
        self._is_ready = False
        self._status = ""
        self._complained = False

    def progress(self, status: str, monotonic_s: float) -> None:
        """The main loop has done one more round; the first makes the service ready."""
        lines = []
        if not self._is_ready:
            self._is_ready = True
            lines.append("READY=1")
        if status != self._status:
            self._status = status
            lines.append(f"STATUS={status}")
        if self._ping_every_s and monotonic_s - self._pinged_s >= self._ping_every_s:
            self._pinged_s = monotonic_s
            lines.append("WATCHDOG=1")
        if lines:
            self._send("\n".join(lines))

    def stopping(self) -> None:
        """The daemon has been told to end."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(message.encode(), self._address)
        except OSError as error:
            if not self._complained:
                self._complained = True
                logger.warning("the service manager can't be told: %(error)s", {"error": error})
