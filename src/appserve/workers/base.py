"""The life of a worker process around its loop: from the fork to the exit code.

    fork (master/process.py) → run_worker: signals, title, black box, death signal → make the event loop
    → import the application → choose the class → serve() of sync_loop.py or asgi_loop.py → exit code

Signals of a worker

    TERM                        default action (ends it) until its loop has a MasterLink; then: retire
    INT QUIT HUP USR1 USR2      nothing happens: a Ctrl-C hits the whole group of a terminal, and a stray
    pkill WINCH TTIN TTOU             hits every process of that name. Orders of the master come by the
    channel. CHLD ALRM and the rest      default: the application's

"Nothing happens" is a handler that does nothing and not SIG_IGN, because an ignored signal stays ignored
across exec: a program that the application starts could not be interrupted. For the same reason a child
that the application forks gets the defaults back, and keeps neither the listeners (it would hold the port
after our end) nor the channel (it would hide the end of this worker).
"""

import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

from appserve.config.settings import Settings
from appserve.errors import ExitCode, StartupError
from appserve.observe.log import Level
from appserve.system import blackbox
from appserve.system.this_process import set_title, signal_on_parent_death
from appserve.workers.application import Application, choose_worker_class, load, prepare_import
from appserve.workers.channel import Failed
from appserve.workers.context import WorkerContext, WorkerSpec, prepare
from appserve.workers.modules import import_modules

if TYPE_CHECKING:
    import ssl

    from appserve.workers.asgi_loop import EventLoop

#: Signals that mean nothing to a worker. TTIN and TTOU would stop it by default.
IGNORED = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGTTIN,
    signal.SIGTTOU,
)


def run_worker(spec: WorkerSpec, tls: "ssl.SSLContext | None" = None) -> int:
    """Be a worker until the end; gives the exit code. Called in the child after the fork.

    `tls` is what no socket carries: see prepare().
    """
    return work(prepare(spec, tls))


def work(context: WorkerContext) -> int:
    """Load the application and serve until the end; gives the exit code. Never raises."""
    try:
        _set_up_process(context)
        application, serve = _load(context.settings)
        return serve(application, context)
    except StartupError as error:
        failed = Failed(int(error.exit_code), error.message, error.detail)
    except BaseException as error:
        failed = Failed(int(ExitCode.INTERNAL), f"unexpected {type(error).__name__}", traceback.format_exc())
    # The master logs it in one record with the exit; the worker does only if the master cannot.
    if not context.channel.send_before_leaving(failed):
        context.log.block(Level.CRITICAL, f"worker {context.slot}: {failed.headline}", failed.text)
    return failed.exit_code


def title(settings: Settings, role: str) -> str:
    """What ps shows of a process of ours: `appserve: worker 3 [shop.web:app]`."""
    return f"appserve: {role} [{settings.name or settings.application}]"


def _set_up_process(context: WorkerContext) -> None:
    for unheard in IGNORED:
        signal.signal(unheard, _do_nothing)
        # System calls of the application and its libraries go on as if nothing had happened.
        signal.siginterrupt(unheard, False)
    signal_on_parent_death(signal.SIGTERM)
    if os.getppid() != context.master_pid:
        # It died before the death signal was armed, so that signal never comes.
        raise StartupError("the master is gone")
    for assignment in context.settings.env:
        name, _, value = assignment.partition("=")
        os.environ[name] = value
    if context.settings.reload:
        # Bytecode is known by second and size of its source: two saves within a second can look the same.
        sys.dont_write_bytecode = True
    blackbox.arm(context.blackbox_fd)
    set_title(title(context.settings, f"worker {context.slot}"))
    _print_by_line()
    os.register_at_fork(after_in_child=lambda: _after_fork(context))


def _print_by_line() -> None:
    """Write what the application prints at the end of each line, also where standard output is no terminal.

    Python holds up to 8 KiB back there: a container's log shows nothing for minutes, and the rest is lost
    when the process is killed. A stream that something else has put there is left as it is.
    """
    stdout = sys.stdout
    if stdout is sys.__stdout__ and isinstance(stdout, io.TextIOWrapper) and not stdout.write_through:
        stdout.reconfigure(line_buffering=True)


def _make_event_loop(settings: Settings) -> "EventLoop | None":
    """The loop that is to serve, made the current one before the application is imported: what modules make
    with asyncio.get_event_loop() then belongs to it. None if the application cannot need one."""
    if settings.worker_class not in ("auto", "asgi") or settings.interface == "wsgi":
        return None
    from appserve.workers.asgi_loop import EventLoop

    return EventLoop(settings.loop)


def _load(settings: Settings) -> tuple[Application, Callable[[Application, WorkerContext], int]]:
    """The application, and the function that serves it."""
    import_modules(settings)  # before the application's folders are searched; the master has done it
    loop = _make_event_loop(settings)
    prepare_import(settings.chdir, settings.app_dir)
    application = load(settings.application, factory=settings.factory, interface=settings.interface)
    worker_class, _ = choose_worker_class(application, settings.worker_class, settings.threads)
    if loop is not None and worker_class != "asgi":
        loop.withdraw()
    return application, _serve_function(worker_class, loop)


def _serve_function(
    worker_class: str, loop: "EventLoop | None" = None
) -> Callable[[Application, WorkerContext], int]:
    # Here and not at the top: which of them there are in memory is for workers/modules.py to decide.
    if worker_class == "asgi":
        from appserve.workers import asgi_loop

        return partial(asgi_loop.serve, made=loop)
    from appserve.workers import sync_loop

    return sync_loop.serve_threads if worker_class == "threads" else sync_loop.serve


def _after_fork(context: WorkerContext) -> None:
    """Runs in a child that the application forked, which is no worker."""
    signal.set_wakeup_fd(-1)
    for number in (*IGNORED, signal.SIGTERM):
        handler = signal.getsignal(number)
        if getattr(handler, "__module__", "").startswith("appserve.workers"):
            signal.signal(number, signal.SIG_DFL)
    context.channel.close()
    for listener in context.listeners:
        listener.close(unlink=False)


def _do_nothing(signum: int, frame: FrameType | None) -> None:
    pass
