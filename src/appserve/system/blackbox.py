"""The black box: where a worker's last stacks are found, however it died.

faulthandler writes them, in C, within the signal handler: it answers when Python cannot, because C code
holds the GIL or the event loop is blocked, and on SIGSEGV. They go to memory that the master holds too, so
that they can be read when the worker is dead, and so that writing them cannot block.

Linux only in its best form: sealed memory bounds what a fault that repeats itself can write. Elsewhere a
file without a name does the same without the bound.
"""

import faulthandler
import os
import signal

from appserve.system.memory import make_memory

SIZE = 64 * 1024

# A real-time signal: applications, C libraries and people with `kill` leave them alone. Its default action
# ends the process, so it is for workers that have armed.
DUMP_SIGNAL = signal.SIGRTMIN + 5 if hasattr(signal, "SIGRTMIN") else signal.SIGUSR2


def make_box(name: str, portable: bool = False) -> int:
    """A descriptor for one worker's stacks, made by the master before it forks; closed on exec."""
    return make_memory(SIZE, name, portable)


def clear(fd: int) -> None:
    """Empty the box, before its next worker is forked."""
    # As far as it was written only: pages that were never written cost no memory.
    os.pwrite(fd, bytes(min(os.lseek(fd, 0, os.SEEK_CUR), SIZE)), 0)
    os.lseek(fd, 0, os.SEEK_SET)


def arm(fd: int) -> None:
    """In the worker: from now on a fault, or DUMP_SIGNAL, writes the stacks of all threads into the box.

    After the fork, because the registration holds this process's descriptor. What the box held is gone.
    """
    clear(fd)
    faulthandler.enable(file=fd, all_threads=True)
    faulthandler.register(DUMP_SIGNAL, file=fd, all_threads=True, chain=False)


def read(fd: int) -> str:
    """The stacks, "" when there are none. The worker may be alive, or write while we read."""
    # pread: the position belongs to the writer, which shares it.
    return os.pread(fd, SIZE, 0).rstrip(b"\0").decode("utf-8", "backslashreplace")
