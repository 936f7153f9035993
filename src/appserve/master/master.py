"""The master: one loop that reports facts to the roster and carries out its decisions.

It waits in one place, for the signals' wakeup socket, a channel and a pidfd per worker, and the nearest
deadline; a table has the handler of each descriptor. A signal, a message and a death become calls of the
roster. The master never sleeps, never blocks on a worker, has no threads, and imports nothing of the
application: whatever the application does to its process, this one goes on.

One turn: wait → signals and messages → deaths → stalls → time → one fork → flush the log. At most one fork a
turn, so that a hundred workers to start do not keep a signal waiting.
"""

import math
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from appserve.config.derive import make_tls, unix_mode
from appserve.config.settings import Resolved
from appserve.config.sources import DEFAULT
from appserve.errors import BindError, ConfigError, ExitCode, TlsError
from appserve.master import banner, events, postmortem
from appserve.master.generations import Generations, plan_of
from appserve.master.logs import Logs, open_logs
from appserve.master.process import reap, restart
from appserve.master.respawn import jitter
from appserve.master.roster import Roster
from appserve.master.signals import SignalQueue, Terminal
from appserve.master.stalls import StallWatch, is_stalled, next_look
from appserve.master.watcher import Watcher
from appserve.master.worker_handle import WorkerHandle, WorkerHandles
from appserve.master.worker_table import Life, Roll
from appserve.net.listeners import Listener, bind_all, take_handed_over
from appserve.net.poller import make_poller
from appserve.observe.log import Level
from appserve.observe.scoreboard import WorkerState
from appserve.system import blackbox
from appserve.system.blackbox import DUMP_SIGNAL
from appserve.system.descriptors import open_standard_streams
from appserve.system.notify import Notifier, ServiceState
from appserve.system.pidfile import PidFile
from appserve.system.this_process import set_title
from appserve.workers import channel
from appserve.workers.base import title
from appserve.workers.context import stderr_log
from appserve.workers.modules import share_modules

#: The longest wait of the loop. Short: a turn that comes late is how the master learns that it was paused.
LONGEST_WAIT = 1.0

LOG_DRAIN = 1.0

STOPPING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})


def run(
    resolved: Resolved, reread: Callable[[], Resolved], timeouts: events.RosterTimeouts | None = None
) -> int:
    """Serve until a signal stops the server; gives the exit code.

    `reread` gives the settings anew at a reload, and may raise ConfigError.
    """
    open_standard_streams()
    settings = resolved.settings
    log = stderr_log(settings)
    if settings.umask >= 0:
        os.umask(settings.umask)
    signals = SignalQueue()
    signals.install()
    with ExitStack() as end:
        try:
            logs = open_logs(settings)
            log = logs.log
            for warning in resolved.warnings:
                log.warning(warning)
            tls = make_tls(settings, log.warning)
            if settings.pid:
                end.callback(PidFile(settings.pid).close)
            handed_over = take_handed_over(os.environ, os.getpid())
            # What is not chosen is not wanted beside them.
            binds = () if handed_over and resolved.sources["bind"] == DEFAULT else settings.bind
            listeners = tuple(bind_all(binds, unix_mode(settings), handed_over))
        except (BindError, ConfigError, TlsError) as error:
            log.critical(str(error))
            log.drain(LOG_DRAIN)
            return int(ExitCode.BIND if isinstance(error, BindError) else ExitCode.CONFIG)
        set_title(title(settings, "master"))
        log.info(banner.booting(settings, listeners, os.getpid()))
        share_modules(settings)
        generations = Generations(resolved, reread, logs, tls)
        master = Master(resolved, generations, timeouts or events.RosterTimeouts(), signals, listeners, logs)
        try:
            return master.run()
        finally:
            master.close()
            log.drain(LOG_DRAIN)


class Master:
    """The loop and what it holds."""

    def __init__(
        self,
        resolved: Resolved,
        generations: Generations,
        timeouts: events.RosterTimeouts,
        signals: SignalQueue,
        listeners: tuple[Listener, ...],
        logs: Logs,
    ) -> None:
        self._sources = resolved.sources
        self._logs = logs
        self._log = logs.log
        self._listeners = listeners
        self._listening = False
        self._signals = signals
        self._terminal = Terminal()
        self._generations = generations
        self._handles = WorkerHandles(os.getpid(), listeners, logs)
        self._roster = Roster(plan_of(resolved.settings), time.monotonic(), timeouts, jitter)
        self._births: deque[events.Spawn] = deque()
        self._poller = make_poller()
        self._handlers: dict[int, Callable[[], object]] = {}  # of each descriptor, when it is readable
        self._watch(signals.fileno(), self._take_signals)
        self._stalls = StallWatch(time.monotonic_ns())
        self._notifier = Notifier(os.environ)
        self._watcher: Watcher | None = None  # with --reload
        self._final_record: postmortem.Record | None = None
        self._halt: events.Halt | None = None

    def run(self) -> int:
        """Turn until the roster says Halt; gives the exit code."""
        if self._generations.current.reload:
            self._watch_files()
        self._carry_out(self._roster.tick(time.monotonic()))
        while self._halt is None:
            self._turn()
        code = self._log_end(self._halt)
        if code in (ExitCode.APP_START, ExitCode.APP_IMPORT) and self._await_change():
            restart()
        return code

    def close(self) -> None:
        """Give back what would outlive the server in a program that goes on: listeners, and the watcher."""
        self.close_listeners()
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None

    def close_listeners(self) -> None:
        """Close our copies and remove the files of unix sockets; once: later they may be another server's."""
        listeners, self._listeners = self._listeners, ()
        for listener in listeners:
            listener.close(unlink=True)

    def _turn(self) -> None:
        wait = self._next_wait()
        ready = self._poller.wait(wait)
        lost = self._stalls.turned(time.monotonic_ns(), int(wait * 1e9))
        if lost:
            self._log.warning(f"the master was paused for {lost / 1e9:.1f} s: not counted against --timeout")
        for fd, _ in ready:
            self._handlers.get(fd, list)()
        self._reap()
        now = time.monotonic()
        self._look_for_stalls(now)
        self._look_at_boots(now)
        if self._terminal.look(now):
            self._on_closed_terminal(now)
        self._carry_out(self._roster.tick(now))
        self._fork_one()
        self._notify_supervisor()
        self._log.flush()

    def _notify_supervisor(self) -> None:
        """Send systemd what the server does. It is ready when a worker is, and connections are accepted."""
        roster = self._roster
        if roster.is_stopping:
            self._notifier.send(ServiceState.STOPPING, "stopping")
        elif self._listening and roster.roll is not Roll.IDLE:
            self._notifier.send(ServiceState.RELOADING, "reloading")
        elif self._listening:
            workers = self._generations.current.workers
            status = f"serving, generation {roster.generation}, {workers} worker{'' if workers == 1 else 's'}"
            self._notifier.send(ServiceState.READY, status)

    def _next_wait(self) -> float:
        if self._births:
            return 0.0
        now = time.monotonic()
        looks = (handle.looks[0].at for handle in self._in(Life.BOOTING) if handle.looks)
        stalls = ((stalled, handle.settings.timeout) for handle, stalled in self._progress())
        wait = min(self._roster.next_deadline() - now, min(looks, default=math.inf) - now, next_look(stalls))
        return max(0.0, min(wait, LONGEST_WAIT))

    def _in(self, *states: Life) -> list[WorkerHandle]:
        return [handle for handle in self._handles if handle.worker.state in states]

    def _progress(self) -> list[tuple[WorkerHandle, int]]:
        """The workers that have to make progress, with how long each has made none; nanoseconds."""
        now = time.monotonic_ns()
        return [(one, one.stalled_for(self._stalls, now)) for one in self._in(Life.READY, Life.DRAINING)]

    def _watch(self, fd: int, handler: Callable[[], object]) -> None:
        self._handlers[fd] = handler
        self._poller.add(fd)

    def _unwatch(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._poller.remove(fd)

    def _listen_to(self, handle: WorkerHandle) -> None:
        for message in handle.channel.receive():
            self._take_message(handle, message, time.monotonic())
        if handle.channel.closed:
            # Its end stays readable for ever; the death is known from the process, not from the channel.
            self._unwatch(handle.channel.fileno())

    def _reap(self) -> None:
        for pid, how in reap():
            handle = self._handles.get(pid)
            if handle is None:
                self._log.debug(f"reaped a process that is not a worker (pid {pid}, {how})")
            else:
                self._listen_to(handle)  # what it sent before it died comes before its death
                self._on_exit(handle, how, time.monotonic())

    def _watch_files(self) -> None:
        self._log.flush()  # what is owed to the log must not be written by the child as well
        self._watcher = Watcher(self._generations.current)
        self._watch(self._watcher.fileno(), self._on_changed)
        self._log.info(f"watching {', '.join(self._watcher.folders)} for changes (--reload)")

    def _on_changed(self) -> None:
        if self._watcher is None:
            return
        path = self._watcher.take()
        if path:
            self._log.info(f"{path} has changed: reload")
            self._carry_out(self._roster.reload(time.monotonic()))
            return
        self._unwatch(self._watcher.fileno())
        self._watcher.close()
        self._watcher = None
        self._log.warning("changes are not detected any more: the watcher has ended (--reload)")

    def _await_change(self) -> bool:
        """With --reload, wait after a first boot that failed: for a change (True), or a signal."""
        if self._watcher is None:
            return False
        self._log.info("waiting for a change (--reload)")
        self._log.drain(LOG_DRAIN)
        while True:
            for fd, _ in self._poller.wait(LONGEST_WAIT):
                if fd == self._watcher.fileno():
                    return bool(self._watcher.take())
            if any(number in STOPPING for number in self._signals.take()):
                return False

    # ── what happened → the roster ──

    def _take_signals(self) -> None:
        for number in self._signals.take():
            self._take_signal(number, time.monotonic())

    def _take_message(self, handle: WorkerHandle, message: channel.ChannelMessage, now: float) -> None:
        match message:
            case channel.Ready() as ready:
                self._on_ready(handle, ready, now)
            case channel.Failed() as failed:
                handle.failed = failed
            case channel.Retiring():
                self._on_retiring(handle, now)
            case _:
                pass  # a message for workers, from a worker: not ours to understand

    def _take_signal(self, number: signal.Signals, now: float) -> None:
        match number:
            case signal.SIGTERM | signal.SIGINT | signal.SIGQUIT:
                self._log.info(f"{number.name} received")
                self._carry_out(self._roster.stop(now, graceful=number is signal.SIGTERM))
            case signal.SIGHUP:
                self._take_hup(now)
            case signal.SIGUSR1:
                opened = self._reopen_logs()
                what = f"reopened {', '.join(opened)}" if opened else "no log file to reopen"
                self._log.info(f"SIGUSR1 received: {what}")
            case signal.SIGCHLD:
                pass  # a hint that came with this turn, which reaps anyway
            case signal.SIGWINCH:
                self._log.debug("SIGWINCH ignored: not supported")
            case _:
                self._log.info(f"{number.name} ignored: not supported")

    def _take_hup(self, now: float) -> None:
        if self._terminal.on_hup(now):
            self._on_closed_terminal(now)
            return
        self._log.info("SIGHUP received: reload")
        self._reopen_logs()
        self._carry_out(self._roster.reload(now))

    def _on_closed_terminal(self, now: float) -> None:
        if self._signals.hup_was_ignored:
            self._log.info("SIGHUP ignored: the terminal was closed, and SIGHUP was ignored at start (nohup)")
        elif not self._roster.is_stopping:
            self._log.info("the terminal was closed")
            self._carry_out(self._roster.stop(now, graceful=True))

    def _reopen_logs(self) -> list[str]:
        """Open the log files anew, also those of workers; gives their paths."""
        opened = self._logs.reopen()
        if opened:
            self._send_logs()
        return opened

    def _send_logs(self, *, moved: bool = False) -> None:
        for handle in self._handles:
            message, files = self._logs.files_for(handle.settings.access_logfile, moved=moved)
            handle.channel.send(message, files)

    def _on_ready(self, handle: WorkerHandle, ready: channel.Ready, now: float) -> None:
        if handle.worker_class:
            return
        handle.worker_class = ready.worker_class
        decisions = self._roster.ready(handle.pid, now)
        if handle.worker.state is not Life.READY:
            self._carry_out(decisions)
            return
        first = not self._listening
        if first and not self._begin_to_listen(now):
            return
        # Before the decisions: they may retire those that serve now.
        handle.channel.send(channel.Listening())
        self._carry_out(decisions)
        if first:
            current = self._generations.current
            for line in banner.serving(current, self._sources, self._listeners, ready, os.getpid()):
                self._log.info(line)

    def _begin_to_listen(self, now: float) -> bool:
        """Accept connections from now on: a worker is there to serve them."""
        try:
            for listener in self._listeners:
                listener.listen(self._generations.current.backlog)
        except BindError as error:
            self._carry_out(self._roster.fail(int(ExitCode.BIND), str(error), now))
            return False
        self._listening = True
        return True

    def _on_exit(self, handle: WorkerHandle, how: events.Exit, now: float) -> None:
        stopping = self._roster.is_stopping
        record = postmortem.death(handle, how, now)
        drained = handle.row.state in (WorkerState.DRAINING, WorkerState.STOPPING)
        orderly = drained and how.code == ExitCode.CLEAN
        how = how.replace(served=postmortem.has_served(handle), orderly=orderly)
        decisions = self._roster.exited(handle.pid, how, now)
        if not stopping and self._roster.is_stopping:
            # The end of the server: the reason is the last thing to be read, with the exit code once.
            self._final_record = record.replace(text=record.text.removesuffix(f" ({how})"))
        elif not stopping or handle.worker.was_ready:
            record.write(self._log)
        self._record_lost_request(handle, now)
        self._unwatch(handle.channel.fileno())
        self._unwatch(handle.child.pidfd)
        self._handles.release(handle)
        self._close_unused_logs()
        self._notify_siblings(handle)
        self._carry_out(decisions)

    def _on_retiring(self, handle: WorkerHandle, now: float) -> None:
        self._notify_siblings(handle)
        self._carry_out(self._roster.retiring(handle.pid, now))

    def _notify_siblings(self, handle: WorkerHandle) -> None:
        """A worker has gone from the listeners, and may have been woken for a connection."""
        for other in self._handles:
            if handle.worker.was_ready and other.worker.was_ready and other is not handle:
                other.channel.send(channel.SiblingDied())

    def _record_lost_request(self, handle: WorkerHandle, now: float) -> None:
        """Every request has its line in the access log, also the one that its worker died over."""
        lost = postmortem.lost_request(handle, now)
        access = self._logs.access(handle.settings.access_logfile)
        if lost is not None and access is not None:
            line, seconds = lost
            access.record("", line, 500, 0, seconds, "", "")
            access.flush()

    def _close_unused_logs(self) -> None:
        paths = {handle.settings.access_logfile for handle in self._handles}
        self._logs.keep(paths | self._generations.access_paths())

    def _look_for_stalls(self, now: float) -> None:
        for handle, stalled in self._progress():
            timeout = handle.settings.timeout
            if is_stalled(stalled, timeout):
                # How long the request has been running stands behind it: that is not what --timeout limits.
                why = f"no progress for {stalled / 1e9:.1f} s (--timeout {timeout:g})"
                self._carry_out(self._roster.stalled(handle.pid, why, now))

    def _look_at_boots(self, now: float) -> None:
        """Log where a worker is that takes long to be ready."""
        for handle in self._in(Life.BOOTING):
            while handle.looks and now >= handle.looks[0].at:
                if handle.looks.pop(0).reads:
                    postmortem.slow_boot(handle, now).write(self._log)
                    blackbox.clear(handle.box)  # a later record must not show these
                else:
                    self._request_stacks(handle)

    # ── the roster's decisions → deeds ──

    def _carry_out(self, decisions: list[events.Decision]) -> None:
        if self._roster.is_stopping:
            # Before the orders to the workers: the last that closes its own copies, because it has found the
            # queue empty, ends the sockets. What came in after that would be reset.
            for listener in self._listeners:
                listener.refuse_new()
            self.close_listeners()
        for decision in decisions:
            self._do(decision)

    def _do(self, decision: events.Decision) -> None:
        match decision:
            case events.Spawn():
                self._births.append(decision)
            case events.Order() | events.Interrupt() | events.Dump() | events.Kill():
                handle = self._handles.get(decision.pid)
                if handle is not None:
                    self._press(handle, decision)
            case events.Reread():
                self._carry_out(self._roster.settings_read(self._generations.read(), time.monotonic()))
            case events.Commit():
                if self._generations.commit():
                    self._send_logs(moved=True)
            case events.Abandon():
                self._generations.abandon()
                self._close_unused_logs()
            case events.Note(level, text):
                self._log.record(level, text)
            case events.Halt():
                self._halt = decision

    def _press(self, handle: WorkerHandle, decision: events.Decision) -> None:
        """Make a worker leave, by an order or by a signal."""
        match decision:
            case events.Order(_, order):
                if not handle.channel.send(order):
                    handle.child.signal(signal.SIGTERM)
            case events.Interrupt():
                handle.child.signal(signal.SIGTERM)
            case events.Dump():
                self._request_stacks(handle)
            case events.Kill(_, why):
                postmortem.killing(handle, why, time.monotonic()).write(self._log)
                handle.child.signal(signal.SIGKILL)

    def _request_stacks(self, handle: WorkerHandle) -> None:
        blackbox.clear(handle.box)  # of those that were not read
        handle.child.signal(DUMP_SIGNAL)

    def _fork_one(self) -> None:
        if not self._births:
            return
        wanted = self._births.popleft()
        now = time.monotonic()
        worker = self._roster.wanted(wanted.ticket)
        if worker is None:
            self._carry_out(self._roster.withdrawn(wanted.ticket, now))
            return
        generation = self._generations.get(wanted.generation, self._roster.generation)
        # What this process still owes to the log must not be written by its children as well.
        self._log.flush()
        try:
            handle = self._handles.spawn(worker, generation)
        except OSError as error:
            self._carry_out(self._roster.fork_failed(wanted.ticket, error.strerror or str(error), now))
            return
        self._watch(handle.channel.fileno(), partial(self._listen_to, handle))
        if handle.child.pidfd >= 0:
            self._watch(handle.child.pidfd, list)  # it only wakes the loop, which reaps in each turn
        self._carry_out(self._roster.spawned(wanted.ticket, handle.pid, time.monotonic()))

    def _log_end(self, halt: events.Halt) -> int:
        record = self._final_record
        if halt.code == ExitCode.CLEAN:
            self._log.info("stopped")
        elif record is None:
            self._log.critical(f"exit {halt.code}: {halt.reason}")
        else:
            before = f"{halt.reason}; the last one: " if halt.code == ExitCode.GAVE_UP else ""
            text = f"exit {halt.code}: {before}{record.text}"
            record.replace(level=Level.CRITICAL, text=text).write(self._log)
        return int(halt.code)
