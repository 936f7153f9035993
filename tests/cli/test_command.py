"""The command: what it hands to the master, and what it answers itself."""

import os
import platform
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import appserve.master
from appserve.cli.command import help_text, run
from appserve.cli.main import main
from appserve.config.settings import GROUPS, ROWS, Resolved
from appserve.errors import BindError, ConfigError, ExitCode
from appserve.http import http1
from appserve.version import __version__


@dataclass
class Master:
    """Stands in for the master: remembers what it was started with."""

    started: list[tuple[Resolved, Callable[[], Resolved]]] = field(default_factory=list)
    outcome: int | Exception = 0

    def run(self, resolved: Resolved, reread: Callable[[], Resolved]) -> int:
        self.started.append((resolved, reread))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.fixture(autouse=True)
def master(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Master:
    """No real master is started, and neither the environment nor the current folder has settings."""
    fake = Master()
    module = types.ModuleType("appserve.master.master")
    module.run = fake.run  # type: ignore[attr-defined]  # a module made for the test
    monkeypatch.setitem(sys.modules, "appserve.master.master", module)
    monkeypatch.setattr(appserve.master, "master", module, raising=False)
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("APPSERVE_") or name in ("PORT", "WEB_CONCURRENCY"):
            monkeypatch.delenv(name)
    return fake


def test_the_master_is_started_with_the_settings_and_its_code_is_ours(master: Master):
    master.outcome = 70

    assert run(["-w", "3", "main:app", "-b", ":1", "--bind=:2", "--factory", "-t5"]) == 70
    settings = master.started[0][0].settings
    assert (
        settings.application,
        settings.workers,
        settings.bind,
        settings.factory,
        settings.timeout,
    ) == ("main:app", 3, (":1", ":2"), True, 5.0)


@pytest.mark.parametrize("flag", ["--limit-request-field-size", "--limit-request-field_size"])
def test_both_spellings_of_the_field_size_are_taken(master: Master, flag: str):
    run(["main:app", flag, "1000"])

    assert master.started[0][0].settings.limit_request_field_size == 1000


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], True),
        (["--no-factory"], False),
        (["--factory", "--no-factory"], False),
        (["--no-factory", "--factory"], True),
    ],
)
def test_a_flag_can_switch_off_what_the_file_switches_on(
    master: Master, arguments: list[str], expected: bool
):
    Path("appserve.toml").write_text("factory = true")
    run(["main:app", *arguments])

    assert expected == master.started[0][0].settings.factory


def test_what_is_read_again_for_a_reload_is_the_file(master: Master, monkeypatch: pytest.MonkeyPatch):
    Path("appserve.toml").write_text("workers = 2\ntimeout = 2")
    run(["main:app", "--timeout", "9"])
    reread = master.started[0][1]
    Path("appserve.toml").write_text("workers = 4\ntimeout = 4")
    monkeypatch.chdir("/")

    assert (reread().settings.workers, reread().settings.timeout) == (4, 9.0)


def test_a_reload_of_a_broken_file_raises(master: Master, tmp_path: Path):
    run(["main:app"])
    (tmp_path / "appserve.toml").write_text("workers = 0")

    with pytest.raises(ConfigError):
        master.started[0][1]()


def test_warnings_reach_the_master(master: Master, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("APPSERVE_WROKERS", "2")
    run(["main:app"])

    assert len(master.started[0][0].warnings) == 1


def test_what_stops_the_master_at_start_is_reported_on_one_line(
    master: Master, capsys: pytest.CaptureFixture[str]
):
    master.outcome = BindError("cannot listen on 127.0.0.1:1: permission denied")

    assert run(["main:app"]) == 6
    assert capsys.readouterr().err == "appserve: cannot listen on 127.0.0.1:1: permission denied\n"


def test_a_fault_of_ours_exits_71_with_its_traceback(master: Master, capsys: pytest.CaptureFixture[str]):
    master.outcome = ZeroDivisionError("ours")
    with pytest.raises(SystemExit) as caught:
        main(["main:app"])

    assert caught.value.code == ExitCode.INTERNAL
    assert "ZeroDivisionError: ours" in capsys.readouterr().err


# Mistakes


def mistake(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines on standard error, without the first if it only counts."""
    assert run(arguments) == 5
    reported = capsys.readouterr()
    assert reported.out == ""
    return reported.err.splitlines()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--wrokers", "2", "main:app"], '--wrokers: no such option (did you mean "--workers"?)'),
        (["--wrokers=2", "main:app"], '--wrokers: no such option (did you mean "--workers"?)'),
        (["--worker_class", "sync", "x"], '--worker_class: no such option (did you mean "--worker-class"?)'),
        (["--zebra", "main:app"], "--zebra: no such option"),
        (["-Z", "main:app"], "-Z: no such option"),
        (
            ["main:app", "--bind"],
            "--bind: expected a value after it: HOST:PORT, [IPV6]:PORT, unix:PATH or fd://NUMBER",
        ),
        (["main:app", "-w"], "-w: expected a value after it: a whole number from 1 to 1024, or auto"),
        (["main:app", "--factory=1"], "--factory: takes no value"),
        (["main:app", "other:app"], 'unexpected argument "other:app": the application is "main:app" already'),
    ],
)
def test_a_mistake_in_the_form_of_the_command_exits_5_with_a_guess(
    arguments: list[str], problem: str, master: Master, capsys: pytest.CaptureFixture[str]
):
    lines = mistake(arguments, capsys)

    assert [f"appserve: {problem}", "appserve --help lists the options"] == lines
    assert master.started == []


def test_every_mistake_is_reported_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("APPSERVE_TIMEOUT", "soon")
    Path("appserve.toml").write_text("typo = 1")
    lines = mistake(["--wrokers", "2", "--zebra", "--factory=1", "-Y", "--backlog", "x", "main:app"], capsys)

    assert lines[0] == "appserve: 7 problems with the settings"
    assert {line.strip().split(":")[0] for line in lines[1:8]} == {
        "--wrokers",
        "--zebra",
        "--factory",
        "-Y",
        "--backlog x",
        "appserve.toml",
        "APPSERVE_TIMEOUT=soon",
    }


def test_a_missing_application_is_reported_and_nothing_is_served(
    master: Master, capsys: pytest.CaptureFixture[str]
):
    (line,) = mistake([], capsys)

    assert line.startswith("appserve: no application: name it as module:attribute")
    assert master.started == []


def test_a_missing_current_folder_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    assert mistake(["x"], capsys) == [
        "appserve: the current folder cannot be used: No such file or directory"
    ]


# Answers


def test_version_is_printed_with_the_build_and_python(master: Master, capsys: pytest.CaptureFixture[str]):
    assert run(["--version"]) == 0
    build = "pure Python" if (http1.__file__ or "").endswith(".py") else "compiled"
    assert (
        capsys.readouterr().out == f"appserve {__version__} ({build}), Python {platform.python_version()}\n"
    )


@pytest.mark.parametrize("columns", [40, 80, 100, 300])
def test_help_has_every_setting_with_its_default_and_fits(columns: int):
    text = help_text(columns)
    words = " ".join(text.split())
    missing = [
        part
        for row in ROWS
        for part in (row.positional or row.flag, row.short, *row.also, row.help)
        if part not in words
    ]

    assert missing == []
    assert max(73, min(columns, 100)) > max(len(line) for line in text.splitlines())
    assert [f"{group}:" for group in GROUPS] == [line for line in text.splitlines() if line[:-1] in GROUPS]


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--help", "--wrokers", "main:app"]])
def test_help_is_given_whatever_else_is_wrong(
    arguments: list[str], master: Master, capsys: pytest.CaptureFixture[str]
):
    assert run(arguments) == 0
    assert capsys.readouterr().out.startswith("Usage: appserve [OPTIONS] APPLICATION\n")


def test_check_config_prints_what_it_checked(
    master: Master, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    Path("appserve.toml").write_text("workers = 2\ntimeout = 2")
    monkeypatch.setenv("APPSERVE_WROKERS", "2")

    assert run(["--check-config", "main:app", "-b", ":1"]) == 0
    reported = capsys.readouterr()
    assert reported.out.splitlines() == [
        "the settings are good (2 from command line, 2 from appserve.toml, the rest are defaults)",
        "not tried: importing main:app, listening on :1",
    ]
    assert reported.err.startswith(
        "appserve: warning: environment variable APPSERVE_WROKERS is not a setting"
    )
    assert master.started == []


def test_check_config_exits_5_when_something_is_wrong(capsys: pytest.CaptureFixture[str]):
    assert mistake(["--check-config", "main:app", "-w", "0"], capsys) == [
        "appserve: --workers 0: expected a whole number that is at least 1"
    ]


def test_print_config_shows_every_setting_with_its_value_and_source_in_columns(
    master: Master, capsys: pytest.CaptureFixture[str]
):
    Path("appserve.toml").write_text("limit_request_body = 2097152")

    assert run(["--print-config", "-b", ":1", "-b", ":2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [row.name for row in ROWS] == [line.split()[0] for line in lines]
    assert ["bind", ":1,:2", "--bind"] in [line.split() for line in lines]
    assert ["limit_request_body", "2M", "appserve.toml"] in [line.split() for line in lines]
    assert ["keep_alive", "75", "default"] in [line.split() for line in lines]
    starts = {line.index(line.split()[-1]) for line in lines if line.split()[-1] == "default"}
    assert len(starts) == 1
    assert master.started == []


# As a process


def started(*arguments: str, **options: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "appserve", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_the_process_exits_with_the_code_and_keeps_standard_output_clean():
    process = started("--wrokers")
    out, err = process.communicate()

    assert (process.returncode, out) == (5, "")
    assert err.startswith("appserve: --wrokers: no such option")


def test_a_reader_that_has_seen_enough_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-m", "appserve", "--help"], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)

    assert (process.returncode, process.stderr) == (0, b"")


def test_an_answer_to_a_closed_standard_output_is_no_fault_of_ours() -> None:
    line = 'exec "$0" -m appserve --version >&-'
    process = subprocess.run(["sh", "-c", line, sys.executable], stderr=subprocess.PIPE, check=False)

    assert (process.returncode, process.stderr) == (0, b"")


def writing_end(path: Path, process: "subprocess.Popen[str]") -> int:
    """The other end of a pipe that the process is reading, once it does."""
    while process.poll() is None:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # no reader yet
            time.sleep(0.005)
    raise AssertionError(process.communicate())


def test_an_interrupt_while_settings_are_read_is_quiet(tmp_path: Path):
    # A settings file without a writer: the command reads until the interrupt.
    os.mkfifo(tmp_path / "appserve.toml")
    # The parent of these tests may ignore the interrupt, as a shell does for what it runs in the background.
    default = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = started("main:app", cwd=tmp_path, preexec_fn=default)
    fd = writing_end(tmp_path / "appserve.toml", process)
    # Python loses the interrupt if it comes just before the system call that waits: then once more.
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)
    out, err = process.communicate()
    os.close(fd)

    assert (process.returncode, out, err) == (130, "", "")
