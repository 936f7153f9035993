"""The error log: one line for each transition, a fact about a named thing.

    2026-11-21 09:26:00.123 [4127] INFO     worker 3 (pid 4127) ready in 0.41 s, generation 2

It never waits for its reader and never raises. Nothing that a client or an application put into a message can
add a line, move a cursor or colour a terminal: see `escape`. The logging of the application is not changed,
which is one reason why this is not the logging module; its cost is the other.
"""

import os
import re
import time
from _thread import LockType, allocate_lock  # threading would be imported for this alone
from collections.abc import Callable, Mapping
from enum import IntEnum

from appserve.observe.writer import PIPE_BUF, Writer


class Level(IntEnum):
    """The severity; the numbers are those of the logging module."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40
    CRITICAL = 50


_COLOURS = {
    Level.DEBUG: "\x1b[2m",
    Level.INFO: "\x1b[32m",
    Level.WARNING: "\x1b[33m",
    Level.ERROR: "\x1b[31m",
    Level.CRITICAL: "\x1b[1;31m",
}
_PLAIN = "\x1b[0m"
_NAME_WIDTH = 8
_INDENT = "    "

# C0, DEL, C1 (terminals take U+009B for ESC [), the separators that some readers take for line ends, the
# marks that turn text around (after U+202E "gnp.exe" shows as "exe.png"), and lone surrogates, which UTF-8
# cannot hold.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def escape(text: str) -> str:
    r"""`text` on one line, with nothing in it that a terminal obeys: "\n" becomes "\\n", ESC "\\x1b"."""
    return _UNSAFE.sub(_escape_one, text)


def _escape_one(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def wants_colour(fd: int, environ: Mapping[str, str]) -> bool:
    """Whether it is a terminal that can show colours, and NO_COLOR is unset (no-color.org)."""
    try:
        return os.isatty(fd) and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    except OSError:
        return False


class Log:
    """Lines of at least `level` into a descriptor. `level` may be changed at any time."""

    __slots__ = ("_clock", "_colour", "_lock", "_pid", "_stamp", "_writer", "level")

    def __init__(
        self,
        fd: int,
        level: Level = Level.INFO,
        colour: bool = False,
        clock: Callable[[], float] = time.time,
        *,
        report: Callable[[int], object] | None = None,
    ) -> None:
        """`report` is called when a write fails: see Writer."""
        self.level = level
        self._colour = colour
        self._clock = clock
        self._stamp = (-1, "")  # a second, and how it is written
        self._lock = allocate_lock()
        self._pid = os.getpid()
        self._writer = Writer(fd, self._notice, report=report)

    @property
    def given(self) -> int:
        """The descriptor that was given: what another process can be sent."""
        return self._writer.given

    def replace(self, fd: int, colour: bool = False) -> int:
        """Write into `fd` from now on; gives the descriptor before it, to be closed by the caller."""
        with self._free_lock():
            self._colour = colour
            return self._writer.replace(fd)

    def debug(self, message: str) -> None:
        self.record(Level.DEBUG, message)

    def info(self, message: str) -> None:
        self.record(Level.INFO, message)

    def warning(self, message: str) -> None:
        self.record(Level.WARNING, message)

    def error(self, message: str) -> None:
        self.record(Level.ERROR, message)

    def critical(self, message: str) -> None:
        self.record(Level.CRITICAL, message)

    def record(self, level: Level, message: str) -> None:
        """One line, if `level` is wanted."""
        if level >= self.level:
            self._write(self._line(level, message))

    def block(self, level: Level, message: str, text: str) -> None:
        """A line, and below it `text` with its lines indented: a traceback, stacks.

        It leaves in one write, so nothing comes between. When it is too long for that, each line
        bears the pid.
        """
        if level < self.level:
            return
        head = self._line(level, message)
        lines = [escape(line.expandtabs(4)) for line in text.rstrip().split("\n")] if text.strip() else []
        body = "".join(f"{_INDENT}{line}\n" for line in lines).encode()
        if len(head) + len(body) > PIPE_BUF:
            body = "".join(f"{_INDENT}[{os.getpid()}] {line}\n" for line in lines).encode()
        self._write(head + body)

    def flush(self) -> bool:
        """Once a turn of the loop: offer again what the reader did not take; True when nothing waits."""
        with self._free_lock():
            return self._writer.flush()

    def drain(self, seconds: float) -> bool:
        """Wait this long for the reader to take the last lines of a process."""
        with self._free_lock():
            return self._writer.drain(seconds)

    def _write(self, lines: bytes) -> None:
        # At once and not by the loop, or a traceback could be lost with a process that dies of its cause.
        with self._free_lock():
            self._writer.write(lines)

    def _free_lock(self) -> LockType:
        """The lock, which another thread may hold. In a child that was forked meanwhile it would never be
        released, so a child has its own."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._lock = allocate_lock()
        return self._lock

    def _line(self, level: Level, message: str) -> bytes:
        name = f"{level.name:<{_NAME_WIDTH}}"
        if self._colour:
            name = f"{_COLOURS[level]}{name}{_PLAIN}"
        return f"{self._time()} [{os.getpid()}] {name} {escape(message)}\n".encode()

    def _time(self) -> str:
        """Local time, as the operator's other logs have it."""
        now = self._clock()
        second, stamp = self._stamp
        if second != int(now):
            second = int(now)
            stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            self._stamp = (second, stamp)  # in one piece: other threads read it
        return f"{stamp}.{int((now - second) * 1000):03}"

    def _notice(self, count: int) -> bytes:
        return self._line(
            Level.WARNING,
            f"{count} log line{'s' * (count != 1)} lost: its reader was too slow, or the disk full",
        )
