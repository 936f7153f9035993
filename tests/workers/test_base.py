"""The life of a worker around its loop: what it sets up, and what it says when it cannot start.

Each worker is a forked child of the test that plays the master.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from appserve.config.settings import Settings
from appserve.errors import AppStartError
from appserve.net.listeners import bind_all
from appserve.workers import base
from appserve.workers.application import Application
from appserve.workers.base import IGNORED, work
from appserve.workers.channel import Failed
from appserve.workers.context import WorkerContext
from tests.workers.context import make_context

APP = "def app(environ, start_response):\n    return []\n"

Serve = Callable[[Application, WorkerContext], int]


class Outcome:
    """How a worker ended: its exit code (negative: a signal), and what it said."""

    def __init__(self, code: int, failed: Failed | None, log: str) -> None:
        self.code = code
        self.failed = failed
        self.log = log


def live(folder: Path, serve: Serve, source: str = APP, **settings: object) -> Outcome:
    """Fork a worker with this application, whose loop is `serve`."""
    (folder / "worker_app.py").write_text(source)
    values = {"application": "worker_app:app", "chdir": str(folder), **settings}
    context, master = make_context(folder, Settings(**values), master_pid=os.getpid())  # type: ignore[arg-type]
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            sys.dont_write_bytecode = True
            sys.modules.pop("worker_app", None)
            base._serve_function = lambda *which: serve
            master.close()
            code = work(context)
        finally:
            os._exit(code)
    context.channel.close()
    _, status = os.waitpid(pid, 0)
    said = [message for message in master.receive() if isinstance(message, Failed)]
    master.close()
    os.close(context.blackbox_fd)
    return Outcome(os.waitstatus_to_exitcode(status), said[0] if said else None, (folder / "log").read_text())


def nothing(application: Application, context: WorkerContext) -> int:
    return 0


def write_facts(*facts: object) -> None:
    Path("facts").write_text("\n".join(map(str, facts)))


def read_facts(folder: Path) -> list[str]:
    return (folder / "facts").read_text().split("\n")


def test_the_exit_code_is_the_loops(tmp_path: Path) -> None:
    outcome = live(tmp_path, lambda application, context: 17)

    assert outcome.code == 17
    assert outcome.failed is None


def test_the_application_is_imported_from_its_folder(tmp_path: Path) -> None:
    def serve(application: Application, context: WorkerContext) -> int:
        write_facts(application.name, application.interface, os.getcwd())
        return 0

    assert live(tmp_path, serve).code == 0
    assert read_facts(tmp_path) == ["worker_app:app", "wsgi", str(tmp_path)]


def test_an_import_that_fails_is_sent_to_the_master(tmp_path: Path) -> None:
    outcome = live(tmp_path, nothing, "1 / 0\n")

    assert outcome.code == 4
    assert outcome.failed is not None
    assert outcome.failed.exit_code == 4
    assert "ZeroDivisionError" in outcome.failed.headline + outcome.failed.text
    assert outcome.log == "", "the master logs it"


def test_a_loop_that_cannot_start_its_application_says_so(tmp_path: Path) -> None:
    def serve(application: Application, context: WorkerContext) -> int:
        raise AppStartError("lifespan startup failed: no cache", "Traceback …")

    outcome = live(tmp_path, serve)

    assert outcome.code == 3
    assert outcome.failed == Failed(3, "lifespan startup failed: no cache", "Traceback …")


def test_a_class_that_does_not_fit_is_a_setting_that_is_wrong(tmp_path: Path) -> None:
    outcome = live(tmp_path, nothing, worker_class="asgi")

    assert outcome.code == 5
    assert outcome.failed is not None
    assert "--worker-class asgi" in outcome.failed.headline


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit, KeyboardInterrupt])
def test_whatever_comes_out_of_a_loop_is_ours_and_exit_71(tmp_path: Path, error: type[BaseException]) -> None:
    def serve(application: Application, context: WorkerContext) -> int:
        raise error

    outcome = live(tmp_path, serve)

    assert outcome.code == 71
    assert outcome.failed is not None
    assert error.__name__ in outcome.failed.headline
    assert "in serve" in outcome.failed.text


def test_without_a_master_it_is_logged(tmp_path: Path) -> None:
    def serve(application: Application, context: WorkerContext) -> int:
        context.channel.close()
        raise ZeroDivisionError

    outcome = live(tmp_path, serve)

    assert outcome.code == 71
    assert "CRITICAL worker 3: unexpected ZeroDivisionError" in outcome.log
    assert "in serve" in outcome.log


def test_a_worker_whose_master_died_before_it_began_leaves(tmp_path: Path) -> None:
    context, master = make_context(tmp_path)
    context = context.replace(master_pid=1 if os.getppid() != 1 else 2)
    pid = os.fork()
    if pid == 0:
        os._exit(work(context))

    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 71
    (failed,) = master.receive()
    assert isinstance(failed, Failed)
    assert "the master is gone" in failed.headline
    master.close()


def test_signals_of_a_terminal_and_of_strays_do_nothing(tmp_path: Path) -> None:
    def serve(application: Application, context: WorkerContext) -> int:
        for number in IGNORED:
            os.kill(os.getpid(), number)
        write_facts(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
        return 0

    assert live(tmp_path, serve).code == 0
    assert read_facts(tmp_path) == ["True"]


def test_a_term_before_the_loop_has_begun_ends_it(tmp_path: Path) -> None:
    outcome = live(tmp_path, nothing, "import os\nos.kill(os.getpid(), 15)\n")

    assert outcome.code == -signal.SIGTERM


def test_a_child_that_the_application_forks_gets_its_signals_back(tmp_path: Path) -> None:
    def serve(application: Application, context: WorkerContext) -> int:
        from appserve.workers.master_link import MasterLink

        link = MasterLink(context)
        pid = os.fork()
        if pid == 0:
            defaults = all(
                signal.getsignal(number) is signal.SIG_DFL for number in (*IGNORED, signal.SIGTERM)
            )
            write_facts(defaults, signal.set_wakeup_fd(-1), context.channel.fileno())
            os._exit(0)
        os.waitpid(pid, 0)
        link.close()
        return 0

    assert live(tmp_path, serve).code == 0
    assert read_facts(tmp_path) == ["True", "-1", "-1"]


def test_a_child_that_the_application_forks_keeps_a_handler_of_the_application(tmp_path: Path) -> None:
    def serve(application: Application, context: WorkerContext) -> int:
        signal.signal(signal.SIGHUP, print)
        pid = os.fork()
        if pid == 0:
            write_facts(signal.getsignal(signal.SIGHUP) is print)
            os._exit(0)
        os.waitpid(pid, 0)
        return 0

    assert live(tmp_path, serve).code == 0
    assert read_facts(tmp_path) == ["True"]


def test_a_child_that_the_application_forks_does_not_hold_the_port(tmp_path: Path) -> None:
    (listener,) = bind_all(["127.0.0.1:0"])
    (tmp_path / "worker_app.py").write_text(APP)
    settings = Settings(application="worker_app:app", chdir=str(tmp_path))
    context, master = make_context(tmp_path, settings, (listener,), master_pid=os.getpid())

    def serve(application: Application, context: WorkerContext) -> int:
        pid = os.fork()
        if pid == 0:
            write_facts(context.listeners[0].fileno())
            os._exit(0)
        os.waitpid(pid, 0)
        return 0 if context.listeners[0].fileno() >= 0 else 1

    pid = os.fork()
    if pid == 0:
        base._serve_function = lambda *which: serve
        os._exit(work(context))
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert read_facts(tmp_path) == ["-1"]
    listener.close(unlink=False)
    master.close()
    context.channel.close()
