"""Settings files that are Python programs, and pyproject.toml."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appserve.config.settings import Resolved
from appserve.config.sources import resolve
from appserve.errors import ConfigError
from appserve.master.process import call


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(folder: Path, **arguments: str) -> Resolved:
    texts = {name: (text,) for name, text in ({"application": "a:b"} | arguments).items()}
    return resolve(texts, {}, str(folder), call=call)


def problems(folder: Path, **arguments: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, **arguments)
    return list(caught.value.problems)


GUNICORN = """
import multiprocessing
from pathlib import Path

import shop_settings

bind = ["127.0.0.1:8001", f"unix:{Path('/run/shop.sock')}"]
workers = str(multiprocessing.cpu_count() * 0 + 3)
worker_class = "uvicorn.workers.UvicornWorker"
accesslog = errorlog = "-"
loglevel = shop_settings.level
keepalive = 5
proc_name = "shop"
timeout = 1_20
threads = None
proxy_protocol = True
user = None
preload_app = True
max_requests = 1000
helper_count = 7


def post_fork(server, worker):
    pass
"""


def test_a_file_written_for_gunicorn_is_read(folder: Path):
    (folder / "shop_settings.py").write_text("level = 'debug'\n")
    (folder / "gunicorn.conf.py").write_text(GUNICORN)

    found = read(folder)
    settings = found.settings
    assert settings.bind == ("127.0.0.1:8001", "unix:/run/shop.sock")
    assert (settings.workers, settings.worker_class, settings.threads) == (3, "asgi", 0)
    assert (settings.access_logfile, settings.error_logfile, settings.log_level) == ("-", "-", "debug")
    assert (settings.keep_alive, settings.timeout, settings.name) == (5.0, 120.0, "shop")
    assert settings.proxy_protocol == "auto"
    assert found.sources["keep_alive"] == "gunicorn.conf.py"
    assert [warning.split(" has ")[0].split(" is ")[0] for warning in found.warnings] == [
        "gunicorn.conf.py: preload_app",
        "gunicorn.conf.py: max_requests",
        "gunicorn.conf.py: post_fork()",
    ]


def test_our_names_and_a_module_are_read_as_well(folder: Path):
    (folder / "conf").mkdir()
    (folder / "conf" / "__init__.py").write_text("")
    (folder / "conf" / "live.py").write_text(
        "keep_alive = '500ms'\nforwarded_allow_ips = ['10.0.0.1', 'unix']\n"
    )

    for name in ("conf/live.py", "python:conf.live"):
        settings = read(folder, config=name).settings
        assert (settings.keep_alive, settings.forwarded_allow_ips) == (0.5, ("10.0.0.1", "unix"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("workers = 'many'", 'conf.py: workers = "many": expected a whole number'),
        ("\n1 / 0", "conf.py: ZeroDivisionError: division by zero (line 2)"),
        ("x = (", "conf.py: SyntaxError: '(' was never closed (line 1)"),
        (
            "import no_such_module_here",
            "conf.py: ModuleNotFoundError: No module named 'no_such_module_here' (",
        ),
        ("import sys; sys.exit('no')", "conf.py: SystemExit: no (line 1)"),
        ("import os; os._exit(3)", "conf.py: the process that ran it has died"),
        ("class worker_class: pass", "conf.py: worker_class is not a text or a number"),
        ("user = 'www-data'", "conf.py: user: not supported yet: start the server as this user"),
    ],
)
def test_a_mistake_in_a_program_is_one_line(folder: Path, text: str, problem: str):
    (folder / "conf.py").write_text(text)

    (found,) = problems(folder, config="conf.py")
    assert found.startswith(problem)


def test_a_program_that_hangs_is_ended(folder: Path):
    (folder / "conf.py").write_text("import time\ntime.sleep(3600)\n")
    limit: list[float] = []

    def quickly(run: Callable[[], bytes], seconds: float) -> bytes:
        limit.append(seconds)
        return call(run, 0.2)

    with pytest.raises(ConfigError) as caught:
        resolve({"application": ("a:b",), "config": ("conf.py",)}, {}, str(folder), call=quickly)
    assert list(caught.value.problems) == [
        f"conf.py: it ran for longer than {limit[0]:.0f} s, and was stopped"
    ]


def test_a_program_leaves_nothing_in_the_process_that_reads_it(folder: Path):
    (folder / "conf.py").write_text(
        "import sys, os\nsys.path.append('/x')\nos.environ['LEFT'] = '1'\nworkers = 2\n"
    )
    before: tuple[Any, ...] = (list(sys.path), dict(os.environ), set(os.listdir("/proc/self/fd")))

    assert read(folder, config="conf.py").settings.workers == 2

    assert before == (list(sys.path), dict(os.environ), set(os.listdir("/proc/self/fd")))


def test_the_table_in_pyproject_is_read_and_another_projects_file_is_not(folder: Path):
    project = folder / "pyproject.toml"
    project.write_text("[tool.ruff]\nline-length = 100\n")
    assert read(folder).sources["workers"] == "default"

    project.write_text("this is no TOML")
    assert read(folder).sources["workers"] == "default"

    project.write_text("[tool.appserve]\nworkers = 3\n")
    found = read(folder)
    assert (found.settings.workers, found.sources["workers"]) == (3, "pyproject.toml")

    project.write_text("[tool.appserve]\nworkes = 3\n")
    assert problems(folder) == ['pyproject.toml: workes = 3: unknown setting (did you mean "workers"?)']


def test_of_several_files_the_first_counts(folder: Path):
    (folder / "gunicorn.conf.py").write_text("workers = 2\n")
    assert read(folder).settings.workers == 2

    (folder / "pyproject.toml").write_text("[tool.appserve]\nworkers = 3\n")
    assert read(folder).settings.workers == 3

    (folder / "appserve.toml").write_text("workers = 4\n")
    assert read(folder).settings.workers == 4
