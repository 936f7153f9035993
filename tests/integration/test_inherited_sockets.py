"""Sockets that another process has opened: systemd (LISTEN_FDS), or a supervisor that names a descriptor."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from appserve.errors import ExitCode
from tests.integration.server import HELLO, HELLO_ASGI, await_fact

# As systemd does it: the descriptors from 3 on, and the process that they are for.
HAND_OVER = """
import os, sys
numbers, command = sys.argv[1].split(","), sys.argv[2:]
for place, number in enumerate(numbers, 3):
    os.dup2(int(number), place)
os.environ |= {"LISTEN_FDS": str(len(numbers)), "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "web"}
os.execv(sys.executable, [sys.executable, "-m", "appserve", *command])
"""

ENVIRONMENT = """
import os
def app(environ, start_response):
    start_response("200 OK", [])
    return [" ".join(name for name in os.environ if name.startswith("LISTEN_")).encode() or b"none"]
"""

Start = Callable[..., subprocess.Popen[str]]


@contextmanager
def owned(address: str | tuple[str, int]) -> Iterator[socket.socket]:
    """A socket that this process has opened, and listens."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as sock:
        sock.bind(address)
        sock.listen(16)
        yield sock


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as end:

        def run(*command: str, sockets: list[socket.socket], app: str = HELLO) -> subprocess.Popen[str]:
            (tmp_path / "app.py").write_text(app)
            # Beyond the numbers that they get.
            numbers = [fcntl.fcntl(one, fcntl.F_DUPFD, 20) for one in sockets]
            for number in numbers:
                end.callback(os.close, number)
            process = subprocess.Popen(
                [sys.executable, "-c", HAND_OVER, ",".join(map(str, numbers)), *command],
                cwd=tmp_path,
                pass_fds=numbers,
                stderr=(tmp_path / "log").open("a"),
                stdout=subprocess.DEVNULL,
                text=True,
            )
            end.callback(process.wait, 60)
            end.callback(process.kill)
            return process

        yield run


def ask(sock: socket.socket) -> str:
    """The answer to a request on a new connection to this listener."""
    with socket.socket(sock.family) as client:
        client.settimeout(60)
        client.connect(sock.getsockname())
        return exchange(client)


def exchange(client: socket.socket) -> str:
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answer = b""
    while piece := client.recv(65536):
        answer += piece
    return answer.decode()


@pytest.mark.parametrize("app", [HELLO, HELLO_ASGI], ids=["sync", "asgi"])
def test_what_waits_at_the_end_is_for_the_next_server(start: Start, tmp_path: Path, app: str):
    path = str(tmp_path / "web.sock")
    with owned(path) as web:
        first = start("app:app", "--bind", f"unix:{path}", sockets=[web], app=app)
        assert "200 OK" in ask(web)
        first.send_signal(signal.SIGTERM)
        assert first.wait(60) == 0
        assert os.path.exists(path)

        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.settimeout(60)
            waiting.connect(path)
            second = start("app:app", "--bind", f"unix:{path}", sockets=[web], app=app)
            assert "200 OK" in exchange(waiting)
        second.send_signal(signal.SIGTERM)
        assert second.wait(60) == 0


def test_sockets_take_the_place_of_the_default_address_and_the_log_names_them(start: Start, tmp_path: Path):
    with owned(("127.0.0.1", 0)) as web, owned(str(tmp_path / "web.sock")) as local:
        start("app:app", sockets=[web, local], app=ENVIRONMENT)

        for one in (web, local):
            assert ask(one).endswith("\r\n\r\nnone"), "the variables are for the server alone"
        log = tmp_path / "log"
        await_fact(lambda: log.read_text().count("listening on") == 2, "both are in the log")
        assert f"listening on http://127.0.0.1:{web.getsockname()[1]} (fd://3)" in log.read_text()
        assert f"listening on unix:{tmp_path}/web.sock (fd://4)" in log.read_text()
        assert ":8000" not in log.read_text()


def test_an_address_beside_them_is_bound_as_well(start: Start, tmp_path: Path):
    with owned(str(tmp_path / "web.sock")) as web:
        start("app:app", "--bind", "127.0.0.1:0", sockets=[web])

        assert "200 OK" in ask(web)
        log = tmp_path / "log"
        await_fact(lambda: "listening on http://127.0.0.1:" in log.read_text(), "it is bound as well")


@pytest.mark.parametrize("flags", [("--fd", "3"), ("--bind", "fd://3")])
def test_a_descriptor_can_be_named(tmp_path: Path, flags: tuple[str, ...], start: Start):
    with owned(("127.0.0.1", 0)) as web:
        process = start("app:app", *flags, sockets=[web])
        assert "200 OK" in ask(web)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        ("77", "cannot listen on fd://77: bad file descriptor (no socket was handed over)"),
        ("0", "cannot listen on fd://0: socket operation on non-socket (no socket was handed over)"),
    ],
)
def test_a_descriptor_that_is_no_socket_is_one_line(tmp_path: Path, number: str, problem: str):
    (tmp_path / "app.py").write_text(HELLO)
    command = [sys.executable, "-m", "appserve", "app:app", "--fd", number]

    ended = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert ended.returncode == ExitCode.BIND
    assert problem in ended.stderr
