"""Log files: renamed and opened anew, moved by a reload, and what is said when one cannot be written."""

import http.client
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.load import small_load
from tests.integration.server import HELLO, HELLO_ASGI, HELLO_THREADS, TIMEOUT, Server, await_fact

Serve = Callable[..., Server]

EVERY_CLASS = pytest.mark.parametrize(
    "source", [HELLO, HELLO_THREADS, HELLO_ASGI], ids=["sync", "threads", "asgi"]
)


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def holds(path: Path, text: str) -> Callable[[], bool]:
    return lambda: text in (path.read_text() if path.exists() else "")


def files_of(pid: int) -> set[str]:
    """The paths of regular files that a process has open."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
        except FileNotFoundError:
            pass
    return found


@EVERY_CLASS
def test_usr1_opens_a_renamed_access_log_anew_in_every_worker(serve: Serve, source: str) -> None:
    server = serve("app:app", "-w", "2", "--access-logfile", "access.log", files={"app.py": source})
    workers = server.await_ready(2).values()
    new, old = server.folder / "access.log", server.folder / "access.log.1"
    assert server.get("/before").status == 200
    await_fact(holds(new, "/before"), "the request is in the log")

    new.rename(old)
    server.signal(signal.SIGUSR1)

    server.await_line(r"SIGUSR1 received: reopened \S+/access\.log$")
    for pid in (server.pid, *workers):
        await_fact(lambda pid=pid: str(old) not in files_of(pid), "the old file is closed")  # type: ignore[misc]
    assert server.get("/after").status == 200
    await_fact(holds(new, "/after"), "the request is in the new file")
    assert "/after" not in old.read_text()


@EVERY_CLASS
def test_no_line_is_lost_while_the_log_is_rotated_under_load(serve: Serve, source: str) -> None:
    server = serve("app:app", "-w", "2", "--access-logfile", "access.log", files={"app.py": source})
    server.await_ready(2)
    path = server.folder / "access.log"

    with small_load(server) as load:
        for number in range(1, 11):
            path.rename(server.folder / f"access.log.{number}")
            server.signal(signal.SIGUSR1)
            server.await_line("SIGUSR1 received", number)
            await_fact(lambda: lines_of(path), "a request is in the new file")
    assert load.complaints == []
    assert server.stop() == 0

    lines = [line for name in server.folder.glob("access.log*") for line in lines_of(name)]
    assert len(lines) == sum(load.asked)
    assert all(line.startswith("127.0.0.1 - - [") for line in lines)


def test_a_reload_opens_renamed_files_anew_also_in_workers_that_still_serve(serve: Serve) -> None:
    source = """
import pathlib, time
def app(environ, start_response):
    pathlib.Path("begun").touch()
    while environ["PATH_INFO"] == "/wait" and not pathlib.Path("gate").exists():
        time.sleep(0.01)
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""
    server = serve("app:app", "--threads", "2", "--access-logfile", "access.log", files={"app.py": source})
    path = server.folder / "access.log"
    with server.send(b"GET /wait HTTP/1.0\r\n\r\n") as client:
        await_fact((server.folder / "begun").exists, "the request is being served")
        path.rename(server.folder / "access.log.1")
        server.signal(signal.SIGHUP)
        server.await_ready(1, generation=2)
        (server.folder / "gate").touch()
        assert client.recv(4096).startswith(b"HTTP/1.1 200")

    await_fact(holds(path, "/wait"), "the old worker has written into the new file")
    assert lines_of(server.folder / "access.log.1") == []


@EVERY_CLASS
def test_the_error_log_can_be_a_file_that_is_opened_anew(serve: Serve, source: str) -> None:
    raising = type(source)(source.replace("body = ", "1 / 0\n    body = "))
    server = serve(
        "app:app", "--error-logfile", "error.log", "--lifespan", "off", files={"app.py": raising}, wait=False
    )
    path, old = server.folder / "error.log", server.folder / "error.log.1"
    await_fact(holds(path, "listening on "), "it listens")
    port = int(path.read_text().partition("listening on http://127.0.0.1:")[2].partition("\n")[0])
    assert server.log == ""

    path.rename(old)
    server.signal(signal.SIGUSR1)
    await_fact(holds(path, f"SIGUSR1 received: reopened {path}"), "the master writes the new file")
    worker = server.worker_pids()[0]
    await_fact(lambda: str(old) not in files_of(worker), "the worker has closed the old file")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    connection.request("GET", "/boom")
    assert connection.getresponse().status == 500
    connection.close()

    await_fact(holds(path, "ZeroDivisionError"), "the worker writes the new file")
    assert "ZeroDivisionError" not in old.read_text()


def test_a_reload_moves_the_logs(serve: Serve) -> None:
    files = {"app.py": HELLO, "appserve.toml": 'access_logfile = "one.log"\n'}
    server = serve("app:app", files=files)
    server.get("/first")
    await_fact(holds(server.folder / "one.log", "/first"), "the request is in the first file")

    (server.folder / "appserve.toml").write_text('access_logfile = "two.log"\nerror_logfile = "error.log"\n')
    server.signal(signal.SIGHUP)

    error = server.folder / "error.log"
    server.await_line(r"reload: access_logfile = \S+/two\.log \(was \S+/one\.log\)")
    await_fact(holds(error, "generation 2 serves with 1 worker"), "the error log has moved")
    server.get("/second")
    await_fact(holds(server.folder / "two.log", "/second"), "the request is in the second file")
    await_fact(lambda: str(server.folder / "one.log") not in files_of(server.pid), "the first one is closed")

    (server.folder / "appserve.toml").write_text('access_logfile = "none"\n')
    mark = server.mark()
    server.signal(signal.SIGHUP)

    server.await_line("generation 3 serves with 1 worker", since=mark)
    assert "generation 3 serves" not in error.read_text()


def test_a_log_that_cannot_be_opened_refuses_the_reload(serve: Serve) -> None:
    server = serve("app:app", files={"app.py": HELLO, "appserve.toml": ""})

    for name in ("access", "error"):
        (server.folder / "appserve.toml").write_text(f'{name}_logfile = "gone/{name}.log"\n')
        server.signal(signal.SIGHUP)
        server.await_line(
            f"reload: cannot open the {name} log \\S+gone/{name}.log: No such file or directory"
        )
    server.await_line("reload refused", 2)
    assert server.get().status == 200


def test_a_log_that_cannot_be_opened_anew_is_written_on(serve: Serve) -> None:
    server = serve("app:app", "--access-logfile", "logs/access.log", files={"app.py": HELLO, "logs/x": ""})
    (server.folder / "logs").rename(server.folder / "old")

    server.signal(signal.SIGUSR1)

    server.await_line(
        r"cannot open the access log \S+/logs/access\.log: No such file.*; the open file stays in use"
    )
    server.get("/after")
    await_fact(holds(server.folder / "old" / "access.log", "/after"), "the request is in the old file")


def test_usr1_without_log_files_does_nothing(serve: Serve) -> None:
    server = serve("app:app")

    server.signal(signal.SIGUSR1)

    server.await_line("SIGUSR1 received: no log file to reopen")
    assert server.get().status == 200


@EVERY_CLASS
def test_an_access_log_can_be_a_named_pipe(serve: Serve, tmp_path: Path, source: str) -> None:
    os.mkfifo(tmp_path / "access.log")
    reader = os.open(tmp_path / "access.log", os.O_RDONLY | os.O_NONBLOCK)
    try:
        server = serve("app:app", "--access-logfile", "access.log", files={"app.py": source})
        server.get("/piped")
        seen = b""

        def read() -> bool:
            nonlocal seen
            try:
                seen += os.read(reader, 4096)
            except BlockingIOError:
                pass
            return b"/piped" in seen

        await_fact(read, "the request is in the pipe")
    finally:
        os.close(reader)


@EVERY_CLASS
def test_a_full_disk_under_the_access_log_is_logged_once_by_each_worker(serve: Serve, source: str) -> None:
    server = serve("app:app", "--access-logfile", "/dev/full", files={"app.py": source})

    for _ in range(20):
        assert server.get().status == 200

    server.await_line("the access log /dev/full cannot be written: No space left on device")
    assert server.stop() == 0
    assert len(server.find("cannot be written")) == 1


def test_a_full_disk_under_the_error_log_is_reported_on_standard_error(serve: Serve) -> None:
    server = serve("app:app", "--error-logfile", "/dev/full", wait=False)

    server.await_line("the error log cannot be written: No space left on device")


@pytest.mark.parametrize(
    ("option", "path", "hint"),
    [
        ("--access-logfile", "/dev/fd/1", "use - or /dev/stdout for standard output"),
        ("--access-logfile", "/proc/1/fd/1", "use - or /dev/stdout for standard output"),
        ("--access-logfile", "/proc/self/fd/1", "use - or /dev/stdout for standard output"),
        ("--access-logfile", "/proc/self/fd/2", "use - or /dev/stderr for standard error"),
        ("--error-logfile", "/proc/1/fd/2", "use - or /dev/stderr for standard error"),
    ],
)
def test_a_descriptor_for_a_log_file_is_answered_with_its_name(
    serve: Serve, option: str, path: str, hint: str
) -> None:
    server = serve("app:app", option, path, wait=False)

    assert server.wait() == 5
    assert server.log == f"appserve: {option} {path}: {hint}\n"


@pytest.mark.parametrize(
    ("option", "path"), [("--access-logfile", "/dev/stdout"), ("--error-logfile", "/dev/stderr")]
)
def test_a_path_of_a_standard_stream_is_that_stream(serve: Serve, option: str, path: str) -> None:
    server = serve("app:app", option, path)

    server.get("/seen")
    await_fact(lambda: "/seen" in server.access_log, "the request is in the log")
