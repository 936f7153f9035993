"""The Date and Server fields that go into every response, ready as bytes."""

from email.utils import formatdate

SERVER = b"appserve"


class Stamp:
    """One per process; its worker renews it once a second, so no response formats a date.

    `date_server` is both fields; `date` and `server` serve an application that brought the other itself.
    They are right until the wall clock says `until`.
    Source: RFC 9110 §6.6.1 (an origin server with a clock sends Date), §10.2.4.
    """

    __slots__ = ("date", "date_server", "server", "until")

    def __init__(self, unix_time: float) -> None:
        self.until = 0
        self.server = b"Server: " + SERVER + b"\r\n"
        self.renew(unix_time)

    def renew(self, unix_time: float) -> None:
        """Take over the wall clock (seconds since the epoch)."""
        second = int(unix_time)
        if second + 1 != self.until:
            self.until = second + 1
            self.date = b"Date: " + formatdate(second, usegmt=True).encode("ascii") + b"\r\n"
            self.date_server = self.date + self.server
