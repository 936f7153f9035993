"""The asgi worker: one event loop that accepts, serves and leaves in good order.

uvloop where it can be imported, asyncio's own loop otherwise or with `--loop asyncio`; both behave the same.
These two are imported here and in asgi/, which only this module imports: a sync worker has neither in memory.

The life of a worker:

    lifespan startup → Ready → Listening → serve → drain → lifespan shutdown → exit code

Nothing has a timer of its own. A tick of the loop, four times a second, shows the master that the loop turns,
renews the Date field and writes the counts into the scoreboard; each fourth looks at every connection's
deadline.

The time to leave is divided from its end: lifespan shutdown needs some of it, before that what still runs is
cancelled, and before that the responses that are streaming are told (http.disconnect). They are told late on
purpose: a framework takes it for the client's leaving and drops the request.
"""

import asyncio
import gc
import math
import os
import selectors
import sys
import time
from collections.abc import Callable
from threading import current_thread, main_thread

from appserve import forked
from appserve.asgi.lifespan import Lifespan
from appserve.asgi.preamble_transport import ConnectionFactory
from appserve.asgi.registry import Registry, Room
from appserve.asgi.scope import AsgiFields
from appserve.errors import ExitCode
from appserve.observe.counters import Counters, publish
from appserve.observe.log import Level
from appserve.observe.scoreboard import WorkerState
from appserve.workers.application import Application
from appserve.workers.context import WorkerContext, make_service
from appserve.workers.loop_acceptor import LoopAcceptor, make_fair_epoll
from appserve.workers.master_link import MasterLink, Phase

TICK = 0.25
TICKS_PER_SWEEP = 4

TELL_STREAMS = 5.0
"""How long before the end of the time to leave streams are told that it comes."""

SHUTDOWN_SHARE = 0.2
SHUTDOWN_MOST = 2.0
"""What of the time to leave is kept for cancelled calls to end and for the lifespan's shutdown, which has
more when the requests end early."""

CANCEL_SECONDS = 1.0
"""How long cancelled calls may take to end."""


def serve(application: Application, context: WorkerContext, made: "EventLoop | None" = None) -> int:
    """Serve until told to leave; gives the exit code. Raises AppStartError if the lifespan cannot start.

    `made` has the loop that the application's modules have seen.
    """
    link = MasterLink(context)
    loop, backend_fd = (made or EventLoop(context.settings.loop)).for_serving()
    try:
        return loop.run_until_complete(_Worker(application, context, link, loop, backend_fd).run())
    finally:
        # The loop is not closed: that would wait for threads of the application which may never end.
        link.close()


def make_loop(name: str) -> tuple[asyncio.AbstractEventLoop, int]:
    """A new event loop (`name`: auto, uvloop, asyncio), and the descriptor of its epoll or -1."""
    if name != "asyncio":
        try:
            import uvloop
        except ImportError:
            if name == "uvloop":
                raise
        else:
            loop = uvloop.new_event_loop()
            # Private, and named for tests: without it accepting is not fair, and all else works.
            backend = getattr(loop, "_get_backend_id", None)
            return loop, backend() if backend is not None else -1
    selector = selectors.DefaultSelector()
    backend_fd = selector.fileno() if isinstance(selector, selectors.EpollSelector) else -1
    return asyncio.SelectorEventLoop(selector), backend_fd


class EventLoop:
    """The loop that is going to serve, for modules that ask for the current one when they are imported.

    Locks, queues, clients and tasks that a module makes with asyncio.get_event_loop() are of use only on the
    loop that serves. It is made when the first module asks, else when it has to serve: a worker whose
    application turns out to be WSGI has none, and not the descriptors that libuv keeps for life.
    """

    def __init__(self, name: str) -> None:
        """`name`: auto, uvloop, asyncio."""
        self._name = name
        self._made: tuple[asyncio.AbstractEventLoop, int] | None = None
        if sys.version_info < (3, 14):
            self._policy = _OnDemand(self._make)
            asyncio.set_event_loop_policy(self._policy)
        else:  # without policies get_event_loop() gives the current loop, or an error
            asyncio.set_event_loop(self._make())

    def for_serving(self) -> tuple[asyncio.AbstractEventLoop, int]:
        """The loop, made the current one, and its epoll's descriptor (-1: none)."""
        self.withdraw()
        made = self._made
        if made is None or made[0].is_closed():  # some modules run the loop and close it
            made = make_loop(self._name)
        asyncio.set_event_loop(made[0])
        return made

    def withdraw(self) -> None:
        """Leave asyncio as it would be without us, with what the application's modules have made of it."""
        if sys.version_info < (3, 14) and asyncio.get_event_loop_policy() is self._policy:
            asyncio.set_event_loop_policy(None)
            if self._policy.is_set:
                asyncio.set_event_loop(self._policy.current)

    def _make(self) -> asyncio.AbstractEventLoop:
        self._made = make_loop(self._name)
        return self._made[0]


if sys.version_info < (3, 14):

    class _OnDemand(asyncio.DefaultEventLoopPolicy):
        """As usual, but the loop that the main thread gets without having set one is made by `make`."""

        def __init__(self, make: Callable[[], asyncio.AbstractEventLoop]) -> None:
            super().__init__()
            self._make = make
            self.is_set = False
            self.current: asyncio.AbstractEventLoop | None = None

        def get_event_loop(self) -> asyncio.AbstractEventLoop:
            if not self.is_set and current_thread() is main_thread():
                self.set_event_loop(self._make())
            return super().get_event_loop()

        def set_event_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
            if current_thread() is main_thread():
                self.is_set, self.current = True, loop
            super().set_event_loop(loop)


class _Worker:
    """The loop's side of one worker process."""

    def __init__(
        self,
        application: Application,
        context: WorkerContext,
        link: MasterLink,
        loop: asyncio.AbstractEventLoop,
        backend_fd: int,
    ) -> None:
        settings = context.settings
        self._application = application
        self._context = context
        self._link = link
        self._loop = loop
        self._backend_fd = backend_fd
        self._counters = Counters(context.row)
        self._service = make_service(context, application.call, AsgiFields(), self._counters)
        self._registry = Registry(self._service, loop, context.row)
        self._registry.keep_alive = settings.keep_alive > 0
        self._registry.most_exchanges = settings.limit_concurrency
        self._room = Room(
            self._registry, settings.worker_connections, f"worker {context.slot} (pid {os.getpid()})"
        )
        self._acceptor = LoopAcceptor(
            loop,
            context.listeners,
            ConnectionFactory(self._registry).admit,
            self._room_left,
            self._room.make,
            context.log,
            has_siblings=settings.workers > 1,
        )
        self._stage = Phase.SERVING  # as far as the loop has followed its orders
        self._ticks = 0
        self._news = asyncio.Event()  # an order of the master has come, or a connection has ended

    async def run(self) -> int:
        context = self._context
        # It is the same in each worker, and the first one of each generation has this slot.
        absent = Level.INFO if context.slot == 1 else Level.DEBUG
        lifespan = Lifespan(self._application.call, context.settings.lifespan, context.log, absent)
        if await self._prepare(lifespan):
            await self._serve()
            await self._leave()
            await self._shut_down(lifespan)
        return ExitCode.CLEAN

    # ── prepare and serve ──

    async def _prepare(self, lifespan: Lifespan) -> bool:
        """Do everything that has to be done before the worker is ready; False if it was told to leave."""
        self._loop.add_reader(self._link.channel_fd, self._on_channel)
        self._loop.add_reader(self._link.wakeup_fd, self._on_wakeup)
        if not await self._start(lifespan):
            return False
        self._registry.state = lifespan.state
        self._acceptor.epoll = await make_fair_epoll(self._loop, self._backend_fd)
        if self._acceptor.epoll is None:
            self._context.log.debug(
                "connections are not shared evenly: this loop's epoll cannot be used for that"
            )
        os.register_at_fork(after_in_child=self._registry.disown)
        gc.collect()
        gc.freeze()  # what import and startup made stays: the collector need not look at it again
        self._tick()
        self._link.announce_ready(self._application)
        return True

    async def _start(self, lifespan: Lifespan) -> bool:
        """Run the lifespan's startup; False if the worker was told to leave before it was done."""
        startup = self._loop.create_task(lifespan.startup())
        while not startup.done() and not self._link.leaving:
            heard = self._loop.create_task(self._hear())
            await asyncio.wait([startup, heard], return_when=asyncio.FIRST_COMPLETED)
            heard.cancel()
        if startup.done():
            await startup
            return True
        startup.cancel()
        await asyncio.wait([startup])
        return False

    async def _serve(self) -> None:
        link = self._link
        while not (link.listening or link.leaving):
            await self._hear()
        if link.listening:
            await self._acceptor.open()
        while not link.leaving:
            await self._hear()

    def _room_left(self) -> int:
        """How many more connections may be held. Without room it is watched for."""
        left = self._room.left()
        if left <= 0 and self._registry.departed is None:
            self._registry.departed = self._on_departure
        return left

    def _on_departure(self) -> None:
        """Something has ended since there was no room: accept again."""
        if not self._acceptor.watching and self._room.left() > 0:
            self._registry.departed = None
            self._acceptor.rearm()

    # ── news ──

    async def _hear(self) -> None:
        """Until there is news."""
        await self._news.wait()
        self._news.clear()

    def _on_channel(self) -> None:
        link = self._link
        link.on_channel()
        if not link.channel_open:
            self._loop.remove_reader(link.channel_fd)
        if link.take_sibling_death():
            self._acceptor.rearm()
        self._news.set()

    def _on_wakeup(self) -> None:
        self._link.on_wakeup()
        self._news.set()

    def _tick(self) -> None:
        if self._registry.forked:
            forked.leave(None)  # it went on into the event loop, which is the worker's
        self._loop.call_later(TICK, self._tick)
        self._service.date_fields.renew(time.time())
        self._publish()
        registry = self._registry
        registry.clock.look(time.monotonic())
        self._ticks += 1
        self._acceptor.relieve()
        if self._service.access is not None:
            self._service.access.flush()  # what a slow reader did not take
        if self._ticks % TICKS_PER_SWEEP == 0:
            registry.sweep()
            self._acceptor.rearm()
            self._link.tick()
            self._service.refusals.report(self._service.fields.oddities)
            self._context.log.flush()
            if self._link.leaving:
                self._news.set()

    def _publish(self) -> None:
        """Show the counts on the scoreboard, and that the loop turns."""
        registry = self._registry
        self._counters.accepted = self._acceptor.accepted
        publish(
            self._context.row,
            (self._counters,),
            time.monotonic_ns(),
            len(registry.connections),
            len(registry.exchanges),
        )

    # ── leave ──

    async def _leave(self) -> None:
        """Finish what is there, as long as the link allows. It is serving with another accept rule."""
        registry = self._registry
        link = self._link
        registry.keep_alive = False
        registry.departed = self._on_departure_while_leaving
        for connection in registry.connections:
            connection.close_after_response()
        deadline = cut_at = math.inf
        while True:
            self._follow()
            now = time.monotonic()
            if link.deadline < deadline:  # a later order may leave less time
                deadline = link.deadline
                cut_at = deadline - min(SHUTDOWN_MOST, SHUTDOWN_SHARE * (deadline - now))
            quickly = link.stage is Phase.QUITTING
            tell_at = now if quickly else cut_at - TELL_STREAMS
            self._ask_to_leave(now >= link.linger_until, now >= tell_at, quickly)
            if now >= cut_at or not self._has_work():
                break
            ahead = [moment for moment in (link.linger_until, tell_at, cut_at) if moment > now]
            await self._hear_until(min([*ahead, now + TICK]))
        self._acceptor.close()
        await self._cut()

    def _follow(self) -> None:
        """Accept as the way of leaving asks for, and close the listeners when they are of no more use."""
        stage = self._link.stage
        acceptor = self._acceptor
        if not self._link.needs_listeners:
            acceptor.close()
        elif stage is Phase.STOPPING:
            if self._stage is Phase.RETIRING:
                acceptor.resume()
            acceptor.close_if_empty()
        if stage is Phase.RETIRING and self._stage is not stage:
            acceptor.withhold()
            self._link.announce_retiring()
        self._stage = stage

    def _on_departure_while_leaving(self) -> None:
        self._news.set()
        if not self._acceptor.watching:
            self._acceptor.relieve()

    def _ask_to_leave(self, close_idle: bool, tell_streams: bool, quickly: bool) -> None:
        for connection in tuple(self._registry.connections):
            if close_idle and (quickly or not connection.is_fresh):
                connection.close_if_idle()
            if tell_streams:
                connection.send_disconnect()
            if quickly:
                connection.end_lingering()

    def _has_work(self) -> bool:
        registry = self._registry
        acceptor = self._acceptor
        if registry.connections or registry.exchanges or acceptor.arriving:
            return True
        # By a SIGTERM alone it does not leave at once: it may have gone to all, and an order follow.
        may_come = self._stage is Phase.STOPPING or time.monotonic() < self._link.linger_until
        return may_come and not acceptor.is_closed

    async def _hear_until(self, moment: float) -> None:
        try:
            await asyncio.wait_for(self._hear(), max(0.0, moment - time.monotonic()))
        except TimeoutError:
            pass

    async def _cut(self) -> None:
        """Cancel what still runs, and close what is still open."""
        registry = self._registry
        registry.cutting = True  # from now on requests are answered 503
        if registry.connections:
            await self._read_what_has_come()
        tasks = list(registry.exchanges.values())
        # An application may go on after its connection has ended.
        self._link.log_cut(max(len(registry.connections), len(tasks)))
        if tasks:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=min(CANCEL_SECONDS, self._left() / 2))
        for connection in tuple(registry.connections):
            connection.abort()

    async def _read_what_has_come(self) -> None:
        """Let the loop look at all sockets once: a turn begins with those that a wait has found ready."""
        for _ in range(3):
            await asyncio.sleep(0)

    async def _shut_down(self, lifespan: Lifespan) -> None:
        """All connections are closed: shut the application down, and cancel the tasks that it has left."""
        self._context.row.enter(WorkerState.STOPPING, time.monotonic_ns())
        await lifespan.shutdown(max(0.1, self._link.deadline - time.monotonic()))
        leftovers = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in leftovers:
            task.cancel()
        if leftovers:
            await asyncio.wait(leftovers, timeout=min(CANCEL_SECONDS, self._left()))
        try:
            await asyncio.wait_for(self._loop.shutdown_asyncgens(), min(CANCEL_SECONDS, self._left()))
        except TimeoutError:
            pass
        self._context.drain_logs()
        self._publish()

    def _left(self) -> float:
        """Seconds of the time to leave, and a little when it is over."""
        return max(0.1, self._link.deadline - time.monotonic())
