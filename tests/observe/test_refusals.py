import os
import threading

import pytest

from appserve.observe.log import Level, Log
from appserve.observe.refusals import INTERVAL, Refusals
from appserve.observe.scoreboard import Row, Scoreboard, size_for


class Scene:
    """Refusals with a clock that the test sets."""

    def __init__(self) -> None:
        self._fd = os.memfd_create("log")
        self.log = Log(self._fd, Level.INFO)
        self.row: Row = Scoreboard.format(bytearray(size_for(1)), 1).row(0)
        self.now = 1000.0
        self.refusals = Refusals(self.log, self.row, clock=lambda: self.now)

    def add(self, times: int = 1) -> None:
        for _ in range(times):
            self.refusals.add("192.0.2.1", "no such thing (RFC 1)")

    def lines(self) -> list[str]:
        """What was told, without time and pid."""
        return [line.partition("] ")[2] for line in os.pread(self._fd, 1 << 20, 0).decode().splitlines()]

    @property
    def count(self) -> int:
        return self.row.totals().refused


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_refusal_is_told_with_its_peer_and_its_reason(scene: Scene):
    scene.add()

    assert scene.lines() == ["WARNING  refused a connection of 192.0.2.1: no such thing (RFC 1)"]
    assert scene.count == 1


def test_the_peer_of_a_unix_socket_has_a_name_too(scene: Scene):
    scene.refusals.add("", "reason")

    assert scene.lines() == ["WARNING  refused a connection of a local client: reason"]


def test_however_many_there_are_the_log_gets_one_line_a_second_and_all_are_counted(scene: Scene):
    for _ in range(3):
        scene.add(500)
        scene.now += INTERVAL
    scene.add()

    first, *others = scene.lines()
    assert "more" not in first
    assert [line.rpartition("; ")[2] for line in others] == ["499 more since the last such line"] * 3
    assert scene.count == 1501


def test_the_next_line_comes_when_the_interval_is_over_and_not_before(scene: Scene):
    scene.add()
    scene.now += INTERVAL - 0.001
    scene.add()
    assert len(scene.lines()) == 1

    scene.now += 0.002
    scene.add()
    assert len(scene.lines()) == 2


def test_threads_lose_none(scene: Scene):
    threads = [threading.Thread(target=scene.add, args=(2000,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert scene.count == 8000
    assert len(scene.lines()) == 1
