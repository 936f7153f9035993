"""Servers that were started in a terminal, a real one, and what becomes of them when it is closed."""

import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.server import (
    HELLO,
    TIMEOUT,
    Server,
    await_fact,
    command,
    is_alive,
    kill,
    processes_of_session,
)

# Makes standard input the controlling terminal of the session, and goes on as the command.
TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Window:
    """A terminal with a session of its own, whose first process is a server or a shell."""

    def __init__(self, folder: Path, *first: str) -> None:
        self.folder = folder
        (folder / "app.py").write_text(HELLO)
        self.ours, theirs = pty.openpty()
        self.server = Server([sys.executable, "-c", TAKE_TERMINAL, *first], folder, {}, stdin=theirs)
        os.close(theirs)

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode() + b"\n")

    def close(self) -> None:
        if self.ours >= 0:
            os.close(self.ours)
            self.ours = -1

    def text(self) -> str:
        path = self.folder / "typed.log"
        return path.read_text() if path.exists() else ""

    def await_text(self, text: str) -> None:
        await_fact(lambda: text in self.text(), f"{text!r} in the log")

    def master(self) -> int:
        self.await_text("listening on")
        return int(self.text().partition("master pid ")[2].partition("\n")[0])


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def open_window(cleanup: ExitStack, folder: Path, *first: str) -> Window:
    window = Window(folder, *first)
    cleanup.callback(window.server.close)
    cleanup.callback(window.close)
    return window


def open_shell(cleanup: ExitStack, folder: Path) -> Window:
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    return open_window(cleanup, folder, "bash", "--norc", "--noprofile", "-i")


def line(*before: str) -> str:
    """What is typed to start a server that logs into typed.log."""
    return shlex.join([*before, *command("app:app", "--bind", "127.0.0.1:0")]) + " >typed.log 2>&1"


def test_a_terminal_that_is_closed_ends_the_server(cleanup: ExitStack, tmp_path: Path) -> None:
    window = open_window(cleanup, tmp_path, *command("app:app", "--bind", "127.0.0.1:0"))
    window.server.await_line("listening on")

    window.close()

    assert window.server.wait() == 0
    window.server.await_line("the terminal was closed")
    assert window.server.find("reload") == []


@pytest.mark.parametrize("ampersand", ["", " &"], ids=["foreground", "background"])
def test_so_it_does_to_a_job_of_a_shell(cleanup: ExitStack, tmp_path: Path, ampersand: str) -> None:
    window = open_shell(cleanup, tmp_path)
    window.type(line() + ampersand)
    master = window.master()

    window.close()

    await_fact(lambda: not is_alive(master), "the server has ended")
    assert "the terminal was closed" in window.text()
    assert "stopped" in window.text()
    session = window.server.pid
    await_fact(lambda: not any(map(is_alive, processes_of_session(session))), "nothing is left")


def test_nohup_keeps_it_and_a_later_hup_is_a_reload(cleanup: ExitStack, tmp_path: Path) -> None:
    window = open_shell(cleanup, tmp_path)
    window.type(line("nohup") + " &")
    master = window.master()

    window.close()
    window.server.process.wait(TIMEOUT)
    window.await_text("SIGHUP ignored: the terminal was closed")

    assert is_alive(master)
    assert "reload" not in window.text()
    await_fact(lambda: reloads(master, window), "a HUP is a reload again")
    kill(master, signal.SIGTERM)
    await_fact(lambda: not is_alive(master), "it ends")


def reloads(master: int, window: Window) -> bool:
    # Whether a HUP is obeyed again is seen by its effect alone, so one is sent now and then.
    time.sleep(0.1)
    kill(master, signal.SIGHUP)
    return "generation 2 serves" in window.text()


def test_a_hup_while_the_terminal_is_open_is_a_reload(cleanup: ExitStack, tmp_path: Path) -> None:
    window = open_window(cleanup, tmp_path, *command("app:app", "--bind", "127.0.0.1:0"))
    window.server.await_line("listening on")

    subprocess.run(["kill", "-HUP", str(window.server.pid)], check=True)

    window.server.await_line("generation 2 serves with 1 worker")
    assert window.server.get().status == 200
    assert window.server.stop() == 0
