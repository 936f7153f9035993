"""The event loop that an application's modules find when they are imported is the one that serves, and a WSGI
application finds asyncio as in any other process."""

from collections.abc import Callable

import pytest

from tests.integration.conftest import serve
from tests.integration.server import Server

__all__ = ["serve"]  # a fixture

pytestmark = pytest.mark.integration

Serve = Callable[..., Server]

MADE_AT_IMPORT = """
import asyncio, warnings

loop = asyncio.get_event_loop()
done = loop.create_future()
handed_on = asyncio.Queue()

async def at_import():
    await asyncio.sleep(0)
    done.set_result("ran")

task = loop.create_task(at_import())

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError("none")
    await done
    loop.call_soon(handed_on.put_nowait, type(asyncio.get_running_loop()).__module__)
    name = await handed_on.get()
    body = f"{loop is asyncio.get_running_loop()} {done.result()} {name}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""

CLOSED_AT_IMPORT = """
import asyncio

loop = asyncio.get_event_loop()
loop.run_until_complete(asyncio.sleep(0))
loop.close()
"""

RUN_AT_IMPORT = """
import asyncio

asyncio.run(asyncio.sleep(0))
"""

HELLO = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError("none")
    await asyncio.sleep(0)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})
"""


@pytest.mark.parametrize("worker_class", ["asgi", "auto"])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_what_a_module_makes_at_import_belongs_to_the_loop_that_serves(
    serve: Serve, loop: str, worker_class: str
) -> None:
    flags = ("--loop", loop, "--worker-class", worker_class)
    server = serve("app:app", *flags, files={"app.py": MADE_AT_IMPORT})

    reported = server.get().text
    assert reported.startswith("True ran ")
    assert reported.split()[2].startswith(loop)
    assert server.stop() == 0
    assert "Traceback" not in server.log


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_factory_finds_the_loop_that_serves(serve: Serve, loop: str) -> None:
    source = "def make():\n" + MADE_AT_IMPORT.replace("\n", "\n    ") + "\n    return app\n"
    server = serve("app:make", "--factory", "--loop", loop, files={"app.py": source})

    assert server.get().text.startswith("True ran ")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("at_import", [CLOSED_AT_IMPORT, RUN_AT_IMPORT], ids=["closed", "asyncio.run"])
def test_a_module_may_run_a_loop_of_its_own_to_its_end(serve: Serve, loop: str, at_import: str) -> None:
    server = serve("app:app", "--loop", loop, files={"app.py": at_import + HELLO})

    assert server.get().text == "served"
    assert server.stop() == 0


WSGI = """
import asyncio, os

def epolls():
    found = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
             if os.path.islink(f"/proc/self/fd/{fd}")]
    return sum("eventpoll" in file for file in found)

def app(environ, start_response):
    start_response("200 OK", [])
    before = epolls()
    loop = asyncio.get_event_loop()
    result = loop.run_until_complete(asyncio.sleep(0, "slept"))
    return [f"{before} {type(loop).__module__} {result} {asyncio.run(asyncio.sleep(0, 'ran'))}".encode()]
"""


def test_nothing_of_the_loop_is_left_in_a_worker_that_turns_out_to_be_wsgi(serve: Serve) -> None:
    server = serve("app:app", files={"app.py": WSGI}, environ={"PYTHONWARNINGS": "error"})

    assert server.get().text == "1 asyncio.unix_events slept ran"  # its poller's


def test_a_loop_that_a_wsgi_application_has_set_at_import_stays_set(serve: Serve) -> None:
    source = "import asyncio\nloop = asyncio.new_event_loop()\nasyncio.set_event_loop(loop)\n" + WSGI.replace(
        "    loop = asyncio.get_event_loop()\n", "    assert loop is asyncio.get_event_loop()\n"
    )
    server = serve("app:app", files={"app.py": source})

    assert server.get().text == "2 asyncio.unix_events slept ran"


def test_a_loop_that_a_wsgi_application_took_at_import_stays_its_own(serve: Serve) -> None:
    source = "import asyncio\nloop = asyncio.get_event_loop()\n" + WSGI.replace(
        "    loop = asyncio.get_event_loop()\n", "    assert loop is asyncio.get_event_loop()\n"
    )
    server = serve("app:app", files={"app.py": source})

    assert server.get().text.endswith(" slept ran")
