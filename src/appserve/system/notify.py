"""What systemd is sent of the server's state, where it has given a socket for that (Type=notify).

Source: sd_notify(3), systemd.service(5).
"""

import os
import socket
import time
from collections.abc import MutableMapping
from enum import Enum


class ServiceState(Enum):
    """A state of the server, as it is sent."""

    READY = "READY=1"
    RELOADING = "RELOADING=1"
    STOPPING = "STOPPING=1"


class Notifier:
    """Sends each state once. Without a socket, and if it cannot be sent, nothing happens."""

    __slots__ = ("_address", "_sent")

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Takes NOTIFY_SOCKET out of the environment: it is for this process, and no other has a state."""
        path = environ.pop("NOTIFY_SOCKET", "")
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self._sent: ServiceState | None = None

    def send(self, state: ServiceState, status: str) -> None:
        """Send the state, and one line about it that `systemctl status` shows."""
        if not self._address or state is self._sent:
            return
        self._sent = state
        lines = [state.value, f"STATUS={status}", f"MAINPID={os.getpid()}"]
        if state is ServiceState.RELOADING:
            lines.append(f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            pass  # systemd does not listen any more: it has stopped, or was never there
