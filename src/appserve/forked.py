"""The end of a process that the application forked and that comes back out of the application.

It happens: `if os.fork() == 0: work(); sys.exit()`, or a child that simply falls through to the return. Such
a child has all that the worker had, so if it went on it would answer other people's requests with half of the
state. It ends here as a program of its own would, without the exit functions, which are the worker's.
"""

import os
import sys
from typing import NoReturn

from appserve.errors import ClientDisconnected
from appserve.tracebacks import application_traceback


def leave(error: BaseException | None) -> NoReturn:
    """End this process with the exit code that `error`, which came out of the application, asks for."""
    code = 0
    try:
        if isinstance(error, SystemExit):
            code = _exit_code(error)
        elif error is not None and not isinstance(error, ClientDisconnected):
            # (It has no client: the socket was closed after the fork.)
            code = 1
            print(application_traceback(error), file=sys.stderr)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code)


def _exit_code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)
    return 1
