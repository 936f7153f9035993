"""No worker outlives its master for long, whatever it is doing."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.integration.server import (
    HELLO,
    HELLO_ASGI,
    HELLO_THREADS,
    Server,
    await_fact,
    is_alive,
    processes_of_session,
)
from tests.integration.test_signals import WAITS, WAITS_ASGI, WAITS_THREADS, begin_to_wait, read_to_end

Serve = Callable[..., Server]


def kill_master(server: Server) -> float:
    """kill -9; gives when."""
    at = time.monotonic()
    server.signal(signal.SIGKILL)
    assert server.wait() == -signal.SIGKILL
    return at


def await_nobody(server: Server, timeouts: float = 30.0) -> None:
    await_fact(
        lambda: not any(map(is_alive, processes_of_session(server.pid))), "all processes are gone", timeouts
    )


@pytest.mark.parametrize("source", [HELLO, HELLO_THREADS, HELLO_ASGI], ids=["sync", "threads", "asgi"])
def test_idle_workers_are_gone_within_two_seconds(serve: Serve, source: str) -> None:
    server = serve("app:app", "-w", "3", files={"app.py": source})
    server.await_ready(3)
    kept = server.connect()
    kept.request("GET", "/")
    kept.getresponse().read()

    killed_at = kill_master(server)

    await_nobody(server)
    assert time.monotonic() - killed_at < 2.0
    assert server.find(rf"worker 1 \(pid \d+\): the master \(pid {server.pid}\) is gone: stopping")
    assert server.is_refusing()
    kept.close()


@pytest.mark.parametrize("source", [WAITS, WAITS_THREADS, WAITS_ASGI], ids=["sync", "threads", "asgi"])
def test_a_busy_worker_finishes_its_request_and_leaves(serve: Serve, source: str) -> None:
    server = serve(files={"app.py": source})
    client = begin_to_wait(server)

    kill_master(server)
    (server.folder / "gate").touch()

    assert read_to_end(client).endswith(b"done")
    await_nobody(server)


BLOCKED = "import pathlib, time\n" + HELLO_ASGI.replace(
    "    body =", "    pathlib.Path('begun').touch()\n    time.sleep(600)\n    body ="
)


@pytest.mark.parametrize(
    "source",
    [WAITS, WAITS_THREADS, WAITS_ASGI, BLOCKED],
    ids=["sync", "threads", "asgi", "blocked event loop"],
)
def test_a_worker_that_does_not_finish_is_gone_when_the_graceful_timeout_is_over(
    serve: Serve, source: str
) -> None:
    server = serve("app:app", "--graceful-timeout", "1", files={"app.py": source})
    client = begin_to_wait(server)

    killed_at = kill_master(server)

    await_nobody(server)
    assert time.monotonic() - killed_at < 15.0, "it is 25 s if nothing else is set"
    client.close()


def test_a_worker_that_imports_its_application_does_not_outlive_its_master(serve: Serve) -> None:
    source = "import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(600)\n"
    server = serve(files={"app.py": source}, wait=False)
    await_fact((server.folder / "begun").exists, "the application is being imported")

    kill_master(server)

    await_nobody(server, timeouts=5.0)


def test_a_child_of_the_application_does_not_keep_a_worker_alive(serve: Serve) -> None:
    """It may hold what it inherited open; the worker also looks at its parent's pid."""
    source = (
        """
import os, subprocess
holder = subprocess.Popen(["sleep", "600"], close_fds=False)
"""
        + HELLO
    )
    server = serve(files={"app.py": source})
    worker = int(server.get().text)

    kill_master(server)

    await_fact(lambda: not is_alive(worker), "the worker is gone", timeouts=5.0)


def test_workers_killed_together_with_their_master_leave_no_process(serve: Serve) -> None:
    server = serve("app:app", "-w", "2")
    workers = server.await_ready(2)

    os.kill(workers[1], signal.SIGKILL)
    kill_master(server)

    await_nobody(server)
