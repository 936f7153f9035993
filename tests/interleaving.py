"""Threads that take turns where a seed says, between any two byte codes: a race that is there is found, and
found again.

    schedule = Schedule(seed, [pool])           # the modules in which threads may be switched
    schedule.add(worker, desk)                  # as many as it takes
    schedule.run()

One of them runs at a time. What waits for another (a lock, a queue) has to be of the kinds below, which let
the schedule go on. A schedule in which no thread can go on is a deadlock, and fails.
"""

import random
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import FrameType, ModuleType, TracebackType
from typing import Any

TIMEOUT = 30.0
"""Seconds that only a failure waits."""

STEP = "line" if sys.version_info[:2] == (3, 12) else "opcode"
"""Between which events threads may be switched. Python 3.12 ends with a segmentation fault when several
threads are traced by byte code (seen with 3.12.1): there it is lines, and fewer races are found."""


class Deadlock(Exception):
    """All threads wait."""


class _Actor:
    def __init__(self, function: Callable[..., object], arguments: tuple[Any, ...], weight: float) -> None:
        self.function = function
        self.weight = weight
        self.arguments = arguments
        self.turn = threading.Semaphore(0)
        self.waits_for: Callable[[], object] | None = None
        self.is_over = False


class Schedule:
    """One order of events.

    pressure   the chance of a switch at a byte code
    delicate   functions; in one of them, another one for each seed, the chance is a half
    """

    def __init__(
        self, seed: int, modules: Iterable[ModuleType], pressure: float = 0.2, delicate: Sequence[str] = ("",)
    ) -> None:
        self.random = random.Random(seed)
        self._files = {module.__file__ for module in modules}
        self._pressure = pressure
        self._delicate = self.random.choice(delicate)
        self._actors: list[_Actor] = []
        self._current: _Actor | None = None
        self._failure: BaseException | None = None
        self._over = threading.Event()

    def add(self, function: Callable[..., object], *arguments: Any) -> None:
        """Another thread, which calls `function`. Some are chosen seldom: much happens to others then."""
        self._actors.append(_Actor(function, arguments, self.random.choice((1.0, 1.0, 0.05))))

    def run(self) -> None:
        """Until all have returned. Raises what the first of them raised, or Deadlock."""
        threads = [threading.Thread(target=self._live, args=(actor,), daemon=True) for actor in self._actors]
        for thread in threads:
            thread.start()
        self._pass_on()
        assert self._over.wait(TIMEOUT), "a thread waits for something that the schedule does not know of"
        for actor in self._actors:
            actor.turn.release()  # after a failure they are left where they are, and fail in turn
        for thread in threads:
            thread.join(TIMEOUT)
        if self._failure is not None:
            raise self._failure

    def wait(self, fact: Callable[[], object]) -> None:
        """Let others go on until `fact()` is true."""
        actor = self._current
        if actor is None or self._over.is_set():
            return
        if not fact():
            actor.waits_for = fact
            self._pass_on()
            self._await_turn(actor)
            actor.waits_for = None

    def pause(self, pressure: float = 0.0) -> None:
        """Let another thread go on, perhaps."""
        actor = self._current
        if actor is None or self._over.is_set() or self.random.random() >= (pressure or self._pressure):
            return
        if self._pass_on() is not actor:
            self._await_turn(actor)
        else:
            actor.turn.acquire()

    def is_inside(self, function: Callable[..., object]) -> bool:
        """Whether the thread that runs now was added to call this function."""
        actor = self._current
        return actor is not None and getattr(actor.function, "__func__", actor.function) is function

    def _pass_on(self) -> "_Actor | None":
        able = [one for one in self._actors if not one.is_over and (one.waits_for is None or one.waits_for())]
        if not able:
            if not all(one.is_over for one in self._actors):
                self._fail(Deadlock())
            self._over.set()
            return None
        (chosen,) = self.random.choices(able, [one.weight for one in able])
        self._current = chosen
        chosen.turn.release()
        return chosen

    def _await_turn(self, actor: _Actor) -> None:
        actor.turn.acquire()
        if self._over.is_set():
            raise SystemExit  # a thread has failed

    def _live(self, actor: _Actor) -> None:
        actor.turn.acquire()
        sys.settrace(self._trace)
        try:
            actor.function(*actor.arguments)
        except BaseException as error:
            sys.settrace(None)
            if not self._over.is_set():
                self._fail(error)
        finally:
            sys.settrace(None)
            actor.is_over = True
            if not self._over.is_set():
                self._pass_on()

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self._over.set()

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename not in self._files:
            return None
        frame.f_trace_opcodes = STEP == "opcode"
        return self._trace_step

    def _trace_step(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == STEP:
            self.pause(0.5 if frame.f_code.co_name == self._delicate else 0.0)
        return self._trace_step


class Lock:
    """As threading.RLock, and therefore also as threading.Lock where no thread takes it twice."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._owner: int | None = None
        self._depth = 0

    def acquire(self, blocking: bool = True) -> bool:
        me = threading.get_ident()
        if self._owner not in (None, me):
            if not blocking:
                return False
            self._schedule.wait(lambda: self._owner is None)
        self._owner = me
        self._depth += 1
        return True

    def release(self) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Queue:
    """As queue.SimpleQueue; `waiting` is how many wait for an item."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._items: deque[Any] = deque()
        self.waiting = 0

    def put(self, item: Any) -> None:
        self._items.append(item)

    def get(self) -> Any:
        self.waiting += 1
        self._schedule.wait(lambda: self._items)
        self.waiting -= 1
        return self._items.popleft()
