"""Processes: fork, signal, reap. The only file that does any of these.

What crosses a fork

    descriptor                  why the worker has it
    0 1 2                       the application prints to them
    error log, access log       where they are files; "-" is 1 or 2 (a file that is opened anew comes later,
                                over the channel)
    listeners                   to accept from
    its own channel end         orders of the master, and the master's death
    its own black box           faulthandler writes into it
    scoreboard                  to map it; the mapping keeps a descriptor of its own
    ─ and nothing else: no sibling's channel, pidfd or black box, no epoll, no wakeup pair of the master.

    signal dispositions         all at their defaults (PIPE and XFSZ ignored, as Python has them; the black
                                box's ignored until the worker has armed it)
    signal mask                 empty

    The first act of the child is to see to that, with all signals blocked: otherwise it would run handlers
    of the master, and a signal sent to it would put its number into the master's wakeup pair.
"""

import atexit
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NoReturn

from appserve.errors import ExitCode
from appserve.master.events import Exit
from appserve.system.blackbox import DUMP_SIGNAL
from appserve.system.descriptors import close_all_but

STANDARD_STREAMS = (0, 1, 2)

#: Ignored by Python in every process: writing to a closed pipe or past a limit is an error to handle there.
_IGNORED_BY_PYTHON = frozenset(
    number for name in ("SIGPIPE", "SIGXFSZ", "SIGXFZ") if (number := getattr(signal, name, None)) is not None
)
_UNCHANGEABLE = frozenset({signal.SIGKILL, signal.SIGSTOP})


class Child:
    """A process that we forked and have not reaped: until then its pid is no other process's.

    `pidfd` is readable when the process has ended; -1 where there are none (before Linux 5.3, other systems).
    """

    __slots__ = ("pid", "pidfd")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = -1
        try:
            self.pidfd = os.pidfd_open(pid)
        except (AttributeError, OSError):
            pass

    def signal(self, number: int) -> None:
        """Send a signal; to a process that has ended, none."""
        try:
            if self.pidfd >= 0:
                signal.pidfd_send_signal(self.pidfd, number)
            else:
                os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def close(self) -> None:
        """Forget the process; it has been reaped."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def fork(run: Callable[[], int], keep: Iterable[int]) -> Child:
    """A child that calls `run` and exits with the code it gives; `keep` are the descriptors it has besides
    0 1 2.

    Raises OSError when the system has no process to give.
    """
    _flush()  # what is still to be printed must not be printed by the child as well
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _live(run, keep)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Child(pid)


def restart() -> NoReturn:
    """Run this program anew in this process, with the arguments that it was started with."""
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def call(run: Callable[[], bytes], seconds: float) -> bytes:
    """What `run` gives in a child, which ends with it; b"" if the child dies before. For what must not touch
    this process.

    Raises TimeoutError after that many seconds, when the child has been killed; OSError as fork() does.
    """
    reading, writing = os.pipe()

    def answer() -> int:
        with open(writing, "wb") as pipe:
            pipe.write(run())
        return 0

    try:
        child = fork(answer, (writing,))
    except OSError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        with open(reading, "rb") as pipe:
            return _read_all(pipe.fileno(), seconds)
    finally:
        child.signal(signal.SIGKILL)  # it has answered, or will not
        os.waitpid(child.pid, 0)
        child.close()


def _read_all(fd: int, seconds: float) -> bytes:
    """All that is written until the last writer has gone. Raises TimeoutError."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    end = time.monotonic() + seconds
    data = b""
    while poll.poll(max(0.0, end - time.monotonic()) * 1000):
        piece = os.read(fd, 65536)
        if not piece:
            return data
        data += piece
    raise TimeoutError


def wait(child: Child, *, blocks: bool = True) -> int | None:
    """The exit code of a child that has ended, negative for a signal; it is forgotten then. None if it has
    not ended, where that is not waited for (`blocks`)."""
    pid, status = os.waitpid(child.pid, 0 if blocks else os.WNOHANG)
    if not pid:
        return None
    child.close()
    return os.waitstatus_to_exitcode(status)


def reap() -> list[tuple[int, Exit]]:
    """All children that have ended, with how; also those that init gave us when their parents died."""
    ended: list[tuple[int, Exit]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        code = os.waitstatus_to_exitcode(status)
        ended.append((pid, Exit(code) if code >= 0 else Exit(None, -code)))


def _live(run: Callable[[], int], keep: Iterable[int]) -> None:
    """The child's whole life. Never returns: the frames below are the master's, and must not be unwound
    here."""
    code = int(ExitCode.INTERNAL)
    try:
        # What the parent has registered is the parent's: it may remove the parent's files.
        atexit._clear()
        _reset_signals()
        close_all_but({*STANDARD_STREAMS, *keep})
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        code = run()
    except BaseException:
        traceback.print_exc()
    finally:
        _leave(code)


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - _UNCHANGEABLE:
        default = signal.SIG_IGN if number in _IGNORED_BY_PYTHON else signal.SIG_DFL
        if signal.getsignal(number) is not default:
            signal.signal(number, default)
    signal.signal(DUMP_SIGNAL, signal.SIG_IGN)


def _leave(code: int) -> None:
    """End this process as Python would: wait for threads, run what the application registered with atexit,
    flush.

    Not by sys.exit(), which unwinds the master's frames, nor by os._exit() alone, which loses what the
    application has buffered. Whoever hangs here is killed when its time to leave is over.
    """
    try:
        # Also lets idle threads of concurrent.futures go; joining them without it would wait for ever.
        threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter itself calls
        atexit._run_exitfuncs()
        _flush()
    except BaseException:
        pass
    finally:
        os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            with suppress(OSError):  # its reader has gone
                stream.flush()
