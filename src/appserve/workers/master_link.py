"""The link of a worker's loop to its master: orders, SIGTERM, the master's death, the deadlines of leaving.

Both worker loops hold one MasterLink and read it. It watches nothing itself: the loop watches two descriptors
for reading and calls back,

    link.channel_fd     → link.on_channel()      orders of the master, or its end
    link.wakeup_fd      → link.on_wakeup()       SIGTERM came in
    once a second       → link.tick()            is the parent still the master?

and then looks at `listening`, `stage`, `linger_until`, `deadline` and `take_sibling_death()`. It knows
nothing of asyncio: an event loop gives the same two calls to add_reader.

SIGTERM is a Python handler plus a wakeup descriptor: without the descriptor, a signal that arrives between
the last byte code and the system call that waits is noticed only when that call ends. Event loops may take
the wakeup descriptor for themselves (uvloop does), so the handler also writes to ours.

A worker whose master is gone leaves as at a graceful stop, since its siblings leave too: idle at once, busy
within the graceful timeout. Three things show it,
because each can fail: the end of file on the channel (a busy worker does not look at it), the death signal
of the kernel (Linux only), the parent's pid (an application's own children may hold the channel open). A
worker that is stuck in its application looks at none of them, so SIGALRM with its default action is armed to
end it.
"""

import math
import os
import signal
import time
from collections.abc import Callable
from enum import IntEnum
from types import FrameType

from appserve.observe.scoreboard import WorkerState
from appserve.system.this_process import Wakeup
from appserve.workers.application import Application, choose_worker_class
from appserve.workers.channel import (
    Listening,
    LogFiles,
    QuitOrder,
    Ready,
    RetireOrder,
    Retiring,
    SiblingDied,
    StopOrder,
)
from appserve.workers.context import WorkerContext

#: How long idle keep-alive connections wait for a last request when SIGTERM comes from outside.
LINGER = 1.0

#: How long after its deadline an orphan that is stuck in its application is ended by the kernel.
ORPHAN_MARGIN = 0.5


class Phase(IntEnum):
    """How a worker stands to its work. It only ever moves down this list."""

    SERVING = 0
    RETIRING = 1  # accept nothing, finish what is there, until `deadline`
    STOPPING = 2  # accept until the queue is empty, finish it all, until `deadline`
    QUITTING = 3  # accept nothing, cut what is there at `deadline`, which is near


class MasterLink:
    """One worker's link to its master; made by the worker's loop when SIGTERM can be obeyed in an orderly
    way."""

    def __init__(self, context: WorkerContext, clock: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._clock = clock
        self._channel = context.channel
        self._sibling_died = False
        self._retired_by_order = False
        self._pending = ""
        self.listening = False
        self.stage = Phase.SERVING
        self.leaving = False  # whether any stage but SERVING was reached; the loop looks at it once a turn
        self.orphaned = False
        #: When idle connections are closed, and when everything is; monotonic.
        self.linger_until = math.inf
        self.deadline = math.inf
        self._limit = ""  # where the deadline comes from
        self.channel_fd = self._channel.fileno()
        self._wakeup = Wakeup()
        self._wakeup.arm()
        self.wakeup_fd = self._wakeup.fileno()
        signal.signal(signal.SIGTERM, self._on_term)

    @property
    def channel_open(self) -> bool:
        """Whether channel_fd is still to be watched: at its end of file it stays readable for ever."""
        return not self._channel.closed

    def announce_ready(self, application: Application) -> None:
        """Report to the master and in the scoreboard that this worker could serve.

        The loop goes on to watch its listeners only when `listening` is true: a socket that is bound and
        does not listen yet reports a hang-up for ever.
        """
        settings = self._context.settings
        worker_class, why = choose_worker_class(application, settings.worker_class, settings.threads)
        if not self.leaving:
            self._context.row.enter(WorkerState.READY, time.monotonic_ns())
        self._channel.send(
            Ready(application.interface, worker_class, why, application.name, application.reason)
        )

    def on_channel(self) -> None:
        """Read the master's orders; its end of file is the last of them."""
        for message in self._channel.receive():
            match message:
                case Listening():
                    self.listening = True
                case SiblingDied():
                    self._sibling_died = True
                case LogFiles() as logs:
                    self._context.change_logs(logs, self._channel.take_files(logs.count))
                case RetireOrder(linger, deadline):
                    self._retired_by_order = True
                    self._leave(Phase.RETIRING, linger, deadline)
                case StopOrder(linger, deadline):
                    self._leave(Phase.STOPPING, linger, deadline)
                case QuitOrder(deadline):
                    self._leave(Phase.QUITTING, 0.0, deadline)
        if self._channel.closed:
            self._on_master_death()
        self._log_pending()

    def on_wakeup(self) -> None:
        """Empty the wakeup descriptor; the signal's handler has run by now."""
        while self._wakeup.read():
            pass
        self._log_pending()

    def tick(self) -> None:
        """To be called about once a second: is the parent still the master?"""
        if not self.orphaned and os.getppid() != self._context.master_pid:
            self._on_master_death()
        self._log_pending()

    @property
    def needs_listeners(self) -> bool:
        """Whether the listeners may have to be watched, now or by a later order.

        A master orders Retire only where others are ready to accept. A SIGTERM from outside is no such
        promise: it may have gone to all workers, as when systemd stops a service, and a Stop follows.
        """
        if self.stage is Phase.RETIRING:
            return not self._retired_by_order
        return self.stage is not Phase.QUITTING

    def announce_retiring(self) -> None:
        """Report to the master that this worker accepts no more connections."""
        self._channel.send(Retiring())

    def take_sibling_death(self) -> bool:
        """Whether a sibling died since the last call: its wake-ups may be lost, so look at the listeners
        again."""
        died, self._sibling_died = self._sibling_died, False
        return died

    def close(self) -> None:
        """Give the wakeup descriptor back. SIGTERM stays handled: whoever closes is on its way out
        already."""
        self._wakeup.disarm()
        self._wakeup.close()

    def _on_term(self, signum: int, frame: FrameType | None) -> None:
        # This may run inside a frame of the application: it sets fields, arms a timer and sends a packet.
        if os.getppid() != self._context.master_pid:
            self._on_master_death()
        elif not self.leaving:
            self._pending = "SIGTERM received: retiring"
            self._leave(Phase.RETIRING, LINGER, self._context.settings.graceful_timeout)
            self.announce_retiring()  # the application may keep the loop for long, and a successor can start
        self._wakeup.wake()

    def _leave(self, stage: Phase, linger: float, deadline: float) -> None:
        """Enter `stage` unless a later one was reached. An earlier order's deadline is never put off."""
        now = self._clock()
        if self.stage is Phase.SERVING:
            self._context.row.enter(WorkerState.DRAINING, time.monotonic_ns())
        self.stage, self.leaving = max(self.stage, stage), True
        self.linger_until = min(self.linger_until, now + linger)
        if now + deadline < self.deadline:
            self.deadline = now + deadline
            quick = stage is Phase.QUITTING
            self._limit = f"quick stop ({deadline:g} s)" if quick else f"--graceful-timeout ({deadline:g} s)"

    def log_cut(self, connections: int) -> None:
        """Log that the deadline was reached with so many connections that still had something to do."""
        if connections:
            plural = "s" if connections > 1 else ""
            self._context.log.warning(
                f"{self._context} closed {connections} connection{plural}: {self._limit} exceeded"
            )

    def _on_master_death(self) -> None:
        if self.orphaned:
            return
        self.orphaned = True
        self._pending = f"the master (pid {self._context.master_pid}) is gone: stopping"
        graceful = self._context.settings.graceful_timeout
        self._leave(Phase.STOPPING, 0.0, graceful)
        # The application may have taken SIGALRM; no master is left to end a worker that is stuck in it.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, graceful + ORPHAN_MARGIN)

    def _log_pending(self) -> None:
        """Log what a signal handler could only note."""
        if self._pending:
            self._context.log.info(f"{self._context}: {self._pending}")
            self._pending = ""
