"""What the processes are to the operating system: descriptors, signal dispositions, PID 1, closed streams."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.server import (
    HELLO,
    HELLO_ASGI,
    HELLO_THREADS,
    READY,
    Server,
    await_fact,
    children_of,
    descriptors_of,
    is_alive,
    signals_of,
    title_of,
)

Serve = Callable[..., Server]

HANDLED_BY_MASTER = {
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGCHLD,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGWINCH,
}
# A handler that does nothing for all but TERM, and the black box's.
HANDLED_BY_WORKERS = (HANDLED_BY_MASTER - {signal.SIGCHLD}) | {
    signal.SIGSEGV,
    signal.SIGFPE,
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGILL,
    signal.SIGRTMIN + 5,
}
IGNORED_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}


def kinds(files: list[str]) -> list[str]:
    """What kind of descriptor each is, sorted."""
    return sorted(file.partition(":")[0] if ":[" in file else file for file in files)


def beyond_standard_streams(pid: int) -> list[str]:
    return [file for fd, file in descriptors_of(pid).items() if fd > 2]


def has_descriptors(pid: int, wanted: list[str]) -> bool:
    return kinds(beyond_standard_streams(pid)) == wanted


def sockets_of(pid: int) -> set[str]:
    return {file for file in descriptors_of(pid).values() if file.startswith("socket:")}


def listening_sockets(server: Server) -> set[str]:
    """As the kernel names the sockets of our port: their inodes in /proc/net/tcp."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    wanted = f":{server.port:04X}"
    return {
        f"socket:[{fields[9]}]"
        for fields in map(str.split, lines)
        if fields[1].endswith(wanted) and fields[3] == "0A"
    }


def test_descriptors_of_the_master_are_those_of_the_table(serve: Serve) -> None:
    server = serve("app:app", "-w", "3")
    server.await_ready(3)

    expected = [
        "/memfd:appserve-scoreboard (deleted)",  # to map it in workers
        "/memfd:appserve-scoreboard (deleted)",  # the mapping's own
        "anon_inode:[eventpoll]",
        "socket",  # the listener
        "socket",  # both ends of the signals' wakeup pair
        "socket",
    ]
    for slot in (1, 2, 3):
        expected += ["anon_inode:[pidfd]", f"/memfd:appserve-box-{slot} (deleted)", "socket"]
    assert kinds(beyond_standard_streams(server.pid)) == kinds(expected)


def test_descriptors_of_a_worker_are_those_of_the_table(serve: Serve) -> None:
    server = serve("app:app", "-w", "3")
    workers = server.await_ready(3)
    server.await_line("listening on")
    for _ in range(20):
        server.get()

    for slot, pid in workers.items():
        expected = [
            f"/memfd:appserve-box-{slot} (deleted)",
            "/memfd:appserve-scoreboard (deleted)",  # the mapping's own
            "anon_inode:[eventpoll]",
            "socket",  # the listener
            "socket",  # its end of the channel
            "socket",  # both ends of its own wakeup pair
            "socket",
        ]
        # The last client's connection may still be open for a moment.
        wanted = kinds(expected)
        await_fact(
            lambda pid=pid, wanted=wanted: kinds(beyond_standard_streams(pid)) == wanted, f"worker {slot}"
        )


@pytest.mark.parametrize("source", [HELLO, HELLO_THREADS, HELLO_ASGI], ids=["sync", "threads", "asgi"])
def test_workers_share_the_listener_and_nothing_else(serve: Serve, source: str) -> None:
    """A worker that held a sibling's channel would hide the master's death from it, and could speak for
    it."""
    server = serve("app:app", "-w", "3", files={"app.py": source})
    workers = list(server.await_ready(3).values())
    all_of_them = [server.pid, *workers]
    shared = listening_sockets(server)

    assert len(shared) == 1
    for one in all_of_them:
        for other in all_of_them:
            if one < other:
                assert sockets_of(one) & sockets_of(other) == shared
    for worker in workers:
        files = beyond_standard_streams(worker)
        assert not any("pidfd" in file for file in files)
        assert sum("appserve-box" in file for file in files) == 1


def test_descriptors_do_not_pile_up(serve: Serve) -> None:
    server = serve("app:app", "-w", "2")
    server.await_ready(2)
    before = len(descriptors_of(server.pid))

    for generation in range(2, 8):
        server.signal(signal.SIGHUP)
        server.await_line(f"generation {generation} serves with 2 workers")
    for death in range(4):
        os.kill(server.worker_pids()[0], signal.SIGKILL)
        server.await_line("died of SIGKILL", death + 1)
        server.await_line(READY, 14 + death + 1)

    await_fact(lambda: len(descriptors_of(server.pid)) == before, "as many as in the beginning")


def test_signal_dispositions_of_the_master(serve: Serve) -> None:
    server = serve()
    masks = signals_of(server.pid)

    assert masks["SigCgt"] == HANDLED_BY_MASTER
    assert masks["SigIgn"] == IGNORED_BY_PYTHON
    assert masks["SigBlk"] == set()


@pytest.mark.parametrize("source", [HELLO, HELLO_THREADS, HELLO_ASGI], ids=["sync", "threads", "asgi"])
def test_signal_dispositions_of_a_worker(serve: Serve, source: str) -> None:
    server = serve(files={"app.py": source})
    masks = signals_of(server.await_ready()[1])

    assert masks["SigCgt"] == HANDLED_BY_WORKERS
    assert masks["SigIgn"] == IGNORED_BY_PYTHON
    assert masks["SigBlk"] == set()


def test_signals_that_were_blocked_or_ignored_by_the_parent_work(serve: Serve) -> None:
    """A supervisor may leave both behind: nohup ignores HUP, some block everything."""
    launcher = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD})
signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""
    files = {"app.py": HELLO, "launcher.py": launcher}
    server = serve(files=files, prefix=(sys.executable, "launcher.py"))
    worker = server.await_ready()[1]

    assert signals_of(worker)["SigBlk"] == set()
    server.signal(signal.SIGHUP)
    server.await_line("generation 2 serves")
    assert server.stop() == 0


def test_closed_standard_streams_are_not_given_to_clients(serve: Serve) -> None:
    """Without them the first socket would be number 0, and what the application prints would go to a
    client."""
    server = serve(wait=False, prefix=("sh", "-c", 'exec "$@" <&- >&-', "sh"))
    server.await_line("listening on")
    worker = server.await_ready()[1]

    assert server.get().status == 200
    for pid in (server.pid, worker):
        assert descriptors_of(pid)[0] == "/dev/null"
        assert descriptors_of(pid)[1] == "/dev/null"
    assert server.stop() == 0


def test_an_application_can_write_to_standard_streams_that_were_closed(serve: Serve) -> None:
    """Python has no sys.stderr for one that is closed, and WSGI no environ without wsgi.errors."""
    writing = """
import sys

def app(environ, start_response):
    environ["wsgi.errors"].write("to wsgi.errors")
    environ["wsgi.errors"].flush()
    sys.stdout.write("to standard output")
    sys.stderr.write("to standard error")
    start_response("200 OK", [("Content-Length", str(len(sys.stdin.read())))])
    return []
"""
    arguments = ("app:app", "--bind", "unix:app.sock")
    prefix = ("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh")
    server = serve(*arguments, bind=False, wait=False, files={"app.py": writing}, prefix=prefix)

    def answer() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            try:
                client.connect(str(server.folder / "app.sock"))
            except (FileNotFoundError, ConnectionRefusedError):
                return b""
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return client.recv(1000)

    await_fact(answer, "it listens")
    assert answer().startswith(b"HTTP/1.1 200 OK")
    assert server.stop() == 0


def test_without_a_reader_of_its_logs_it_serves(serve: Serve) -> None:
    """Both logs go to a pipe that is not read, and fills up."""
    prefix = ("sh", "-c", 'exec "$@" 2>&1 | sleep 600', "sh")
    server = serve("app:app", "--bind", "unix:app.sock", bind=False, wait=False, prefix=prefix)

    def ask() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(server.folder / "app.sock"))
            client.sendall(b"GET /%s HTTP/1.0\r\n\r\n" % (b"x" * 500))
            return client.recv(1000)

    def is_listening() -> bool:
        try:
            return bool(ask())
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    await_fact(is_listening, "it listens")
    for _ in range(1000):
        assert ask().startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("source", [HELLO, HELLO_THREADS, HELLO_ASGI], ids=["sync", "threads", "asgi"])
def test_a_reader_that_is_back_gets_what_was_kept_and_the_count_of_what_was_not(
    serve: Serve, tmp_path: Path, source: str
) -> None:
    os.mkfifo(tmp_path / "access")
    reader = os.open(tmp_path / "access", os.O_RDWR | os.O_NONBLOCK)
    prefix = ("sh", "-c", 'exec "$@" > access', "sh")
    server = serve("app:app", files={"app.py": source}, prefix=prefix)
    client = server.connect()
    for _ in range(200):
        client.request("GET", "/" + "x" * 3000)
        assert client.getresponse().read()
    written = bytearray()

    def accounted() -> int:
        try:
            written.extend(os.read(reader, 1 << 20))
        except BlockingIOError:
            pass
        lost = re.search(rb"# appserve \[\d+\]: (\d+) access log lines lost", written)
        return written.count(b'" 200 ') + int(lost[1] if lost else 0)

    await_fact(lambda: accounted() == 200, "each is written, or counted among the lost")
    assert b"lines lost" in written
    client.close()
    assert server.stop() == 0
    os.close(reader)


def has_pid_namespaces() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", *UNSHARE, "true"], capture_output=True, check=False).returncode == 0


UNSHARE = ("--pid", "--fork", "--mount-proc", "--kill-child")


@pytest.mark.skipif(not has_pid_namespaces(), reason="new PID namespaces are not permitted here")
def test_it_works_as_pid_1(serve: Serve) -> None:
    """Also as the init of processes that others leave behind: they are reaped, and mean nothing."""
    source = """
import os

def app(environ, start_response):
    for _ in range(20):
        child = os.fork()
        if child == 0:
            # A grandchild that loses its parent, and dies as a child of PID 1 with a code that means
            # something.
            if os.fork() == 0:
                os._exit(3)
            os._exit(0)
        os.waitpid(child, 0)
    zombies = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = open(f"/proc/{pid}/stat").read()
        except (FileNotFoundError, ProcessLookupError):
            continue
        zombies += stat.rpartition(")")[2].split()[0] == "Z"
    start_response("200 OK", [])
    return [f"{os.getppid()} {zombies}".encode()]
"""
    server = serve("app:app", "-w", "2", files={"app.py": source}, prefix=("unshare", *UNSHARE))
    server.await_line("master pid 1$")
    server.await_ready(2)

    answers = [server.get().text.split() for _ in range(10)]
    assert {ppid for ppid, _ in answers} == {"1"}
    await_fact(lambda: server.get().text.split()[1] == "0", "no zombies are left")
    assert "failed" not in server.log

    (master,) = children_of(server.pid)
    assert title_of(master) == "appserve: master [app:app]"
    os.kill(master, signal.SIGHUP)
    server.await_line("generation 2 serves with 2 workers")
    os.kill(master, signal.SIGTERM)
    assert server.wait() == 0
    assert not is_alive(master)


@pytest.mark.skipif(not has_pid_namespaces(), reason="new PID namespaces are not permitted here")
def test_as_pid_1_a_broken_application_ends_it_with_its_code(serve: Serve) -> None:
    server = serve(files={"app.py": "1 / 0\n"}, prefix=("unshare", *UNSHARE), wait=False)

    assert server.wait() == 4
    assert "ZeroDivisionError" in server.log


def test_an_exit_in_an_orderly_way_runs_what_the_application_registered(serve: Serve) -> None:
    source = (
        """
import atexit, concurrent.futures, pathlib, threading
atexit.register(pathlib.Path("atexit").touch)
pool = concurrent.futures.ThreadPoolExecutor()
pool.submit(int).result()
"""
        + HELLO
    )
    server = serve(files={"app.py": source})

    assert server.stop(timeouts=10) == 0
    assert (server.folder / "atexit").exists()
    assert "killed" not in server.log


def test_what_the_application_prints_is_left_alone(serve: Serve) -> None:
    source = "import sys\nprint('out of it')\nprint('err of it', file=sys.stderr)\n" + HELLO
    server = serve("app:app", "--access-logfile", "none", files={"app.py": source})
    server.stop()

    assert server.access_log == "out of it\n"
    assert "\nerr of it\n" in server.log


def test_the_environment_of_the_application_is_left_alone(serve: Serve) -> None:
    source = """
import json, os
def app(environ, start_response):
    start_response("200 OK", [])
    return [json.dumps(dict(os.environ)).encode()]
"""
    server = serve(files={"app.py": source}, environ={"APPSERVE_KEEP_ALIVE": "7"})

    expected = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "APPSERVE_KEEP_ALIVE": "7"}
    assert json.loads(server.get().text) == expected


def test_no_process_has_threads_of_ours(serve: Serve) -> None:
    server = serve("app:app", "-w", "2")
    server.await_ready(2)

    threads = {pid: len(os.listdir(f"/proc/{pid}/task")) for pid in (server.pid, *server.worker_pids())}
    assert set(threads.values()) == {1}
