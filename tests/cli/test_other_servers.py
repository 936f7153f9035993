"""Variables of other servers: read as the flags that they stand for."""

import os
from pathlib import Path

import pytest

from appserve.cli.arguments import read_other_servers
from appserve.cli.command import run
from appserve.errors import ExitCode

GUNICORN, UVICORN = "GUNICORN_CMD_ARGS", "UVICORN_*"


def test_flags_in_a_variable_are_read_as_flags():
    found = read_other_servers({GUNICORN: "--bind=0.0.0.0:9000 -w 3 --name 'a shop' --no-sendfile"})

    assert found.arguments == {
        "bind": (("0.0.0.0:9000",), GUNICORN),
        "workers": (("3",), GUNICORN),
        "name": (("a shop",), GUNICORN),
    }
    assert found.problems == []
    first, second = found.warnings
    assert first.startswith("GUNICORN_CMD_ARGS: read as flags")
    assert second.startswith("GUNICORN_CMD_ARGS: --no-sendfile has no effect: ")


@pytest.mark.parametrize(
    ("variables", "arguments"),
    [
        ({"UVICORN_HOST": "0.0.0.0", "UVICORN_PORT": "80"}, {"bind": ("0.0.0.0:80",)}),
        ({"UVICORN_UDS": "/run/a.sock"}, {"bind": ("unix:/run/a.sock",)}),
        (
            {"UVICORN_WORKERS": "3", "UVICORN_LOG_LEVEL": "debug"},
            {"workers": ("3",), "log_level": ("debug",)},
        ),
        ({"UVICORN_ACCESS_LOG": "false"}, {"access_logfile": ("none",)}),
        ({"UVICORN_ACCESS_LOG": "1"}, {"access_logfile": ("-",)}),
        (
            {"UVICORN_RELOAD": "false", "UVICORN_FACTORY": "0", "UVICORN_PORT": ""},
            {"reload": ("false",), "factory": ("false",)},
        ),
        ({"UVICORN_PORT": "tcp://10.0.0.1:80", "UVICORN_SERVICE_HOST": "10.0.0.1"}, {}),
        ({"UVICORN_VERSION": "0.30", "UVICORN_CUSTOM": "x"}, {}),
    ],
)
def test_a_variable_is_the_flag_of_its_name(variables: dict[str, str], arguments: dict[str, tuple[str, ...]]):
    found = read_other_servers(variables)

    assert found.arguments == {name: (texts, UVICORN) for name, texts in arguments.items()}
    assert found.problems == []
    assert len(found.warnings) == bool(arguments)


def test_nothing_is_read_where_nothing_is_set():
    found = read_other_servers({"PATH": "/bin", "APPSERVE_WORKERS": "2"})

    assert (found.arguments, found.warnings, found.problems) == ({}, [], [])


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.startswith("APPSERVE_") or name in ("PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"):
            monkeypatch.delenv(name)
    return monkeypatch


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, list[str]]:
    assert run(["a:b", *arguments, "--print-config"]) == ExitCode.CLEAN
    return {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}


def test_our_variables_and_the_command_line_override_them(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    environment.setenv(GUNICORN, "--workers 2 --threads 2 --timeout 2")
    environment.setenv("APPSERVE_WORKERS", "3")

    table = shown(capsys, "--threads", "4")
    assert table["workers"] == ["3", "APPSERVE_WORKERS"]
    assert table["threads"] == ["4", "--threads"]
    assert table["timeout"] == ["2", GUNICORN]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        (GUNICORN, "--workers many", 'GUNICORN_CMD_ARGS: workers = "many": expected a whole number'),
        (GUNICORN, "--preload", "GUNICORN_CMD_ARGS: --preload: not supported yet"),
        (GUNICORN, "--wokers 2", 'GUNICORN_CMD_ARGS: --wokers: no such option (did you mean "--workers"?)'),
        (GUNICORN, "--name 'shop", "GUNICORN_CMD_ARGS: no closing quotation"),
        ("UVICORN_PORT", "http", "UVICORN_*: --port http: "),
        ("UVICORN_HTTP2", "true", "UVICORN_*: --http2: "),
        ("GRANIAN_WORKERS", "x", 'GRANIAN_*: workers = "x": expected a whole number'),
    ],
)
def test_a_mistake_names_the_variable(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, text: str, problem: str
):
    environment.setenv(name, text)

    assert run(["a:b", "--check-config"]) == ExitCode.CONFIG
    assert capsys.readouterr().err.startswith(f"appserve: {problem}")


@pytest.mark.parametrize("name", ["conf.py", "file:conf.py", "python:conf"])
def test_a_settings_file_can_be_named_in_the_variable(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
):
    (tmp_path / "conf.py").write_text("timeout = 7\nthreads = 2\n")
    environment.chdir(tmp_path)
    environment.setenv(GUNICORN, f"-c {name} --threads 3")

    table = shown(capsys)
    assert table["timeout"] == ["7", name.removeprefix("file:")]
    assert table["threads"] == ["3", GUNICORN]


@pytest.mark.parametrize(
    ("variable", "text", "flags", "bind"),
    [
        ("UVICORN_HOST", "0.0.0.0", ["--port", "80"], "0.0.0.0:80"),
        ("GRANIAN_PORT", "81", ["--host", "0.0.0.0"], "0.0.0.0:81"),
        ("UVICORN_PORT", "tcp://10.0.0.1:80", ["--host", "0.0.0.0"], "0.0.0.0:8000"),
        ("UVICORN_HOST", "0.0.0.0", ["--host", "::1", "--port", "80"], "[::1]:80"),
    ],
)
def test_a_variable_and_a_flag_make_one_address(
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    text: str,
    flags: list[str],
    bind: str,
):
    environment.setenv(variable, text)

    assert shown(capsys, *flags)["bind"] == [bind, "--bind"]
