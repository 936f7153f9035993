"""Whose modules a process has: appserve's and the standard library's are those that the master had at its
start, whatever lies beside the application and whatever becomes of the installed files."""

import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

import appserve
from tests.certificates import certificates
from tests.integration.server import HELLO, HELLO_ASGI, TIMEOUT, Server, await_fact, command, kill

Serve = Callable[..., Server]

RECORDER = """
import os, sys

class Recorder:
    def find_spec(self, name, path=None, target=None):
        fd = os.open(os.environ["IMPORTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, f"{os.getpid()} {name}\\n".encode())
        os.close(fd)

sys.meta_path.insert(0, Recorder())
"""

WSGI = """
import os, time

def app(environ, start_response):
    path = environ["PATH_INFO"]
    environ["wsgi.input"].read()
    if path == "/fails":
        try:
            os.nothing_like_it
        except AttributeError as error:
            raise ExceptionGroup("two", [ValueError("ä漢"), NameError("x")]) from error
    if path == "/syntax":
        compile("def broken(:", "made-up", "exec")
    if path == "/hangs":
        while True:
            time.sleep(0.01)
    if path == "/forks" and os.fork() == 0:
        raise SystemExit("a child")
    if path == "/mistake":
        start_response("200 OK", [("Bad\\n", "")])
    if path == "/file":
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](open("app.py", "rb"))
    start_response("200 OK", [])
    if path == "/large":
        return (b"x" * 65536 for _ in range(64))
    print(path)
    return [b"served"]
"""

ASGI = """
import asyncio, os, time

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise RuntimeError("a bad end")
    path = scope["path"]
    while (await receive()).get("more_body"):
        pass
    if path == "/fails":
        try:
            os.nothing_like_it
        except AttributeError as error:
            raise ExceptionGroup("two", [ValueError("ä漢"), NameError("x")]) from error
    if path == "/syntax":
        compile("def broken(:", "made-up", "exec")
    if path == "/hangs":
        while True:
            time.sleep(0.01)
    if path == "/forks" and os.fork() == 0:
        raise SystemExit("a child")
    if path == "/mistake":
        await send({"type": "http.response.body"})
    if path == "/file":
        await asyncio.to_thread(print, "in a thread")
        await asyncio.get_running_loop().getaddrinfo("localhost", 80)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(64 if path == "/large" else 1):
        await send({"type": "http.response.body", "body": b"served" * 10000, "more_body": True})
    await send({"type": "http.response.body"})
"""

KINDS = {
    "sync": (WSGI, ("--worker-class", "sync")),
    "threads": (WSGI, ("--worker-class", "threads", "--threads", "2")),
    "asgi": (ASGI, ("--worker-class", "asgi")),
    "asyncio": (ASGI, ("--worker-class", "asgi", "--loop", "asyncio")),
    "auto-wsgi": (WSGI, ()),
    "auto-threads": (WSGI, ("--threads", "2")),
    "auto-asgi": (ASGI, ()),
}


ONE_OF_EACH = ("sync", "threads", "asgi", "auto-asgi")
"""What the other kinds import is the same, and is tested with what is imported after the start."""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> tuple[str, tuple[str, ...]]:
    """The source of an application, and the flags of one class of worker."""
    return KINDS[request.param]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """start((argument, …), program=…, environ={}) → a server that listens, in the folder of the test."""
    servers: list[Server] = []

    def begin(
        arguments: Sequence[str],
        program: Sequence[str] = tuple(command()),
        environ: Mapping[str, str] | None = None,
    ) -> Server:
        full = [*program, "--bind", "127.0.0.1:0", *arguments]
        servers.append(Server(full, tmp_path, environ or {}, f"server-{len(servers)}"))
        servers[-1].await_line("listening on ")
        return servers[-1]

    yield begin
    for server in servers:
        server.close()


def imports(server: Server) -> list[tuple[int, str]]:
    """What had to be looked for, not being in memory, by which process."""
    lines = (server.folder / "imports").read_text().splitlines()
    return [(int(pid), name) for pid, name in map(str.split, lines)]


def talk(server: Server, data: bytes, *, secure: bool = True) -> bytes:
    """What comes back to a client behind a proxy that sends a PROXY header."""
    client = socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT)
    answer = b""
    try:
        client.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n")
        if secure:
            client = certificates().client_context().wrap_socket(client, server_hostname="shop.example")
        client.sendall(data)
        while received := client.recv(65536):
            answer += received
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        client.close()
    return answer


def ask(server: Server, path: str, *fields: str, body: bytes = b"") -> bytes:
    length = [f"Content-Length: {len(body)}"] if body else []
    lines = [f"POST {path} HTTP/1.1", "Host: shop.example", "Connection: close", *length, *fields]
    return talk(server, "\r\n".join([*lines, "", ""]).encode() + body)


def use(server: Server) -> None:
    """Requests of all kinds, good and bad."""
    assert b" 200 " in ask(server, "/", "X-Forwarded-For: 192.0.2.9", "X-Forwarded-Proto: https")
    assert b" 200 " in ask(server, "/", "X-Forwarded-For: [2001:db8::1]:5")
    assert b" 200 " in ask(server, "/body", body=b"x" * 3_000_000)
    chunked = b"POST / HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b" 200 " in talk(server, chunked + b"5\r\nhello\r\n0\r\n\r\n")
    for path in ("/fails", "/syntax", "/mistake", "/file", "/large", "/forks"):
        ask(server, path)
    for bad in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"):
        assert b" 400 " in talk(server, bad)
    talk(server, b"GET / HTTP/1.1\r\n\r\n", secure=False)  # no TLS
    with server.send(b"no PROXY header\r\n\r\n") as client, suppress(ConnectionResetError):
        client.recv(1)


def test_nothing_is_imported_after_the_start_but_the_application(
    serve: Serve, kind: tuple[str, tuple[str, ...]], tmp_path: Path
) -> None:
    source, flags = kind
    shop = certificates().shop
    server = serve(
        "app:app",
        *flags,
        *("--workers", "2", "--timeout", "2", "--access-logfile", "access"),
        *("--certfile", shop.certfile, "--keyfile", shop.keyfile),
        *("--proxy-protocol", "v1", "--forwarded-allow-ips", "*"),
        files={"app.py": source, "recorder/sitecustomize.py": RECORDER},
        environ={"PYTHONPATH": "recorder", "IMPORTS": str(tmp_path / "imports")},
    )
    server.await_ready(2)
    started = len(imports(server))
    use(server)
    mark = server.mark()
    if "--threads" not in flags:
        ask(server, "/hangs")
        server.await_line("it hangs|no progress|killed", since=mark)
    for pid in server.worker_pids():
        kill(pid, signal.SIGKILL)
    server.await_ready(2, since=mark)
    use(server)
    for broken in ("import nothing.at_all", "def app(:", "ap = 1", "raise ValueError('ä')"):
        (tmp_path / "app.py").write_text(broken)
        mark = server.mark()
        server.signal(signal.SIGHUP)
        server.await_line("abandoned", since=mark)
    (tmp_path / "appserve.toml").write_text("keep-alive = [")
    server.signal(signal.SIGHUP)
    server.await_line("reload refused")
    (tmp_path / "appserve.toml").write_text("keep_alive = 3")
    (tmp_path / "app.py").write_text(source)
    mark = server.mark()
    server.signal(signal.SIGHUP)
    server.await_line("serves with 2 workers", since=mark)
    use(server)
    assert server.stop() == 0

    of_the_application = {"app", "nothing"}
    late = imports(server)[started:]
    early = [(pid, name) for pid, name in imports(server)[:started] if pid != server.pid]
    assert [one for one in early + late if one[1] not in of_the_application] == []
    assert len({pid for pid, name in early + late if name == "app"} - {server.pid}) > 8  # they were seen


@pytest.mark.parametrize(("before", "after"), [("sync", "asgi"), ("asgi", "threads")])
def test_after_a_reload_to_another_worker_class_its_modules_are_shared(
    serve: Serve, tmp_path: Path, before: str, after: str
) -> None:
    sources = {"sync": HELLO, "threads": HELLO, "asgi": HELLO_ASGI}
    files = {"app.py": sources[before], "appserve.toml": f'worker_class = "{before}"'}
    server = serve(
        files={**files, "recorder/sitecustomize.py": RECORDER},
        environ={"PYTHONPATH": "recorder", "IMPORTS": str(tmp_path / "imports")},
    )
    (tmp_path / "app.py").write_text(sources[after])
    (tmp_path / "appserve.toml").write_text(f'worker_class = "{after}"')
    server.signal(signal.SIGHUP)
    server.await_line("generation 2 serves")
    loaded = len(imports(server))
    kill(int(server.get().text), signal.SIGKILL)
    server.await_line(r"ready in [\d.]+ s, generation 2", 2)

    assert server.get().status == 200
    assert {name for _, name in imports(server)[loaded:]} == {"app"}


PATH = """
import os, sys

def app(environ, start_response):
    start_response("200 OK", [])
    return ["\\n".join(sys.path).encode()]
"""


@pytest.mark.parametrize("linked", [False, True], ids=["script", "link"])
def test_the_script_s_folder_is_not_searched_for_modules(
    start: Callable[..., Server], tmp_path: Path, linked: bool
) -> None:
    (tmp_path / "app.py").write_text(PATH)
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "appserve"
    if linked:
        script.symlink_to(Path(sys.executable).parent / "appserve")
    else:
        script.write_text("from appserve.cli.main import main\nmain()\n")
    (tmp_path / "extra").mkdir()
    environ = {"PYTHONPATH": str(tmp_path / "extra")}
    server = start(("app:app",), program=(sys.executable, str(script)), environ=environ)

    searched = server.get().text.splitlines()
    assert searched[:2] == [str(tmp_path), str(tmp_path / "extra")]
    assert not {str(script.parent), str(Path(sys.executable).parent), ""}.intersection(searched)


def test_another_program_that_calls_the_command_keeps_its_folder(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(PATH)
    (tmp_path / "own").mkdir()
    program = tmp_path / "own" / "serve.py"
    program.write_text("from appserve.cli.main import main\nmain()\n")
    server = start(("app:app",), program=(sys.executable, str(program)))

    assert str(program.parent) in server.get().text.splitlines()


def test_a_folder_that_holds_the_package_itself_is_searched_last(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    shutil.copytree(Path(appserve.__file__).parent, tmp_path / "appserve")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "app.py").write_text(PATH)
    server = start(("app:app", "--chdir", "site"))

    assert server.get().text.splitlines()[-1] == str(tmp_path)


BEFORE_US = subprocess.run(
    [sys.executable, "-c", "import runpy, sys; print(*sys.modules)"],
    check=True,
    capture_output=True,
    text=True,
).stdout.split()
"""What `python -m` has imported before the first line of ours, from the current folder first."""


@pytest.mark.parametrize("launcher", ["module", "script"])
@pytest.mark.parametrize("kind", [KINDS[name] for name in ONE_OF_EACH], ids=ONE_OF_EACH)
def test_modules_beside_the_application_may_have_any_name(
    start: Callable[..., Server], kind: tuple[str, tuple[str, ...]], launcher: str, tmp_path: Path
) -> None:
    """As long as the application does not import them."""
    source, flags = kind
    (tmp_path / "app.py").write_text(HELLO if source is WSGI else HELLO_ASGI)
    for name in {*sys.stdlib_module_names, "click", "uvloop", "httptools", "setproctitle"}:
        if launcher == "script" or name not in BEFORE_US:
            file = tmp_path / name / "__init__.py" if name == "email" else tmp_path / f"{name}.py"
            file.parent.mkdir(exist_ok=True)
            file.write_text("raise RuntimeError('the application has a module ' + __name__)")
    shop = certificates().shop
    server = start(
        ("app:app", *flags, "--certfile", shop.certfile, "--keyfile", shop.keyfile, "--proxy-protocol", "v1"),
        program=[str(Path(sys.executable).parent / "appserve")] if launcher == "script" else command(),
    )
    server.await_ready()

    assert b" 200 " in ask(server, "/")
    mark = server.mark()
    for pid in server.worker_pids():
        kill(pid, signal.SIGKILL)
    server.await_ready(since=mark)
    assert b" 200 " in ask(server, "/")
    assert server.stop() == 0
    assert "has a module" not in server.log


@pytest.mark.parametrize("kind", [KINDS[name] for name in ONE_OF_EACH], ids=ONE_OF_EACH)
def test_an_upgrade_on_disk_does_not_reach_a_running_server(
    start: Callable[..., Server], kind: tuple[str, tuple[str, ...]], tmp_path: Path
) -> None:
    source, flags = kind
    (tmp_path / "app.py").write_text(HELLO if source is WSGI else HELLO_ASGI)
    shutil.copytree(Path(appserve.__file__).parent, tmp_path / "site" / "appserve")
    server = start(("app:app", "--workers", "2", *flags), environ={"PYTHONPATH": str(tmp_path / "site")})
    before = server.await_ready(2)
    for file in (tmp_path / "site").rglob("*.py"):
        file.write_text("this is another version (")
    for folder in (tmp_path / "site").rglob("__pycache__"):
        shutil.rmtree(folder)

    for pid in before.values():
        mark = server.mark()
        kill(pid, signal.SIGKILL)
        server.await_ready(1, since=mark)
    await_fact(lambda: int(server.get().text) not in before.values(), "a new worker serves")
    mark = server.mark()
    server.signal(signal.SIGHUP)
    server.await_line("generation 2 serves with 2 workers", since=mark)
    assert server.get().status == 200
    assert server.stop() == 0
    assert "another version" not in server.log
