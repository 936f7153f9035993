"""What the kernel knows of a connection's bytes that this process does not see.

It takes megabytes of a response ahead of the client, and accepts connections with their requests long before
we do. So what it took from us says little about a slow reader, and what we saw says little about how long a
request has waited.
"""

import fcntl
import socket
import struct
import sys
import termios
from typing import Protocol

LAST_DATA_RECV = 52
"""Where struct tcp_info has the milliseconds since the last data came in (linux/tcp.h)."""

_MILLISECONDS = struct.Struct("=I")
_NUMBER = struct.Struct("=i")
_LINGER_NOT = struct.pack("ii", 1, 0)


class Socket(Protocol):
    """A socket, or what stands in for one."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...

    def setsockopt(self, level: int, option: int, value: bytes, /) -> None: ...


def reset_on_close(client: Socket) -> None:
    """Let the next close be a reset, which drops what the kernel has not sent: the client sees that
    something is missing, and the kernel does not keep it for minutes (socket(7) SO_LINGER)."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)


def count_untaken(fd: int) -> int:
    """Bytes of a socket that the kernel took from us, and the other side not from the kernel; 0 if it does
    not say (tcp(7) and unix(7) SIOCOUTQ)."""
    try:
        return int(_NUMBER.unpack(fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(_NUMBER.size)))[0])
    except (OSError, ValueError):
        return 0


def silent_for(client: Socket) -> int:
    """Nanoseconds since the last bytes came in from a client, read or not, accepted or not; 0 if the kernel
    does not say: it does for TCP on Linux (tcp(7) TCP_INFO)."""
    if not sys.platform.startswith("linux"):
        return 0
    try:
        info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LAST_DATA_RECV + _MILLISECONDS.size)
    except OSError:
        return 0
    if len(info) < LAST_DATA_RECV + _MILLISECONDS.size:
        return 0
    return int(_MILLISECONDS.unpack_from(info, LAST_DATA_RECV)[0]) * 1_000_000
