"""Room for signal handlers.

faulthandler gives the main thread an alternate stack for signals, so that a stack overflow can be told, and
Python runs all its handlers on it. It is small: 8 KiB more than one signal needs. Signals that arrive
together are stacked before the first of them runs, each with all registers of the processor. Measured: six
different signals at once end a process with SIGSEGV (where a register set takes 3 KiB; with AMX it takes
11, and two are enough). So we give the thread a stack that holds them all; pages that are not used cost
nothing.
"""

import mmap
import sys

SIZE = 1 << 20


def enlarge_signal_stack() -> mmap.mmap | None:
    """Give the calling thread an alternate stack of SIZE bytes, after faulthandler.enable().

    The caller keeps what is returned for as long as the process lives. None where it cannot be done.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        import ctypes

        class StackT(ctypes.Structure):
            """stack_t of sigaltstack(2), in Linux's order."""

            _fields_ = (("ss_sp", ctypes.c_void_p), ("ss_flags", ctypes.c_int), ("ss_size", ctypes.c_size_t))

        memory = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        stack = StackT(start, 0, SIZE)
        if ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None) != 0:
            return None
    except (ImportError, OSError, AttributeError):
        return None  # Python without libffi, or a C library without sigaltstack
    return memory
