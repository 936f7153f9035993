"""The first boot: it serves and says what, or it ends at once and says why."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from appserve.errors import ExitCode
from tests.integration.server import (
    HELLO,
    HELLO_ASGI,
    READY,
    Server,
    await_fact,
    children_of,
    descriptors_of,
    is_alive,
    processes_of_session,
    title_of,
)

Serve = Callable[..., Server]

# Imports only when the file `gate` is there, and says that it has begun.
GATED = """
import pathlib, time
pathlib.Path("importing").touch()
while not pathlib.Path("gate").exists():
    time.sleep(0.01)
"""


def test_four_workers_boot_and_serve(serve: Serve) -> None:
    server = serve("app:app", "--workers", "4")

    workers = server.await_ready(4)

    assert {1, 2, 3, 4} == set(workers)
    assert set(workers.values()) == set(server.worker_pids())
    assert int(server.get().text) in workers.values()


def test_an_application_without_lifespan_is_logged_once_for_all_workers(serve: Serve) -> None:
    """Django's has none, and the same line from each worker hides the others."""
    source = "async def app(scope, receive, send):\n    raise ValueError('http alone')\n"
    server = serve("app:app", "--workers", "3", files={"app.py": source})
    server.await_ready(3)
    assert len(server.find("has no lifespan")) == 1

    server.signal(signal.SIGHUP)
    server.await_line("generation 2 serves with 3 workers")

    assert len(server.find("has no lifespan")) == 2


@pytest.mark.parametrize(
    ("source", "kind", "worker_class"), [(HELLO, "WSGI", "sync"), (HELLO_ASGI, "ASGI", "asgi")]
)
def test_the_banner_says_what_serves_what_where_and_why(
    serve: Serve, source: str, kind: str, worker_class: str
) -> None:
    server = serve("app:app", "--workers", "2", files={"app.py": source})

    log = server.log
    assert re.search(rf"INFO +appserve \d\S* serves app:app \({kind}: .+\)$", log, re.MULTILINE)
    assert re.search(
        rf"2 {worker_class} workers \(workers: .*--workers.*; {worker_class}: .+\), master pid {server.pid}$",
        log,
        re.MULTILINE,
    )
    assert server.port != 0
    assert server.get().status == 200


def test_the_banner_names_every_address(serve: Serve) -> None:
    server = serve("app:app", "--bind", "127.0.0.1:0", "--bind", "unix:app.sock", bind=False)

    server.await_line(r"listening on http://127\.0\.0\.1:\d+$")
    server.await_line(rf"listening on unix:{re.escape(str(server.folder / 'app.sock'))}$")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(server.folder / "app.sock"))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_connections_are_refused_until_the_first_worker_is_ready(serve: Serve) -> None:
    server = serve(files={"app.py": GATED + HELLO}, wait=False)
    port = int(server.await_line(r"bound to http://127\.0\.0\.1:(\d+),")[0][1])
    await_fact((server.folder / "importing").exists, "the application is being imported")

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert "listening" not in server.log

    (server.folder / "gate").touch()
    server.await_line("listening on")
    assert server.get().status == 200


def test_a_worker_that_is_slow_to_import_does_not_keep_others_from_serving(serve: Serve) -> None:
    # The first takes the file away and imports at once; the others wait for another one.
    source = """
import pathlib, time
try:
    pathlib.Path("first").unlink()
except FileNotFoundError:
    while not pathlib.Path("gate").exists():
        time.sleep(0.01)
"""
    server = serve("app:app", "-w", "3", files={"app.py": source + HELLO, "first": ""})

    assert server.get().status == 200
    assert len(server.find(READY)) == 1

    (server.folder / "gate").touch()
    server.await_ready(3)


BROKEN = {
    "an import that raises": ("1 / 0\n", 4, "ZeroDivisionError: division by zero"),
    "a module that is not there": ("import nothing_like_it\n", 4, "nothing_like_it"),
    "an attribute that is not there": ("application = None\n", 4, "app"),
    "an import that exits": ("import sys; sys.exit(0)\n", 4, "SystemExit"),
    "a process that ends itself": ("import os; os._exit(0)\n", 3, "exited with code 0 before it was ready"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_first_boot_that_fails_ends_the_server_with_the_reason_last(serve: Serve, name: str) -> None:
    source, code, reason = BROKEN[name]
    server = serve("app:app", "--workers", "4", files={"app.py": source}, wait=False)

    assert code == server.wait()
    log = server.log
    assert reason in log.rpartition(f"exit {code}: ")[2], log
    assert log.count("Traceback (most recent call last)") <= 1
    assert "quick stop" not in log
    assert "exit code" not in log, "it is logged once"
    assert len(server.find("CRITICAL|ERROR")) == 1, "one line says it, with the reason"
    assert log.count("\n") - log.rpartition(f"exit {code}: ")[2].count("\n") <= 8
    await_fact(lambda: not processes_of_session(server.pid), "all processes are gone")


@pytest.mark.parametrize("workers", ["1", "4"])
def test_the_verdict_is_one_line_with_the_reason(serve: Serve, workers: str) -> None:
    server = serve("nothing:app", "-w", workers, files={}, wait=False)

    assert server.wait() == 4
    first, verdict = server.log.splitlines()
    assert " boots nothing:app, bound to " in first
    assert re.search(
        r"CRITICAL exit 4: worker \d \(pid \d+\) failed to start: "
        r'cannot import "nothing": there is no module "nothing" in \S+$',
        verdict,
    )


def test_an_import_that_does_not_return_is_logged_with_its_stack(serve: Serve) -> None:
    server = serve("app:app", "--timeout", "1", files={"app.py": GATED + HELLO}, wait=False)

    (reported,) = server.await_line(
        r"WARNING +worker 1 \(pid \d+\) is not ready after \d+\.\d s: "
        r"it imports app:app or runs its startup\n(    .*\n)+"
    )

    assert re.search(r'app\.py", line [45] in <module>', reported[0])
    assert "in run_worker" in reported[0]
    assert "master.py" not in reported[0]
    (server.folder / "gate").touch()
    server.await_line("listening on ")
    assert server.get().status == 200


def test_a_startup_that_does_not_return_is_logged_with_its_stack(serve: Serve) -> None:
    source = """
import pathlib, time
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        while not pathlib.Path("gate").exists():
            time.sleep(0.01)
        await send({"type": "lifespan.startup.complete"})
        await receive()
"""
    server = serve("app:app", "--timeout", "1", files={"app.py": source}, wait=False)

    (reported,) = server.await_line(r"is not ready after .*\n(    .*\n)+")

    assert re.search(r'app\.py", line \d+ in app', reported[0])
    (server.folder / "gate").touch()
    server.await_line("listening on ")


def test_the_pid_file_is_there_while_the_server_runs_and_no_second_server_takes_it(serve: Serve) -> None:
    server = serve("app:app", "--pid", "shop.pid", "-w", "2")
    workers = server.await_ready(2)
    path = server.folder / "shop.pid"
    assert path.read_text() == f"{server.pid}\n"
    for pid in workers.values():
        held = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        assert str(path) not in held

    second = subprocess.run(
        [sys.executable, "-m", "appserve", "app:app", "--pid", "shop.pid", "--bind", "127.0.0.1:0"],
        cwd=server.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == ExitCode.CONFIG
    assert f"another server holds it (pid {server.pid})" in second.stderr
    assert path.read_text() == f"{server.pid}\n"

    assert server.stop() == 0
    assert not path.exists()


APP_THAT_CREATES_A_FILE = """
import os
def app(environ, start_response):
    os.close(os.open("made", os.O_CREAT | os.O_WRONLY, 0o666))
    start_response("200 OK", [])
    return [b""]
"""


def test_the_umask_holds_for_the_server_and_the_application(serve: Serve) -> None:
    files = {"app.py": APP_THAT_CREATES_A_FILE}
    flags = ("--umask", "027", "--bind", "unix:s.sock", "--pid", "pid", "--access-logfile", "access.log")
    server = serve("app:app", *flags, files=files)
    server.get()

    modes = {
        name: (server.folder / name).stat().st_mode & 0o777
        for name in ("s.sock", "pid", "access.log", "made")
    }
    assert modes == {"s.sock": 0o640, "pid": 0o640, "access.log": 0o640, "made": 0o640}


APP_THAT_SHOWS_ITS_ENVIRONMENT = """
import os, time
while not os.path.exists("gate"):
    time.sleep(0.01)
def app(environ, start_response):
    start_response("200 OK", [])
    return [str("NOTIFY_SOCKET" in os.environ).encode()]
"""


def test_systemd_is_notified_when_the_server_can_serve_and_of_reloads_and_its_end(
    serve: Serve, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        files = {"app.py": APP_THAT_SHOWS_ITS_ENVIRONMENT}
        server = serve("app:app", environ=environ, files=files, wait=False)
        server.await_line("boots app:app")
        with pytest.raises(BlockingIOError):
            systemd.recv(4096)

        (server.folder / "gate").touch()
        systemd.settimeout(60)
        assert systemd.recv(4096).startswith(b"READY=1\nSTATUS=serving, generation 1, 1 worker\n")
        server.await_line("listening on ")
        assert server.get().text == "False"

        server.signal(signal.SIGHUP)
        assert systemd.recv(4096).startswith(b"RELOADING=1\n")
        assert systemd.recv(4096).startswith(b"READY=1\nSTATUS=serving, generation 2, 1 worker\n")
        server.signal(signal.SIGTERM)
        assert systemd.recv(4096).startswith(b"STOPPING=1\n")


def test_a_factory_that_raises_ends_the_server_with_its_own_code(serve: Serve) -> None:
    source = "def make():\n    raise RuntimeError('no database')\n"
    server = serve("app:make", "--factory", files={"app.py": source}, wait=False)

    assert server.wait() == 3
    assert "RuntimeError: no database" in server.log
    assert "Traceback (most recent call last)" in server.log
    assert "appserve/workers" not in server.log


def test_a_failed_lifespan_startup_ends_the_server_with_its_message(serve: Serve) -> None:
    source = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "the cache is away"})
"""
    server = serve("app:app", "-w", "2", files={"app.py": source}, wait=False)

    assert server.wait() == 3
    assert "the cache is away" in server.log


def test_a_class_that_cannot_serve_the_application_is_a_setting_that_is_wrong(serve: Serve) -> None:
    server = serve("app:app", "--worker-class", "asgi", wait=False)

    assert server.wait() == 5
    assert "--worker-class asgi cannot serve" in server.log


def test_a_worker_that_dies_by_a_signal_gets_three_tries_at_the_first_boot(serve: Serve) -> None:
    source = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    started = time.monotonic()
    server = serve(files={"app.py": source}, wait=False)

    assert server.wait() == 70
    assert len(server.find(r"worker 1 \(pid \d+\) died of SIGKILL before it was ready")) == 3
    delays = [float(match[1]) for match in server.find(r"next try in ([\d.]+) s")]
    assert 0.18 <= delays[0] <= 0.32
    assert 0.37 <= delays[1] <= 0.63
    assert time.monotonic() - started >= sum(delays[:2]) - 0.01
    verdict = server.log.splitlines()[-1]
    assert "CRITICAL exit 70: worker 1 died 3 times before any was ready (SIGKILL); the last one: " in verdict
    assert "out-of-memory killer" in verdict


def test_a_crash_in_the_import_leaves_its_stack(serve: Serve) -> None:
    source = "import ctypes\ndef fall():\n    ctypes.string_at(0)\nfall()\n"
    server = serve(files={"app.py": source}, wait=False)

    assert server.wait() == 70
    assert re.search(
        r"died of SIGSEGV before it was ready.*\n(    .*\n)*?.*app\.py\", line 3 in fall", server.log
    )


def test_a_busy_port_is_one_line_and_exit_6(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = serve("app:app", "--bind", f"127.0.0.1:{port}", bind=False, wait=False)

        assert server.wait() == 6
    assert server.log.count("\n") == 1, server.log
    assert f"127.0.0.1:{port}" in server.log


def test_a_listen_that_fails_is_exit_6(serve: Serve) -> None:
    """The system may refuse it although the address was bound, when another process was quicker."""
    refuse = """
from appserve.errors import BindError
from appserve.net.listeners import Listener

def listen(self, backlog):
    raise BindError("cannot listen on there: address already in use")

Listener.listen = listen
"""
    files = {"app.py": HELLO, "sitecustomize.py": refuse}
    server = serve("app:app", "-w", "2", files=files, environ={"PYTHONPATH": "."}, wait=False)

    assert server.wait() == 6
    assert "cannot listen on there: address already in use" in server.log
    assert "listening on" not in server.log


def test_the_master_imports_nothing_of_the_application(serve: Serve) -> None:
    """Seen in its memory: a shared object that the application brings is mapped by workers only. It has the
    event loops' modules (workers get them from it), and no loop and no thread."""
    server = serve(files={"app.py": "import sqlite3\n" + HELLO_ASGI})
    (worker,) = server.await_ready().values()

    mapped = {pid: Path(f"/proc/{pid}/maps").read_text() for pid in (server.pid, worker)}
    assert "_sqlite3" not in mapped[server.pid]
    assert "_sqlite3" in mapped[worker]
    assert list(descriptors_of(server.pid).values()).count("anon_inode:[eventpoll]") == 1  # its poller's
    assert int(re.search(r"Threads:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text())[1]) == 1


def test_processes_have_titles(serve: Serve) -> None:
    server = serve("app:app", "--workers", "2")
    workers = server.await_ready(2)

    assert title_of(server.pid) == "appserve: master [app:app]"
    assert {"appserve: worker 1 [app:app]", "appserve: worker 2 [app:app]"} == {
        title_of(pid) for pid in workers.values()
    }


def test_a_name_is_what_titles_show(serve: Serve) -> None:
    server = serve("app:app", "--name", "shop")
    workers = server.await_ready()

    assert title_of(server.pid) == "appserve: master [shop]"
    assert title_of(workers[1]) == "appserve: worker 1 [shop]"


def test_term_during_the_first_boot_is_obeyed_at_once(serve: Serve) -> None:
    server = serve("app:app", "-w", "2", files={"app.py": GATED + HELLO}, wait=False)
    await_fact((server.folder / "importing").exists, "the application is being imported")
    await_fact(lambda: len(children_of(server.pid)) == 2, "both workers were forked")
    workers = children_of(server.pid)

    server.signal(signal.SIGTERM)

    assert server.wait(timeouts=10) == 0
    assert [pid for pid in workers if is_alive(pid)] == []
