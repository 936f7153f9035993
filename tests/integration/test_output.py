"""What an application prints: it is there when the line ends, whatever becomes of the worker."""

import signal
from collections.abc import Callable

import pytest

from tests.integration.server import Server, Threaded, await_fact, kill

Serve = Callable[..., Server]

PRINTS = """
import os, sys

print("imported")

def app(environ, start_response):
    print("served", os.getpid())
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""
PRINTS_ASGI = """
import os

print("imported")

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError("none")
    print("served", os.getpid())
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""
EACH_CLASS = pytest.mark.parametrize(
    "source", [PRINTS, Threaded(PRINTS), PRINTS_ASGI], ids=["sync", "threads", "asgi"]
)


BUFFERED = {"PYTHONUNBUFFERED": ""}  # whatever the tests were started with


@EACH_CLASS
def test_a_printed_line_is_written_at_its_end(serve: Serve, source: str) -> None:
    server = serve("app:app", "--access-logfile", "none", files={"app.py": source}, environ=BUFFERED)

    await_fact(lambda: server.access_log == "imported\n", "the first line is written")
    pid = int(server.get().text)
    await_fact(lambda: f"served {pid}\n" in server.access_log, "the second line is written")


@EACH_CLASS
def test_what_was_printed_before_a_kill_is_not_lost(serve: Serve, source: str) -> None:
    server = serve("app:app", "--access-logfile", "none", files={"app.py": source}, environ=BUFFERED)

    pid = int(server.get().text)
    kill(pid, signal.SIGKILL)
    server.await_ready(2)
    assert f"imported\nserved {pid}\n" in server.access_log


def test_a_stream_that_the_application_has_put_there_is_its_own_business(serve: Serve) -> None:
    source = "import io, sys\nsys.stdout = io.TextIOWrapper(open(1, 'wb', closefd=False))\n" + PRINTS.replace(
        'print("served", os.getpid())', "print(sys.stdout.line_buffering, file=sys.stderr)"
    )
    server = serve("app:app", "--access-logfile", "none", files={"app.py": source}, environ=BUFFERED)

    server.get()
    server.await_line("^False$")
    assert server.access_log == ""


def test_unbuffered_output_stays_unbuffered(serve: Serve) -> None:
    source = PRINTS.replace('print("served", os.getpid())', 'print("no end of a line", end="")')
    files = {"app.py": source}
    server = serve("app:app", "--access-logfile", "none", files=files, environ={"PYTHONUNBUFFERED": "1"})

    server.get()
    await_fact(lambda: server.access_log == "imported\nno end of a line", "it is written")
