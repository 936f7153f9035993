import fcntl
import os
import pty
import re
import signal
import time
from collections.abc import Iterator

import pytest

from appserve.observe import log as log_module
from appserve.observe import writer as writer_module
from appserve.observe.log import Level, Log, escape, wants_colour
from appserve.observe.writer import PIPE_BUF
from tests.interleaving import Lock, Schedule

AT = 1_795_253_160.1234
F_SETPIPE_SZ = getattr(fcntl, "F_SETPIPE_SZ", 1031)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(reader)
    os.close(writer)


Pipe = tuple[int, int]


def read(pipe: Pipe) -> str:
    try:
        return os.read(pipe[0], 65536).decode()
    except BlockingIOError:
        return ""


def test_a_line_is_the_time_the_pid_the_level_and_the_fact(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        log = Log(pipe[1], clock=lambda: AT)
        log.info("worker 3 (pid 4127) ready in 0.41 s, generation 2")
        stamp, rest = read(pipe).split(f" [{os.getpid()}] ")
        assert stamp == "2026-11-21 09:26:00.123"
        assert rest == "INFO     worker 3 (pid 4127) ready in 0.41 s, generation 2\n"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_time_goes_on(pipe: Pipe) -> None:
    now = [AT]
    log = Log(pipe[1], clock=lambda: now[0])
    log.info("one")
    now[0] += 0.5
    log.info("two")
    now[0] += 0.5
    log.info("three")
    stamps = re.findall(r"^\S+ \S+:(\S+) ", read(pipe), re.MULTILINE)
    assert stamps == ["00.123", "00.623", "01.123"]


def test_every_level_names_itself_in_the_same_width(pipe: Pipe) -> None:
    log = Log(pipe[1], Level.DEBUG)
    for write in (log.debug, log.info, log.warning, log.error, log.critical):
        write("|")
    names = re.findall(r"\] (.*)\|", read(pipe))
    assert names == ["DEBUG    ", "INFO     ", "WARNING  ", "ERROR    ", "CRITICAL "]


def test_what_is_below_the_level_is_not_written(pipe: Pipe) -> None:
    log = Log(pipe[1], Level.WARNING)
    log.info("no")
    log.block(Level.INFO, "no", "no")
    assert read(pipe) == ""
    log.level = Level.DEBUG
    log.debug("yes")
    assert "yes" in read(pipe)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain, with 'quotes', \"more\" and C:\\paths", "plain, with 'quotes', \"more\" and C:\\paths"),
        ("grüße 世界 🙂", "grüße 世界 🙂"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\r\nINFO forged", "a\\r\\nINFO forged"),
        ("a\tb", "a\\tb"),
        ("a\0b", "a\\x00b"),
        ("a\x7fb", "a\\x7fb"),
        ("a\x85b\x9b31m", "a\\x85b\\x9b31m"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("a\u2066b\ufeffc\u200fd\u061ce", "a\\u2066b\\ufeffc\\u200fd\\u061ce"),
        ("a\udc80b", "a\\udc80b"),
    ],
)
def test_a_text_cannot_leave_its_line_nor_order_a_terminal(pipe: Pipe, text: str, expected: str) -> None:
    assert escape(text) == expected
    log = Log(pipe[1])
    log.error(text)
    assert read(pipe).endswith(f"ERROR    {expected}\n")


def test_every_control_character_is_escaped() -> None:
    for code in [*range(0x20), *range(0x7F, 0xA0)]:
        escaped = escape(chr(code))
        assert escaped.isprintable()
        assert escaped.startswith("\\")


def test_a_block_is_a_line_and_its_text_indented(pipe: Pipe) -> None:
    log = Log(pipe[1])
    log.block(Level.ERROR, "it failed", 'Traceback:\n  File "x"\n\nValueError: \x1b[31m\n\n')
    head, *body = read(pipe).splitlines()
    assert head.endswith("ERROR    it failed")
    assert body == ["    Traceback:", '      File "x"', "    ", "    ValueError: \\x1b[31m"]


def test_a_block_without_text_is_its_line(pipe: Pipe) -> None:
    Log(pipe[1]).block(Level.ERROR, "it failed", "\n")
    assert read(pipe).endswith("it failed\n")


def test_tabs_of_a_block_are_spaces_and_line_separators_are_escaped(pipe: Pipe) -> None:
    Log(pipe[1]).block(Level.ERROR, "it failed", "\tone\r\n\x0btwo\u2028three")
    assert read(pipe).splitlines()[1:] == ["        one\\r", "    \\x0btwo\\u2028three"]


def test_a_block_that_does_not_fit_in_one_write_bears_the_pid_on_each_line(pipe: Pipe) -> None:
    Log(pipe[1]).block(Level.ERROR, "it failed", "\n".join(f"line {number}" for number in range(600)))
    text = read(pipe)
    assert len(text) > PIPE_BUF
    assert text.splitlines()[1:] == [f"    [{os.getpid()}] line {number}" for number in range(600)]


def test_colours_are_for_the_level_only_and_only_on_request(pipe: Pipe) -> None:
    Log(pipe[1], colour=True).error("it failed")
    assert read(pipe).endswith("] \x1b[31mERROR   \x1b[0m it failed\n")
    Log(pipe[1]).error("it failed")
    assert "\x1b" not in read(pipe)


def test_colours_are_used_on_a_terminal_unless_switched_off(pipe: Pipe) -> None:
    master, slave = pty.openpty()
    try:
        assert wants_colour(slave, {"TERM": "xterm"})
        assert wants_colour(slave, {"NO_COLOR": ""})
        assert not wants_colour(slave, {"NO_COLOR": "1"})
        assert not wants_colour(slave, {"TERM": "dumb"})
        assert not wants_colour(pipe[1], {})
        assert not wants_colour(987_654, {})
    finally:
        os.close(master)
        os.close(slave)


def test_lost_lines_are_reported_as_a_line_of_the_log(pipe: Pipe) -> None:
    log = Log(pipe[1])
    for _ in range(4000):
        log.info("x" * 200)
    found = ""
    while not log.flush():
        found += read(pipe)
    found += read(pipe)
    assert re.fullmatch(
        r"\S+ \S+ \[\d+\] WARNING  \d+ log lines lost: its reader was too slow, or the disk full",
        found.splitlines()[-1],
    )


def test_the_last_lines_before_an_exit_wait_for_their_reader(pipe: Pipe) -> None:
    log = Log(pipe[1])
    log.critical("the end")
    assert log.drain(1)
    assert "the end" in read(pipe)


def test_a_log_that_was_closed_before_the_start_is_no_error() -> None:
    log = Log(987_654)
    log.info("into nothing")
    log.block(Level.ERROR, "into", "nothing")
    assert log.flush()


# ── threads ──


@pytest.mark.parametrize("seed", range(20))
def test_lines_of_several_threads_are_whole_and_each_comes_once(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Also when the reader is slow, so that they wait in the backlog."""
    fcntl.fcntl(pipe[1], F_SETPIPE_SZ, 4096)
    schedule = Schedule(seed, [log_module, writer_module], pressure=0.05)
    monkeypatch.setattr(log_module, "allocate_lock", lambda: Lock(schedule))
    log = Log(pipe[1])
    received = []

    def speak(name: str) -> None:
        for number in range(5):
            log.info(f"{name}-{number} " + name * 700)

    def listen() -> None:
        for _ in range(5):
            schedule.pause()
            received.append(read(pipe))
            log.flush()

    for name in "abc":
        schedule.add(speak, name)
    schedule.add(listen)
    schedule.run()
    while not log.flush():
        received.append(read(pipe))
    received.append(read(pipe))
    lines = [line.partition("INFO     ")[2] for line in "".join(received).splitlines()]

    assert sorted(lines) == sorted(f"{name}-{number} " + name * 700 for name in "abc" for number in range(5))


def test_a_child_forked_while_another_thread_logged_can_log(pipe: Pipe) -> None:
    log = Log(pipe[1])
    log.info("one")
    with log._lock:  # another thread's, that is
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            log.info("two")
            log.flush()
            log.drain(0.1)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    assert [line.split()[-1] for line in read(pipe).splitlines()] == ["one", "two"]
