"""Accepting connections of the shared listeners: what an error means, and whether the queue is empty.

accept(2) reports three kinds of errors. Some belong to the one connection: the client has left, or the
network failed since (Linux passes such errors through), or a rule forbids it; the next connection may be
fine. Some mean that no connection can be had for now: no descriptors, no memory. What remains should not
happen, and would happen again at once. A listener stays readable in the last two cases, so the loop stops
watching it for a while.
"""

import errno
import select
import time
import traceback
from collections.abc import Callable, Iterable

from appserve.net.listeners import Listener
from appserve.observe.log import Level, Log

LOG_AGAIN = 60.0
"""Seconds between two log lines about the same error: it may come many times a second."""

FAILURES_PER_SECOND = 1000
"""So many connections that fail one after the other are one that stays in the queue: a security module
refuses it before it is taken out (do_accept of the kernel)."""

OF_ONE_CONNECTION = frozenset(
    number
    for name in (
        *(
            "ECONNABORTED",
            "ECONNRESET",
            "EPERM",
            "EACCES",
            "EPROTO",
            "ENOPROTOOPT",
            "EOPNOTSUPP",
            "ETIMEDOUT",
        ),
        *("ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH", "ENONET"),
    )
    if (number := getattr(errno, name, 0))  # not every system has all of them
)

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Something has to be given back before a connection can be had."""

HINTS = {
    errno.EMFILE: " (see the limit of open files)",
    errno.ENFILE: " (see the system's limit of open files)",
    errno.ENOSPC: " (see fs.epoll.max_user_watches)",
    errno.EPERM: " (a firewall or a security module forbids it)",
    errno.EACCES: " (a security module forbids it)",
}


class AcceptErrors:
    """Decides and logs what errors of accept() mean, for the listeners of one worker."""

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._logged: dict[int, float] = {}  # by errno, when
        self._second = float("-inf")  # when the failures began that are counted
        self._failures = 0

    def must_pause(self, error: OSError) -> bool:
        """Log `error` unless it was logged of late. Whether to stop accepting for a while."""
        number = error.errno or 0
        now = self._clock()
        if number in OF_ONE_CONNECTION and not self._is_endless(now):
            if number in HINTS:
                self._log_once(number, now, f"a connection cannot be accepted: {_text(error)}")
            elif number != errno.ECONNABORTED:  # the client has left, as clients do
                self._log.debug(f"a connection failed before it was accepted: {_text(error)}")
            return False
        self._log_once(number, now, f"cannot accept connections: {_text(error)}")
        return True

    def log_internal(self) -> None:
        """Log the exception that is being handled: a mistake of ours, which costs one new connection."""
        text = traceback.format_exc()
        self._log.block(Level.CRITICAL, "internal error: closed a new connection", text)

    def _is_endless(self, now: float) -> bool:
        if now - self._second >= 1.0:
            self._second, self._failures = now, 0
        self._failures += 1
        return self._failures > FAILURES_PER_SECOND

    def _log_once(self, number: int, now: float, text: str) -> None:
        if now - self._logged.get(number, float("-inf")) >= LOG_AGAIN:
            self._logged[number] = now
            self._log.error(text)


def _text(error: OSError) -> str:
    return f"{error.strerror or type(error).__name__}{HINTS.get(error.errno or 0, '')}"


def is_queue_empty(listeners: Iterable[Listener]) -> bool:
    """Whether no connection waits to be accepted; in inherited sockets it waits for the next server. All of
    them have to listen."""
    poll = select.poll()
    for listener in (one for one in listeners if not one.is_inherited):
        poll.register(listener.fileno(), select.POLLIN)
    return not poll.poll(0)
