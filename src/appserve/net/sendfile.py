"""The bytes of a file into a socket, without a copy of them in this process where the system can do that.

os.sendfile is there on Linux, macOS and the BSDs; some files (of FUSE, say) cannot be sent with it, and a
socket that encrypts in this process can never be. Then the bytes are read and sent: the second way, which
does all that the first does.
"""

import os
import socket
from typing import Any, Protocol

PIECE = 65536
"""Bytes that are read at once where they have to be. What the client does not take of them is read again."""


class Destination(Protocol):
    """A non-blocking socket, or what stands in for one."""

    def fileno(self) -> int: ...

    def send(self, data: Any, /) -> int: ...


def send_file(client: Destination, fd: int, offset: int, count: int, *, portable: bool = False) -> int:
    """Send at most `count` bytes of the file from `offset` on; gives how many went, 0 if it has none there.

    `portable` takes the second way. Raises BlockingIOError when the client takes nothing now, another
    OSError when it is gone. A file that cannot be read has nothing.
    """
    if not portable and type(client) is socket.socket and hasattr(os, "sendfile"):
        try:
            return os.sendfile(client.fileno(), fd, offset, count)
        except BlockingIOError:
            raise
        except OSError:
            pass  # it may be the file's or the client's fault; the second way can tell
    try:
        data = os.pread(fd, min(count, PIECE), offset)
    except OSError:
        return 0
    return client.send(data) if data else 0
