"""--reload: each saved state of the application is served, or its mistake is shown."""

import signal
from collections.abc import Callable

import pytest

from tests.integration.server import Server, await_fact, is_alive, processes_of_session

Serve = Callable[..., Server]

APP = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"state %d"]
"""

BROKEN = ("def app(:", "raise RuntimeError('no state')", "import no_module_of_this_name", "app = 3")


def left(server: Server) -> list[int]:
    return [pid for pid in processes_of_session(server.pid) if is_alive(pid)]


def test_thirty_edits_are_served_or_explained_and_nothing_is_left(serve: Serve) -> None:
    server = serve("app:app", "--reload", files={"app.py": APP % 0})
    server.await_line("watching .* for changes")
    path = server.folder / "app.py"
    served = 0
    for edit in range(1, 31):
        mark = server.mark()
        if edit % 3:
            path.write_text(APP % edit)
            server.await_line(r"generation \d+ serves with 1 worker", since=mark)
            served = edit
        else:
            path.write_text(BROKEN[edit // 3 % len(BROKEN)])
            server.await_line(r"generation \d+ abandoned", since=mark)
        assert server.get().text == f"state {served}"

    server.signal(signal.SIGINT)
    assert server.process.wait(60) == 0
    await_fact(
        lambda: not [pid for pid in processes_of_session(server.pid) if is_alive(pid)], "no process is left"
    )


@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGTERM])
def test_a_mistake_at_the_start_is_waited_for(serve: Serve, ends: signal.Signals) -> None:
    server = serve("app:app", "--reload", files={"app.py": "app = ("}, wait=False)
    server.await_line("exit 4: .*SyntaxError")
    server.await_line("waiting for a change")

    mark = server.mark()
    (server.folder / "app.py").write_text("import no_such_module_here")
    server.await_line("waiting for a change", since=mark)
    (server.folder / "app.py").write_text(APP % 1)
    server.await_line("listening on ")
    assert server.get().text == "state 1"

    mark = server.mark()
    (server.folder / "app.py").write_text(APP % 2)
    server.await_line("generation 2 serves with 1 worker", since=mark)
    assert server.get().text == "state 2"
    server.signal(ends)
    assert server.process.wait(60) == 0
    await_fact(lambda: not left(server), "no process is left")


def test_a_signal_ends_the_wait_for_a_change(serve: Serve) -> None:
    server = serve("app:app", "--reload", files={"app.py": "app = ("}, wait=False)
    server.await_line("waiting for a change")

    server.signal(signal.SIGINT)
    assert server.process.wait(60) == 4
    await_fact(lambda: not left(server), "no process is left")


def test_the_watcher_ends_with_a_master_that_is_killed(serve: Serve) -> None:
    server = serve("app:app", "--reload", files={"app.py": APP % 0})
    server.await_line("watching .* for changes")

    server.signal(signal.SIGKILL)
    await_fact(
        lambda: not [pid for pid in processes_of_session(server.pid) if is_alive(pid)], "no process is left"
    )


def test_other_files_are_watched_by_choice(serve: Serve) -> None:
    files = {"app.py": APP % 0, "pages/a.html": "1", "shop.env": "A=1\n"}
    server = serve(
        *("app:app", "--reload", "--reload-include", "*.html", "--reload-extra-file", "shop.env"), files=files
    )
    server.await_line("watching .* for changes")

    for name, generation in (("pages/a.html", 2), ("shop.env", 3)):
        (server.folder / name).write_text("A=22\n")
        server.await_line(rf"{name} has changed: reload")
        server.await_line(f"generation {generation} serves with 1 worker")
