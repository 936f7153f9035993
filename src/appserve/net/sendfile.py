"""The bytes of a file into a socket, without a copy of them in this process where the system can do that.

os.sendfile is there on Linux, macOS and the BSDs; some files (of FUSE, say) cannot be sent with it, and a
socket that encrypts in this process can never be. Then the bytes are read and sent: the second way, which
does all that the first does.
"""

import os
from socket import SocketType
from typing import Any, Protocol

PIECE = 65536
"""Bytes that are read at once where they have to be. What the client does not take of them is read again."""


class Destination(Protocol):
    """A non-blocking socket, or what stands in for one."""

    def fileno(self) -> int: ...

    def send(self, data: Any, /) -> int: ...


class FilePart:
    """`size` bytes of a regular file from `offset` on, by a descriptor of their own."""

    __slots__ = ("fd", "offset", "size")

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self.fd = fd
        self.offset = offset
        self.size = size

    def advance(self, size: int) -> None:
        """Drop `size` bytes from the front."""
        self.offset += size
        self.size -= size

    def close(self) -> None:
        """Let the descriptor go."""
        os.close(self.fd)


def send_file(client: Destination, fd: int, offset: int, count: int) -> int:
    """Send at most `count` bytes of the file from `offset` on; gives how many went, 0 if it has none there.

    Raises BlockingIOError when the client takes nothing now, another OSError when it is gone. A file that
    cannot be read has nothing.
    """
    if isinstance(client, SocketType) and hasattr(os, "sendfile"):
        try:
            return os.sendfile(client.fileno(), fd, offset, count)
        except BlockingIOError:
            raise
        except OSError:
            pass  # it may be the file's or the client's fault; the second way shows it
    try:
        data = os.pread(fd, min(count, PIECE), offset)
    except OSError:
        return 0
    return client.send(data) if data else 0
