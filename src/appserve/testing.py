"""A server for tests: it serves an application on a free port while a block runs.

with appserve.testing.serve(app) as url:
    assert httpx.get(url).status_code == 200
"""

import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from appserve.embedded import run
from appserve.master.process import Child, fork, wait

START = 60.0
"""Seconds that the application may take to be ready."""


@contextmanager
def serve(application: str | Callable[..., Any], **settings: Any) -> Iterator[str]:
    """Serve `application`, an object or "module:attribute", and give the URL. The end stops the server.

    `settings` are those of appserve.run; warnings are logged to standard error, and requests are not.

    The server is a child of this process, so it has the application as it is now; what the application
    changes while it serves is not seen here. Raises RuntimeError if the server does not start, or did not
    end well.
    """
    with tempfile.TemporaryDirectory() as folder, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
            notified.bind(os.path.join(folder, "notify"))
            fd = listener.fileno()

            def work() -> int:
                os.environ["NOTIFY_SOCKET"] = os.path.join(folder, "notify")
                quiet = {"access_logfile": "none", "log_level": "warning"}
                return run(application, bind=f"fd://{fd}", **(quiet | settings))

            child = fork(work, (fd,))
            code = _await_ready(child, notified)
        if code is not None:
            raise RuntimeError(f"the server did not start: exit code {code} (its log is on standard error)")
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            child.signal(signal.SIGTERM)
            code = wait(child)
        if code:
            raise RuntimeError(f"the server ended with exit code {code}")


def _await_ready(child: Child, notified: socket.socket) -> int | None:
    """None when the server can serve, its exit code if it has ended; -9 if it was not ready in time."""
    end = time.monotonic() + START
    notified.settimeout(0.05)
    while time.monotonic() < end:
        try:
            if notified.recv(4096).startswith(b"READY=1"):
                return None
        except TimeoutError:
            code = wait(child, blocks=False)
            if code is not None:
                return code
    child.signal(signal.SIGKILL)
    return wait(child)
