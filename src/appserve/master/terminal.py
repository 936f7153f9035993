"""Which SIGHUP means that the terminal was closed, and which one asks for a reload.

The kernel sends it to the first process of the session, and a shell to its jobs, with kill(2) as an operator
does: the sender does not tell the two apart. The terminal does. A process that had a controlling terminal and
has none any more (opening /dev/tty fails with ENXIO) has lost it. Some shells send the signal a moment before
they end, and a job that was disowned gets none: so a signal and an end of the terminal belong together when
they come within WINDOW of each other, in either order.
"""

import errno
import math
import os
from collections.abc import Callable

#: Seconds between a SIGHUP and the end of the terminal, for the one to be because of the other.
WINDOW = 3.0

_NONE = frozenset({errno.ENXIO, errno.ENOENT, errno.ENODEV, errno.EIO})


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
