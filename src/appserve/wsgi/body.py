"""The request body, gathered before the application is called.

A WSGI application reads its body with blocking calls; if it read from the network, a client that sends one
byte a second would hold the worker. So the body is complete first: in memory up to a bound, then in a
spool. What the application gets is an ordinary file, with every method that PEP 3333 asks for.
"""

import io
import os
from typing import BinaryIO

from appserve.errors import Rejected
from appserve.wsgi.spool import Quota, SpoolFile

MEMORY = 256 * 1024
"""Bytes of one body that stay in memory."""


class RequestBody:
    """Collects one body. `size` is the bytes so far."""

    __slots__ = ("_file", "_memory", "_spool", "size")

    def __init__(self, quota: Quota) -> None:
        self._memory = bytearray()
        self._spool = SpoolFile(quota)
        self._file: BinaryIO | None = None
        self.size = 0

    def append(self, data: bytes) -> None:
        """Take in body bytes. Raises Rejected(503) when neither memory nor disk has room for them."""
        self.size += len(data)
        if self.size <= MEMORY:
            self._memory += data
            return
        if self._memory:
            data = b"".join((self._memory, data))
            self._memory.clear()
        if not self._spool.write(data):
            raise Rejected(503, "no room to keep the request body until it is complete")

    def open(self) -> BinaryIO:
        """The body as a file at its start, once it is complete."""
        if self._file is None:
            if self.size <= MEMORY:
                self._file = io.BytesIO(self._memory)
            else:
                self._file = os.fdopen(self._spool.detach(), "rb")
        return self._file

    def discard(self) -> None:
        """Free what is held. A file on disk is closed, so that its room is free when its quota is."""
        if self._file is not None and self.size > MEMORY:
            try:
                self._file.close()
            except (ValueError, OSError):
                pass  # the application has detached its buffer
        self._memory.clear()
        self._spool.clear()
