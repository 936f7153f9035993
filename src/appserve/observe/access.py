r"""The access log: one line a request, in the combined format with the duration in seconds at its end.

    127.0.0.1 - - [21/Nov/2026:09:26:00 +0000] "GET /a HTTP/1.1" 200 12 "-" "curl/8" 0.000312

Nothing that a client sent can end its field or its line: what is not printable ASCII, and `"` and `\`, is
written as \xHH, \" and \\. A text that had characters above U+00FF is escaped as its UTF-8 bytes.
"""

import os
import re
import time
from collections.abc import Callable

from appserve.observe.writer import Writer

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_UNSAFE = re.compile(rb"[^ !#-\[\]-~]")
_SAFE_BYTES = bytes(byte for byte in range(256) if not _UNSAFE.match(bytes([byte])))
# What is left of a line without its safe bytes: the quotes of the format, and its end.
_SKELETON = b'""""""\n'

_Record = tuple[str, str, int, int, str, str, float]


class AccessLog:
    """Collects the requests of one turn of a worker's loop and writes their lines at its end."""

    # hot: access log on. A request costs one tuple; formatting and the search for unsafe bytes are done for
    # the whole batch by functions in C, and only a batch in which one is found is looked at line by line.

    __slots__ = ("_append", "_clock", "_format", "_records", "_second", "_writer", "excluded")

    def __init__(
        self,
        fd: int,
        clock: Callable[[], float] = time.time,
        *,
        report: Callable[[int], object] | None = None,
        excluded: frozenset[bytes] = frozenset(),
    ) -> None:
        """`report` is called when a write fails: see Writer. `excluded` are paths, without a query, whose
        requests are not to be recorded when they succeed: connection/record.py knows the path."""
        self.excluded = excluded
        self._clock = clock
        self._second = -1
        self._format = ""
        self._records: list[_Record] = []
        self._append = self._records.append
        self._writer = Writer(fd, _notice, report=report)

    @property
    def given(self) -> int:
        """The descriptor that was given: what another process can be sent."""
        return self._writer.given

    def replace(self, fd: int) -> int:
        """Write into `fd` from now on; gives the descriptor before it, to be closed by the caller."""
        return self._writer.replace(fd)

    def record(
        self, client: str, line: str | bytes, status: int, sent: int, seconds: float, referer: str, agent: str
    ) -> None:
        """Note one request, however it ended. The line is written at the next flush().

        client   the peer's address ("" for a unix socket)
        line     the request line as received: "GET /a?b HTTP/1.1"; what there was of it, when it was refused
        status   of the response; 499 when the client disconnected before its end
        sent     bytes of the response's body
        seconds  from the first byte of the request to the last of its response
        referer, agent   those fields as latin-1, "" where there is none
        """
        if isinstance(line, bytes):
            line = line.decode("latin-1")
        self._append((client or "-", line or "-", status, sent, referer or "-", agent or "-", seconds))

    def flush(self) -> None:
        """Once a turn of the loop: write the lines, and those that earlier turns left. Never waits."""
        records = self._records
        if not records:
            if self._writer.pending or self._writer.dropped:
                self._writer.flush()
            return
        now = int(self._clock())
        if now != self._second:
            self._second = now
            self._format = _format(now)
        # Counted first: what a pool thread records meanwhile belongs to the next turn, and is not lost.
        count = len(records)
        lines = _render(self._format, records, count)
        del records[:count]
        self._writer.write(lines)

    def drain(self, seconds: float) -> bool:
        """Wait this long for the reader to take the last lines of a process; True if it took all."""
        self.flush()
        return self._writer.drain(seconds)


def _format(unix_time: int) -> str:
    """The format of the lines of one second; times are UTC, which needs no rules for summers."""
    at = time.gmtime(unix_time)
    day = f"{at.tm_mday:02}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year}"
    return f'%s - - [{day}:{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} +0000] "%s" %d %d "%s" "%s" %.6f\n'


def _render(form: str, records: list[_Record], count: int) -> bytes:
    """The lines of the first `count` records; there may be more by now."""
    text = form % records[0] if count == 1 else "".join(map(form.__mod__, records[:count]))
    if text.isascii():
        lines = text.encode("ascii")
        if lines.translate(None, _SAFE_BYTES) == _SKELETON * count:
            return lines
    return "".join(form % _escaped(record) for record in records[:count]).encode("ascii")


def _escaped(record: _Record) -> _Record:
    client, line, status, sent, referer, agent, seconds = record
    return _escape(client), _escape(line), status, sent, _escape(referer), _escape(agent), seconds


def _escape(text: str) -> str:
    try:
        raw = text.encode("latin-1")
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "surrogatepass")
    return _UNSAFE.sub(_escape_one, raw).decode("ascii")


def _escape_one(match: re.Match[bytes]) -> bytes:
    byte = match[0]
    return b"\\" + byte if byte in b'"\\' else b"\\x%02x" % byte[0]


def _notice(count: int) -> bytes:
    # A comment to the tools that read combined logs, which skip what they cannot parse.
    return b"# appserve [%d]: %d access log lines lost: its reader was too slow, or the disk full\n" % (
        os.getpid(),
        count,
    )
