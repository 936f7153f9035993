import os
import threading

import pytest

from appserve.errors import Cause, Rejected
from appserve.http.fields import Oddities
from appserve.observe.log import Level, Log
from appserve.observe.refusals import INTERVAL, Refusals
from appserve.observe.scoreboard import Scoreboard, ScoreboardRow, size_for


class Scene:
    """Refusals with a clock that the test sets."""

    def __init__(self) -> None:
        self._fd = os.memfd_create("log")
        self.log = Log(self._fd, Level.INFO)
        self.row: ScoreboardRow = Scoreboard(bytearray(size_for(1)), 1).row(0)
        self.now = 1000.0
        self.refusals = Refusals(self.log, self.row, clock=lambda: self.now)

    def add(self, times: int = 1) -> None:
        for _ in range(times):
            self.refusals.add("192.0.2.1", "no such thing (RFC 1)")

    def lines(self) -> list[str]:
        """What was logged, without time and pid."""
        return [line.partition("] ")[2] for line in os.pread(self._fd, 1 << 20, 0).decode().splitlines()]

    @property
    def count(self) -> int:
        return self.row.totals().refused


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_refusal_is_logged_with_its_peer_and_its_reason(scene: Scene):
    scene.add()

    assert scene.lines() == ["WARNING  refused a connection from 192.0.2.1: no such thing (RFC 1)"]
    assert scene.count == 1


def test_the_peer_of_a_unix_socket_has_a_name_too(scene: Scene):
    scene.refusals.add("", "reason")

    assert scene.lines() == ["WARNING  refused a connection from a local client: reason"]


def test_however_many_there_are_the_log_gets_one_line_a_minute_and_all_are_counted(scene: Scene):
    for _ in range(3):
        scene.add(500)
        scene.now += INTERVAL
    scene.add()

    first, *others = scene.lines()
    assert "more" not in first
    assert [line.rpartition("; ")[2] for line in others] == [
        "499 more for the same cause since the last such line"
    ] * 3
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


# ── requests ──


def test_a_refused_request_is_info_with_its_peer_status_and_reason(scene: Scene):
    scene.refusals.add_request("192.0.2.1", Rejected(400, "malformed Host (RFC 9112 §3.2)", Cause.HOST))

    assert scene.lines() == ["INFO     refused a request from 192.0.2.1: 400 malformed Host (RFC 9112 §3.2)"]
    assert scene.row.totals().refusals[Cause.HOST] == 1
    assert scene.count == 0


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (400, Cause.SYNTAX),
        (408, Cause.TIMEOUT),
        (413, Cause.BODY_SIZE),
        (414, Cause.LINE_SIZE),
        (417, Cause.EXPECTATION),
        (431, Cause.FIELDS_SIZE),
        (503, Cause.UNAVAILABLE),
        (505, Cause.VERSION),
    ],
)
def test_the_cause_follows_from_the_status(status: int, cause: Cause):
    assert Rejected(status, "").cause is cause


def test_each_cause_has_its_own_minute(scene: Scene):
    for _ in range(2):
        for status in (400, 413):
            for _ in range(100):
                scene.refusals.add_request("", Rejected(status, "reason"))
        scene.now += INTERVAL

    held_back = "; 99 more for the same cause since the last such line"
    line = "INFO     refused a request from a local client: {} reason{}"
    assert scene.lines() == [line.format(s, more) for more in ("", held_back) for s in (400, 413)]
    assert (scene.row.totals().refusals[Cause.SYNTAX], scene.row.totals().refusals[Cause.BODY_SIZE]) == (
        200,
        200,
    )


def test_at_level_debug_none_is_held_back(scene: Scene):
    scene.log.level = Level.DEBUG
    scene.add(3)

    assert [line.split()[0] for line in scene.lines()] == ["WARNING", "DEBUG", "DEBUG"]


# ── what is left out ──


def test_a_dropped_field_is_logged_by_its_name_and_not_more_than_once_a_minute(scene: Scene):
    oddities = Oddities()
    scene.refusals.report(oddities)
    for name in (b"X_First", b"X_Second"):
        oddities.dropped_field = name
        scene.refusals.report(oddities)
    assert [line.partition(":")[0] for line in scene.lines()] == [
        "INFO     dropped the request field X_First"
    ]

    scene.now += INTERVAL
    for _ in range(2):
        scene.refusals.report(oddities)
    assert [line.partition(":")[0] for line in scene.lines()[1:]] == [
        "INFO     dropped the request field X_Second"
    ]


def test_an_oddity_is_logged_once(scene: Scene):
    oddities = Oddities(own_transfer_encoding=True, websocket_offered=True)
    for _ in range(2):
        scene.refusals.report(oddities)

    assert [line.partition(":")[0] for line in scene.lines()] == [
        "WARNING  ignored Transfer-Encoding of the application",
        "WARNING  ignored a WebSocket handshake",
    ]
