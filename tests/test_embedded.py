"""The server within another program: appserve.run, appserve.testing.serve."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import appserve.testing
from appserve.embedded import flags_of
from appserve.errors import ExitCode


@pytest.mark.parametrize(
    ("settings", "flags"),
    [
        ({"workers": 4, "keep_alive": 2.5}, ["--workers=4", "--keep-alive=2.5"]),
        ({"bind": [":1", ":2"]}, ["--bind=:1", "--bind=:2"]),
        ({"host": "0.0.0.0", "port": 80}, ["--host=0.0.0.0", "--port=80"]),
        ({"reload": True, "factory": False}, ["--reload", "--no-factory"]),
        ({"access_log": False, "proxy_headers": True}, ["--no-access-log", "--proxy-headers"]),
        ({"use_colors": None, "log_config": None, "preload": False}, []),
    ],
)
def test_a_setting_is_a_flag(settings: dict[str, Any], flags: list[str]):
    assert flags_of(settings) == flags


def test_a_name_that_is_no_setting_is_an_error():
    with pytest.raises(TypeError, match=r"run\(\) has no setting 'wokers' \(did you mean \"workers\"\?\)"):
        appserve.run("main:app", wokers=4)


def test_a_wrong_value_is_reported_as_on_the_command_line(capsys: pytest.CaptureFixture[str]):
    assert appserve.run("main:app", workers="many") == ExitCode.CONFIG
    assert capsys.readouterr().err == "appserve: --workers many: expected a whole number\n"


PROGRAM = """
import sys
import appserve

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"of the program"]

if __name__ == "__main__":
    sys.exit(appserve.run(%s, host="127.0.0.1", port=0, workers=2, access_log=False))
"""


@pytest.mark.parametrize("application", ["app", "'program:app'"])
def test_a_program_serves_until_a_signal(tmp_path: Path, application: str):
    (tmp_path / "program.py").write_text(PROGRAM % application)
    program = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")], cwd="/", stderr=subprocess.PIPE, text=True
    )
    try:
        assert program.stderr is not None
        url = next(line.split()[-1] for line in program.stderr if "listening on" in line)
        for _ in range(4):
            assert urllib.request.urlopen(url, timeout=60).read() == b"of the program"
        program.send_signal(signal.SIGTERM)
        program.stderr.read()
        assert program.wait(60) == 0
    finally:
        program.kill()
        program.wait(60)


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [])
    return [f"{os.getpid()} {environ['SERVER_SOFTWARE']}".encode()]


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        raise RuntimeError("not supported")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"{os.getpid()} {scope['type']}".encode()})


def ask(url: str) -> list[str]:
    answer: str = urllib.request.urlopen(url, timeout=60).read().decode()
    return answer.split()


@pytest.mark.parametrize(
    ("application", "says"), [(wsgi, f"appserve/{appserve.__version__}"), (asgi, "http")]
)
def test_a_test_has_a_server_for_its_object(application: Any, says: str):
    with appserve.testing.serve(application) as url:
        pid, what = ask(url)
        assert (int(pid) != os.getpid(), what) == (True, says)

    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=60)


def test_settings_are_those_of_the_command(tmp_path: Path):
    with appserve.testing.serve(wsgi, workers=2, pid=str(tmp_path / "pid")) as url:
        assert (tmp_path / "pid").exists()
        assert ask(url)
    assert not (tmp_path / "pid").exists()


def test_a_server_that_cannot_start_is_an_error_of_the_test():
    with (
        pytest.raises(RuntimeError, match="did not start: exit code 4"),
        appserve.testing.serve("no_such_module_anywhere:app"),
    ):
        pass


def test_an_error_in_the_block_stops_the_server_and_passes():
    with pytest.raises(ZeroDivisionError), appserve.testing.serve(wsgi) as url:
        assert ask(url)
        1 / 0  # noqa: B018
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=60)
