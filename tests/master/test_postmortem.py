"""What is said of the dead."""

import math
import os
from collections.abc import Iterator

import pytest

from appserve.config.settings import Settings
from appserve.master.events import Exit, RosterTimeouts
from appserve.master.postmortem import Record, death, has_served, killing
from appserve.master.process import Child
from appserve.master.roster import FORCED
from appserve.master.worker_handle import WorkerHandle
from appserve.master.worker_table import Life, Worker
from appserve.observe.log import Level
from appserve.observe.scoreboard import BUSY_SINCE_NS, REQUESTS, ROW_SIZE, ScoreboardRow
from appserve.system import blackbox
from appserve.workers.channel import Failed, make_channel_pair

BORN = 100.0
NOW = 112.0

STACKS = """\
Thread 0x1 (most recent call first):
  File "threading.py", line 1 in wait

Current thread 0x2 (most recent call first):
  File "shop.py", line 7 in checkout
  File "base.py", line 60 in run_worker
  File "process.py", line 90 in _live
  File "master.py", line 200 in _turn
"""


@pytest.fixture
def member() -> Iterator[WorkerHandle]:
    channel, other = make_channel_pair()
    other.close()
    child = Child.__new__(Child)
    child.pid, child.pidfd = 4127, -1
    settings = Settings(application="shop:app", timeout=30.0, graceful_timeout=25.0)
    row = ScoreboardRow(memoryview(bytearray(ROW_SIZE)))
    box = blackbox.make_box("test")
    worker = Worker(1, 3, 2, BORN, RosterTimeouts(), Life.READY, 4127, ready_at=BORN)
    yield WorkerHandle(worker, settings, child, channel, row, box, BORN, 0, [])
    channel.close()
    os.close(box)


def fill_box(member: WorkerHandle) -> None:
    os.pwrite(member.box, STACKS.encode(), 0)


def serve(member: WorkerHandle, request: bytes, seconds: float) -> None:
    member.row.set_request(request)
    member.row.words[BUSY_SINCE_NS] = int((NOW - seconds) * 1e9)


def test_the_report_of_a_stalled_worker_has_limit_request_age_and_stacks(member: WorkerHandle) -> None:
    fill_box(member)
    serve(member, b"GET /checkout", 30.25)

    record = killing(member, "no progress for 30.2 s (--timeout 30)", NOW)

    assert record.text == (
        "worker 3 (pid 4127) killed: no progress for 30.2 s (--timeout 30), "
        "serving GET /checkout for 30.2 s, generation 2, 12.0 s old"
    )
    assert "in checkout" in record.block
    assert record.level is Level.ERROR


def test_stacks_end_where_the_worker_began(member: WorkerHandle) -> None:
    fill_box(member)

    block = killing(member, FORCED, NOW).block

    assert "in wait" in block
    assert "in run_worker" in block
    assert "_turn" not in block


def test_a_kill_says_why(member: WorkerHandle) -> None:
    text = killing(member, FORCED, NOW).text

    assert text.startswith("worker 3 (pid 4127) killed: stopped by force, ")
    assert "memory" not in text


def test_a_kill_of_ours_is_no_news_when_it_has_happened(member: WorkerHandle) -> None:
    member.worker.state, member.worker.ordered = Life.KILLED, True

    assert death(member, Exit(None, 9), NOW) == Record(Level.DEBUG, "worker 3 (pid 4127) ended (SIGKILL)")


def test_a_signal_from_outside_is_reported_by_its_name(member: WorkerHandle) -> None:
    fill_box(member)
    serve(member, b"POST /x", 1.0)

    record = death(member, Exit(None, 11), NOW)

    assert record.text == (
        "worker 3 (pid 4127) died of SIGSEGV, serving POST /x for 1.0 s, generation 2, 12.0 s old"
    )
    assert "in checkout" in record.block


def test_a_signal_without_a_name_is_reported_by_its_number(member: WorkerHandle) -> None:
    assert "died of signal 62" in death(member, Exit(None, 62), NOW).text


def test_the_report_of_a_sigkill_from_outside_names_the_usual_sender(member: WorkerHandle) -> None:
    for member.worker.ordered in (False, True):
        text = death(member, Exit(None, 9), NOW).text
        assert text.startswith("worker 3 (pid 4127) died of SIGKILL, no request yet, ")
        assert "appserve did not send this signal: the usual sender is the kernel" in text


def test_an_event_loop_shows_its_last_request(member: WorkerHandle) -> None:
    member.row.set_request(b"GET /last")

    assert "last request GET /last," in death(member, Exit(None, 9), NOW).text


def test_a_request_that_is_no_text_is_shown_escaped(member: WorkerHandle) -> None:
    serve(member, b"GET /\xff", 1.0)

    assert r"serving GET /\xff for" in death(member, Exit(1), NOW).text


def test_a_failed_start_is_reported_with_the_text_of_the_worker(member: WorkerHandle) -> None:
    member.worker.ready_at = math.inf
    member.failed = Failed(4, 'cannot import "shop"', "Traceback …")

    assert death(member, Exit(4), NOW) == Record(
        Level.ERROR,
        'worker 3 (pid 4127) failed to start: cannot import "shop" (exit code 4)',
        "Traceback …",
    )


def test_a_later_failure_is_reported_with_the_text_of_the_worker(member: WorkerHandle) -> None:
    member.failed = Failed(71, "unexpected KeyError", "Traceback …")

    record = death(member, Exit(71), NOW)

    assert record.level is Level.CRITICAL
    assert "failed: unexpected KeyError (exit code 71)" in record.text
    assert record.block == "Traceback …"


def test_the_exit_of_a_retired_worker_is_one_line(member: WorkerHandle) -> None:
    member.worker.ordered = True
    member.row.words[REQUESTS] = 1

    assert death(member, Exit(0), NOW) == Record(
        Level.INFO, "worker 3 (pid 4127) stopped (exit code 0), generation 2, 12.0 s old, 1 request served"
    )


def test_the_exit_of_a_worker_without_an_order_is_one_line(member: WorkerHandle) -> None:
    record = death(member, Exit(0), NOW)

    assert record.level is Level.INFO
    assert "stopped without an order" in record.text
    assert "0 requests served" in record.text


def test_an_exit_before_ready_is_reported_as_such(member: WorkerHandle) -> None:
    member.worker.ready_at = math.inf

    record = death(member, Exit(0), NOW)

    assert record.level is Level.ERROR
    assert "exited with code 0 before it was ready, no request yet" in record.text


def test_a_request_that_has_begun_counts_as_service(member: WorkerHandle) -> None:
    assert not has_served(member)
    member.row.set_request(b"GET /")
    assert has_served(member)
