"""SIGHUP: a new generation takes over, or the old one goes on; no client notices."""

import os
import signal
import socket
from collections.abc import Callable

import pytest

from tests.integration.load import small_load
from tests.integration.server import (
    HELLO,
    HELLO_ASGI,
    HELLO_THREADS,
    READY,
    Server,
    await_fact,
    is_alive,
    processes_of_session,
)
from tests.soak import rounds

Serve = Callable[..., Server]

VERSION = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"version %d"]
"""


def test_hup_brings_new_code_and_loses_nothing(serve: Serve) -> None:
    server = serve("app:app", "-w", "3", files={"app.py": VERSION % 1})
    old = server.await_ready(3)

    with small_load(server) as load:
        (server.folder / "app.py").write_text(VERSION % 2)
        server.signal(signal.SIGHUP)
        server.await_line("generation 2 serves with 3 workers")

    assert load.complaints == []
    assert server.get().text == "version 2"
    new = server.await_ready(3, generation=2)
    assert set(server.worker_pids()) == set(new.values())
    assert [pid for pid in old.values() if is_alive(pid)] == []
    assert "killed" not in server.log


def test_a_settings_file_that_is_a_program_is_run_again_and_one_that_fails_changes_nothing(
    serve: Serve,
) -> None:
    conf = "import threading\nthreading.Thread(target=input, daemon=True).start()\nworkers = %s\n"
    server = serve("app:app", files={"app.py": VERSION % 1, "gunicorn.conf.py": conf % 1})
    server.await_ready(1)

    (server.folder / "gunicorn.conf.py").write_text(conf % 2)
    server.signal(signal.SIGHUP)
    server.await_line("generation 2 serves with 2 workers")

    (server.folder / "gunicorn.conf.py").write_text(conf % "1 / 0")
    server.signal(signal.SIGHUP)
    server.await_line(r"gunicorn\.conf\.py: ZeroDivisionError: division by zero \(line 3\)")
    assert server.get().text == "version 1"
    server.await_ready(2, generation=2)


ENVIRONMENT = """
import os
def app(environ, start_response):
    start_response("200 OK", [])
    return [" ".join(os.environ.get(name, "unset") for name in ("SHOP_A", "SHOP_B")).encode()]
"""


def test_the_application_has_the_variables_of_flags_and_files_and_a_reload_reads_them_again(
    serve: Serve,
) -> None:
    files = {"app.py": ENVIRONMENT, "shop.env": "SHOP_A=file\nSHOP_B=file\n"}
    server = serve("app:app", "--env", "SHOP_B=flag", "--env-file", "shop.env", files=files)
    server.await_ready(1)
    assert server.get().text == "file flag"

    (server.folder / "shop.env").write_text("SHOP_B=ignored\n")
    server.signal(signal.SIGHUP)
    server.await_line("generation 2 serves with 1 worker")
    assert server.get().text == "unset flag"
    assert "ignored" not in server.log
    assert "SHOP_A=file" not in server.log


def test_a_new_worker_is_ready_before_an_old_one_leaves(serve: Serve) -> None:
    server = serve("app:app", "-w", "2")
    server.await_ready(2)
    mark = server.mark()

    server.signal(signal.SIGHUP)
    server.await_line("generation 2 serves with 2 workers")

    order = [match[0] for match in server.find(r"ready in|stopped \(exit", mark)]
    assert order.count("ready in") == order.count("stopped (exit") == 2
    assert all(order[:n].count("stopped (exit") <= order[:n].count("ready in") for n in range(4))


STREAMS_ASGI = """
import asyncio, os, pathlib

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"<%d>" % os.getpid(), "more_body": True})
    while not pathlib.Path("gate").exists():
        await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": b"end"})
"""


def test_a_stream_in_each_worker_does_not_make_a_reload_wait_for_one_after_the_other(serve: Serve) -> None:
    server = serve(
        "app:app", "-w", "3", "--surge", "1", "--graceful-timeout", "600", files={"app.py": STREAMS_ASGI}
    )
    old = server.await_ready(3)
    streams: dict[int, socket.socket] = {}
    while set(streams) != set(old.values()):
        client = server.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        seen = b""
        while not seen.rstrip(b"\r\n").endswith(b">"):
            seen += client.recv(4096)
        streams.setdefault(int(seen.rpartition(b"<")[2].partition(b">")[0]), client)

    server.signal(signal.SIGHUP)

    server.await_ready(3, generation=2)
    assert [pid for pid in old.values() if not is_alive(pid)] == []
    (server.folder / "gate").touch()
    for client in streams.values():
        with client:
            assert b"end" in b"".join(iter(lambda client=client: client.recv(4096), b""))  # type: ignore[misc]
    server.await_line("generation 2 serves with 3 workers")


def test_hup_with_broken_code_keeps_the_old_generation_and_says_why(serve: Serve) -> None:
    server = serve("app:app", "-w", "3", files={"app.py": VERSION % 1})
    old = server.await_ready(3)

    with small_load(server) as load:
        (server.folder / "app.py").write_text("def app(:\n")
        server.signal(signal.SIGHUP)
        server.await_line(
            r"generation 2 abandoned: its first worker failed \(exit code 4\); generation 1 keeps serving"
        )

    assert load.complaints == []
    assert "SyntaxError" in server.log
    assert server.get().text == "version 1"
    assert set(server.worker_pids()) == set(old.values())


@pytest.mark.parametrize("way", ["import os; os._exit(0)", "import os; os.kill(os.getpid(), 11)"])
def test_a_new_generation_that_dies_is_given_up_at_once(serve: Serve, way: str) -> None:
    server = serve("app:app", "-w", "2")
    old = server.await_ready(2)

    (server.folder / "app.py").write_text(way + "\n")
    server.signal(signal.SIGHUP)

    server.await_line("generation 2 abandoned")
    assert set(server.worker_pids()) == set(old.values())
    assert server.find("next try") == []


def test_after_a_reload_that_was_given_up_the_next_one_works(serve: Serve) -> None:
    server = serve(files={"app.py": VERSION % 1})
    (server.folder / "app.py").write_text("1 / 0\n")
    server.signal(signal.SIGHUP)
    server.await_line("generation 2 abandoned")

    (server.folder / "app.py").write_text(VERSION % 3)
    server.signal(signal.SIGHUP)

    server.await_line("generation 3 serves with 1 worker$")
    assert server.get().text == "version 3"


def test_hup_reads_the_settings_again(serve: Serve) -> None:
    server = serve(files={"app.py": HELLO, "appserve.toml": "workers = 2\n"})
    server.await_ready(2)

    (server.folder / "appserve.toml").write_text("workers = 3\nkeep_alive = 5\n")
    server.signal(signal.SIGHUP)

    server.await_line(r"reload: workers = 3 \(was 2\)")
    server.await_line(r"reload: keep_alive = ")
    server.await_line("generation 2 serves with 3 workers")
    assert len(server.worker_pids()) == 3

    (server.folder / "appserve.toml").write_text("workers = 1\n")
    server.signal(signal.SIGHUP)

    server.await_line("generation 3 serves with 1 worker$")
    assert len(server.worker_pids()) == 1
    assert server.get().status == 200


def test_hup_with_broken_settings_keeps_the_old_ones_and_names_every_problem(serve: Serve) -> None:
    server = serve(files={"app.py": HELLO, "appserve.toml": "workers = 2\n"})
    old = server.await_ready(2)

    (server.folder / "appserve.toml").write_text('workers = "many"\nnonsense = 1\n')
    server.signal(signal.SIGHUP)

    server.await_line("reload refused")
    assert server.find(r"ERROR +reload: .*workers = \"many\"")
    assert server.find(r"ERROR +reload: .*nonsense")
    assert set(server.worker_pids()) == set(old.values())
    assert server.get().status == 200


def test_hup_with_a_file_that_is_no_toml_keeps_the_old_settings(serve: Serve) -> None:
    server = serve(files={"app.py": HELLO, "appserve.toml": "workers = 2\n"})
    old = server.await_ready(2)

    (server.folder / "appserve.toml").write_text("workers = [\n")
    server.signal(signal.SIGHUP)

    server.await_line("reload refused")
    assert set(server.worker_pids()) == set(old.values())


def test_what_a_reload_cannot_change_is_named(serve: Serve) -> None:
    toml = 'bind = ["127.0.0.1:0"]\nworkers = 1\n'
    server = serve(files={"app.py": HELLO, "appserve.toml": toml}, bind=False)
    port = server.port

    (server.folder / "appserve.toml").write_text('bind = ["127.0.0.1:1"]\nbacklog = 5\nworkers = 2\n')
    server.signal(signal.SIGHUP)

    server.await_line(r"reload: bind, backlog not changed: a restart is needed")
    server.await_line("generation 2 serves with 2 workers")
    assert server.port == port
    assert server.get().status == 200


GATED = """
import pathlib, time
pathlib.Path(f"importing-{time.monotonic_ns()}").touch()
while not pathlib.Path("gate").exists():
    time.sleep(0.01)
"""


def is_importing(server: Server) -> bool:
    return any(name.startswith("importing") for name in os.listdir(server.folder))


def test_hups_during_a_reload_become_one(serve: Serve) -> None:
    server = serve("app:app", "-w", "2", files={"app.py": VERSION % 1})
    server.await_ready(2)
    (server.folder / "app.py").write_text(GATED + VERSION % 2)
    server.signal(signal.SIGHUP)
    await_fact(lambda: is_importing(server), "the canary is being imported")

    for already in range(5):
        server.signal(signal.SIGHUP)
        server.await_line("reload deferred", already + 1)
    (server.folder / "gate").touch()

    server.await_line("generation 3 serves with 2 workers")
    assert server.get().text == "version 2"
    assert server.find("generation 4") == []


def test_term_during_a_reload_is_obeyed_at_once(serve: Serve) -> None:
    server = serve("app:app", "-w", "2", files={"app.py": VERSION % 1})
    server.await_ready(2)
    (server.folder / "app.py").write_text(GATED + VERSION % 2)
    server.signal(signal.SIGHUP)
    await_fact(lambda: is_importing(server), "the canary is being imported")

    assert server.stop(timeouts=10) == 0
    assert processes_of_session(server.pid) == []


def test_a_worker_that_dies_while_the_canary_boots_is_replaced(serve: Serve) -> None:
    """Supervision goes on during a reload; the replacement is of the generation in charge."""
    server = serve("app:app", "-w", "2", files={"app.py": VERSION % 1, "gate": ""})
    old = server.await_ready(2)
    assert server.get().status == 200
    (server.folder / "gate").unlink()
    (server.folder / "app.py").write_text(GATED + VERSION % 2)
    server.signal(signal.SIGHUP)
    await_fact(lambda: is_importing(server), "the canary is being imported")
    (server.folder / "app.py").write_text(VERSION % 1)
    mark = server.mark()

    os.kill(old[1], signal.SIGKILL)

    assert server.await_line(READY, since=mark)[0][3] == "1"
    (server.folder / "gate").touch()
    server.await_line("generation 2 serves with 2 workers")


@pytest.mark.timeout(rounds(120, 1200))
@pytest.mark.parametrize("source", [HELLO, HELLO_THREADS, HELLO_ASGI], ids=["sync", "threads", "asgi"])
def test_reloads_under_load_lose_nothing(serve: Serve, source: str) -> None:
    server = serve("app:app", "-w", "2", files={"app.py": source})
    server.await_ready(2)

    with small_load(server) as load:
        for generation in range(2, rounds(10, 200)):
            server.signal(signal.SIGHUP)
            server.await_line(f"generation {generation} serves with 2 workers")

    assert load.complaints == []
    assert len(server.worker_pids()) == 2
