"""The master's signals: how they come in, and what SIGHUP means.

Three ways were looked at. **signalfd** needs the signals blocked in every thread, is not in the standard
library, and a blocked signal stays blocked in whatever a child executes. **Waiting with signals unblocked**
(epoll_pwait) is not possible in Python. So: **plain handlers and a wakeup descriptor**. The C half of a
handler writes a byte into a socket that the loop waits for, also while Python code is busy, so no signal
slips in between the last look and the wait. The Python half appends the number to a queue and does nothing
else: logging or forking inside a handler has deadlocked other servers for years.

Numbers are taken from the queue and not from the bytes: a storm of signals can fill the socket, and then a
TERM must not be the one that was lost. SIGCHLD is only a hint: five deaths may make one signal.

A SIGHUP requests a reload, or comes because the terminal was closed. The kernel sends it to the first process
of the session, and a shell to its jobs, with kill(2) as an operator does: the sender does not show which it
is. The terminal does. A process that had a controlling terminal and has none any more (opening /dev/tty
fails with ENXIO) has lost it. Some shells send the signal a moment before they end, and a job that was
disowned gets none: so a signal and an end of the terminal belong together when they come within WINDOW of
each other, in either order.
"""

import errno
import math
import os
import signal
from collections import deque
from collections.abc import Callable
from types import FrameType

from appserve.system.this_process import Wakeup

#: The signals that the master handles. Those that it ignores would end or stop it by default.
HANDLED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGCHLD,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGWINCH,
)

#: Seconds between a SIGHUP and the end of the terminal, for the one to be because of the other.
WINDOW = 3.0

_NONE = frozenset({errno.ENXIO, errno.ENOENT, errno.ENODEV, errno.EIO})


class SignalQueue:
    """The signals that came in and were not looked at yet. `fileno()` is readable when there are some."""

    def __init__(self) -> None:
        self._queue: deque[int] = deque()
        self._wakeup = Wakeup()
        #: Whether HUP was ignored when the process began: nohup(1).
        self.hup_was_ignored = False

    def fileno(self) -> int:
        return self._wakeup.fileno()

    def install(self) -> None:
        """Handle HANDLED from now on; until the process ends, so that a late Ctrl-C is as quiet as an early
        one."""
        self._wakeup.arm()
        self.hup_was_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        for number in HANDLED:
            signal.signal(number, self._enqueue)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)

    def take(self) -> list[signal.Signals]:
        """What came in since the last time, in order."""
        while self._wakeup.read():
            pass
        return [signal.Signals(self._queue.popleft()) for _ in range(len(self._queue))]

    def _enqueue(self, number: int, frame: FrameType | None) -> None:
        self._queue.append(number)


def has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return error.errno not in _NONE  # without descriptors nothing is known of it
    return True


class Terminal:
    """The controlling terminal that the server was started from, if there was one. `now` is monotonic."""

    def __init__(self, exists: Callable[[], bool] = has_terminal) -> None:
        self._exists = exists
        self._is_there = exists()
        self._gone_at = -math.inf
        self._hup_at = -math.inf

    def on_hup(self, now: float) -> bool:
        """SIGHUP came in; gives whether it did because the terminal was closed."""
        self._hup_at = now
        return self.look(now) or now - self._gone_at <= WINDOW

    def look(self, now: float) -> bool:
        """To be called about once a second; gives whether the last SIGHUP announced the end."""
        if not self._is_there or self._exists():
            return False
        self._is_there = False
        self._gone_at = now
        return now - self._hup_at <= WINDOW
