"""The requests of one connection, as the access log tells them."""

import time
from typing import TYPE_CHECKING

from appserve.asgi.scope import Field
from appserve.http.messages import RequestLine
from appserve.observe.access import AccessLog

if TYPE_CHECKING:
    from appserve.asgi.site import Site


class Visits:
    """One connection's part of the access log; a connection of a server without such a log has none."""

    __slots__ = ("_agent", "_began", "_fields", "_log", "_referer", "_site", "client")

    def __init__(self, site: "Site", log: AccessLog) -> None:
        self._site = site
        self._log = log
        self.client = ""  # who has asked: an address, or nothing
        self._began = 0.0
        self._fields: list[Field] = []
        self._referer = ""
        self._agent = ""

    def begin(self, fields: list[Field]) -> None:
        """A request begins. Its fields are looked at now: the application may change the list."""
        self._began = time.perf_counter()
        # hot: bench asgi-browser, access log on. A client repeats itself, and repeated fields are the same
        # objects, so this comparison costs nothing.
        if fields != self._fields:
            self._fields = fields.copy()
            known = dict(fields)
            self._referer = known.get(b"referer", b"").decode("latin-1")
            self._agent = known.get(b"user-agent", b"").decode("latin-1")

    def end(self, line: RequestLine, status: int, sent: int) -> None:
        """It has ended, with so many bytes of a body sent."""
        seconds = time.perf_counter() - self._began
        text = f"{line.method} {line.target.decode('latin-1')} {line.protocol}"
        self._log.record(self.client, text, status, sent, seconds, self._referer, self._agent)
        self._site.write_lines_soon()

    def refuse(self, line: bytes, status: int, sent: int) -> None:
        """A head that could not be read was refused, in so many bytes; `line` is the first one of it."""
        self._log.record(self.client, line, status, sent, 0.0, "", "")
        self._site.write_lines_soon()
