"""Which files a process holds open.

A worker is forked from a master that holds the channels of all other workers. If it kept them, it would hide
the master's death from them, and could send messages in their names; so its first act is to close what is not
on a list.
"""

import os
import resource
import sys
from collections.abc import Iterable
from contextlib import suppress

# Where a listing is missing, numbers are tried; a limit of a billion, as in some containers, would take
# hours.
_HIGHEST_TRIED = 65536


def open_descriptors() -> list[int] | None:
    """The descriptors that this process holds, in order; None where the system does not list them."""
    for directory in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            # One of them was the listing's own, and is closed by now.
            found = [fd for fd in sorted(map(int, os.listdir(directory))) if _is_open(fd)]
            # macOS and the BSDs have a /dev/fd of three entries when fdescfs is not mounted.
            if directory == "/proc/self/fd" or len(found) > 3:
                return found
    return None


def close_all_but(keep: Iterable[int], portable: bool = False) -> None:
    """Close every descriptor that is not in `keep`. For a process that was just forked: nothing else runs.

    `portable` does it without a list from the system.
    """
    kept = frozenset(keep)
    found = None if portable else open_descriptors()
    if found is not None:
        for fd in set(found) - kept:
            with suppress(OSError):
                os.close(fd)
        return
    start = 0
    for fd in [*sorted(kept), _highest()]:
        # Not for an empty range: closerange(0, 0) closes everything (CPython hands -1 to close_range(2)).
        if fd > start:
            os.closerange(start, fd)
        start = max(start, fd + 1)


def open_standard_streams() -> None:
    """Put /dev/null in the place of standard input, output or error that was closed by whoever started us.

    Otherwise the next socket gets that number, and what the application prints goes to a client. Python has
    None for a stream that was closed, so an application could not write to it, nor to wsgi.errors.
    """
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if not _is_open(fd):
            # The lowest free number is given, which is `fd`. Inheritable, as standard streams are.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            # Whatever the locale is, a write that goes nowhere is no error.
            stream = os.fdopen(fd, mode, encoding="utf-8", errors="backslashreplace", closefd=False)
            setattr(sys, name, stream)


def _highest() -> int:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _HIGHEST_TRIED if soft in (-1, resource.RLIM_INFINITY) else min(soft, _HIGHEST_TRIED)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
