"""The request body, gathered before the application is called.

A WSGI application reads its body with blocking calls; if it read from the network, a client that sends one
byte a second would hold the worker. So the body is complete first: in memory up to a bound, then in a
spool. What the application gets is an ordinary file, with every method that PEP 3333 asks for.
"""

import io
import os
from typing import BinaryIO

from appserve.errors import Rejected
from appserve.http.messages import CHUNKED
from appserve.wsgi.spool import UNCOUNTED, Quota, Share, SpoolFile

MEMORY = 64 * 1024
"""Bytes of one body that stay in memory."""


class RequestBody:
    """Collects one body. `size` is the bytes so far."""

    __slots__ = ("_file", "_is_chunked", "_memory", "_refusal", "_share", "_spool", "size")

    def __init__(self, quota: Quota, length: int) -> None:
        """`length` is what was announced, or CHUNKED. Raises Rejected(413) if there never is room for it."""
        self._is_chunked = length == CHUNKED
        self._memory = bytearray()
        self._share = Share(quota)
        self._spool: SpoolFile | None = None
        self._refusal: Rejected | None = None
        self._file: BinaryIO | None = None
        self.size = 0
        if length > quota.largest:
            raise self._too_large()

    def append(self, data: bytes) -> None:
        """Take in body bytes. Raises Rejected if there is no room for them: 413 if there never is, else 503.

        A chunked body may be one that is refused for its length, and that is not known yet; so it is not kept
        any more, but counted to its end.
        """
        self.size += len(data)
        if self.size <= UNCOUNTED:  # hot: bench sync-post
            self._memory += data
            return
        if self._refusal is None and self._keep(data):
            return
        if self.size > self._share.quota.largest:
            raise self._too_large()
        if self._refusal is None:
            self._refusal = Rejected(503, "no room for the request body (--limit-spool)")
            self.discard()
        if not self._is_chunked:
            raise self._refusal

    def _keep(self, data: bytes) -> bool:
        """Whether there is room for further bytes."""
        share = self._share
        if self.size <= MEMORY:
            if not share.held and not share.take(min(MEMORY, share.quota.largest)):
                return False
            self._memory += data
            return True
        if self._spool is None:
            data = b"".join((self._memory, data))
            self._memory.clear()
            share.give(share.held)
            self._spool = SpoolFile(share)
        return self._spool.write(data)

    def _too_large(self) -> Rejected:
        largest = self._share.quota.largest
        return Rejected(413, f"request body longer than {largest} bytes (a quarter of --limit-spool)")

    def open(self) -> BinaryIO:
        """The body as a file at its start, once it is complete. Raises Rejected(503) if it was not kept."""
        if self._refusal is not None:
            raise self._refusal
        if self._file is None:
            if self._spool is None:
                self._file = io.BytesIO(self._memory)
            else:
                self._file = os.fdopen(self._spool.detach(), "rb")
        return self._file

    def discard(self) -> None:
        """Free what is held. A file on disk is closed, so that its room is free when its quota is."""
        self._memory.clear()
        if self._spool is not None:
            if self._file is not None:
                try:
                    self._file.close()
                except (ValueError, OSError):
                    pass  # the application has detached its buffer
            self._spool.clear()
        elif self._share.held:
            self._share.give(self._share.held)
