"""How much of a request is accepted before it is refused."""

from dataclasses import dataclass

from appserve.errors import Rejected

HEAD_SETTINGS = "from --limit-request-line and --limit-request-field-size"
"""What the limit of a whole head follows from."""

SMALLEST_HEAD = 65536
"""Bytes that a whole head may have, whatever the limits of its lines."""

SHARES = 4
"""One request body, or one response, may hold this part of what is kept for slow clients (--limit-spool)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one request, in bytes unless said; what passes them is answered 414, 431 or 413.

    request_line  the request line without its CRLF (RFC 9112 §3 asks for 8000 at least)
    fields        how many field lines a head, or a trailer section, may have
    field_size    one field line without its CRLF
    body          the body after de-chunking; 0 means no limit
    """

    request_line: int = 8190
    fields: int = 100
    field_size: int = 8190
    body: int = 1 << 30

    @property
    def head(self) -> int:
        """The whole head: room for two of the largest lines, and 64 KiB at least.

        Without it the product of `fields` and `field_size` (800 KB by default) would be what one
        silent connection may pin.
        """
        return max(SMALLEST_HEAD, self.request_line + 2 * self.field_size)

    def line_too_long(self) -> Rejected:
        return Rejected(414, f"request line longer than {self.request_line} bytes (--limit-request-line)")

    def field_too_long(self) -> Rejected:
        return Rejected(431, f"header field longer than {self.field_size} bytes (--limit-request-field-size)")

    def too_many_fields(self) -> Rejected:
        return Rejected(431, f"more than {self.fields} header fields (--limit-request-fields)")

    def head_too_long(self) -> Rejected:
        return Rejected(
            431,
            f"request head longer than {self.head} bytes ({HEAD_SETTINGS})",
        )

    def body_too_long(self) -> Rejected:
        return Rejected(413, f"request body longer than {self.body} bytes (--limit-request-body)")
