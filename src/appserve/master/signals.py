"""The master's signals: how they come in.

Three ways were looked at. **signalfd** needs the signals blocked in every thread, is not in the standard
library, and a blocked signal stays blocked in whatever a child executes. **Waiting with signals unblocked**
(epoll_pwait) cannot be said in Python. So: **plain handlers and a wakeup descriptor**. The C half of a
handler writes a byte into a socket that the loop waits for, also while Python code is busy, so no signal
slips in between the last look and the wait. The Python half appends the number to a queue and does nothing
else: logging or forking inside a handler has deadlocked other servers for years.

Numbers are taken from the queue and not from the bytes: a storm of signals can fill the socket, and then a
TERM must not be the one that was lost. SIGCHLD is only a hint: five deaths may make one signal.
"""

import signal
from collections import deque
from types import FrameType

from appserve.system.wakeup import Wakeup

#: What the master hears. Those that it does not know what to do with would end or stop it by default.
HEARD = (
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
        """Hear HEARD from now on; until the process ends, so that a late Ctrl-C is as quiet as an early
        one."""
        self._wakeup.arm()
        self.hup_was_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        for number in HEARD:
            signal.signal(number, self._enqueue)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)

    def take(self) -> list[signal.Signals]:
        """What came in since the last time, in order."""
        while self._wakeup.read():
            pass
        taken = []
        while self._queue:
            taken.append(signal.Signals(self._queue.popleft()))
        return taken

    def _enqueue(self, number: int, frame: FrameType | None) -> None:
        self._queue.append(number)
