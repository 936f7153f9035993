"""The Date and Server fields that go into every response, ready as bytes."""

from email.utils import formatdate

SERVER = b"appserve"


class DateFields:
    """One per process; its worker renews it once a second, so no response formats a date.

    `date_server` is both fields, which are right until the wall clock says `until`. Any thread may renew
    them: at every moment they are whole.
    Source: RFC 9110 §6.6.1 (an origin server with a clock sends Date), §10.2.4.
    """

    __slots__ = ("date_server", "server", "until")

    def __init__(self, unix_time: float) -> None:
        self.until = 0
        self.server = b"Server: " + SERVER + b"\r\n"
        self.renew(unix_time)

    def renew(self, unix_time: float) -> None:
        """Take over the wall clock (seconds since the epoch)."""
        second = int(unix_time)
        if second + 1 != self.until:
            date = formatdate(second, usegmt=True).encode("ascii")
            self.date_server = b"Date: " + date + b"\r\n" + self.server
            self.until = second + 1
