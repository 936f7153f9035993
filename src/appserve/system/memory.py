"""Memory that forked processes share, and that none of them can take away from the others.

On Linux it is a sealed memfd: a worker that called ftruncate() on a plain shared file would give every
process that looks at the lost part a SIGBUS. Elsewhere it is a temporary file without a name.
"""

import fcntl
import mmap
import os
import tempfile


def make_shared(size: int, name: str, portable: bool = False) -> tuple[int, mmap.mmap]:
    """`size` zero bytes, as a descriptor (closed on exec) and mapped; forked children see the same memory.

    `name` is what /proc/PID/maps shows. `portable` asks for what every system has.
    """
    fd = make_memory(size, name, portable)
    return fd, mmap.mmap(fd, size)


def make_memory(size: int, name: str, portable: bool = False) -> int:
    """The descriptor of `size` zero bytes, sealed where that is possible."""
    fd = None if portable else _make_sealed(size, name)
    return _make_unnamed(size) if fd is None else fd


def _make_sealed(size: int, name: str) -> int | None:
    """The descriptor of a memfd that can neither shrink nor grow; None where there are none."""
    if not hasattr(os, "memfd_create"):
        return None
    try:
        fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError:
        return None  # before Linux 3.17, or a sandbox forbids it
    try:
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _make_unnamed(size: int) -> int:
    """The descriptor of a file of that size that no path leads to."""
    # In memory where that is possible: a mapping of a file on a disk is written to it from time to time, and
    # a process that stores to it may wait for that.
    directory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryFile(dir=directory) as file:
        os.ftruncate(file.fileno(), size)
        return os.dup(file.fileno())
