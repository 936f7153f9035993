"""What is built is what is installed: a wheel, made from the source distribution, in a fresh environment."""

import email
import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from appserve.version import __version__

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ROOT = Path(__file__).parent.parent
NOT_SOURCES = shutil.ignore_patterns(".*_cache", "__pycache__", "*.egg-info", ".hypothesis")
SOURCES = (
    "pyproject.toml",
    "setup.py",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Makefile",
)
FOLDERS = ("src", "tests", "docs", "conf", ".ci")
RUNTIME_DEPENDENCIES = {"click", "httptools", "setproctitle", "uvloop"}


@dataclass(frozen=True)
class Built:
    wheel: Path
    source: Path


@dataclass(frozen=True)
class Installed:
    """A fresh environment with nothing but the wheel and what it asks for."""

    python: Path
    command: Path
    folder: Path  # empty: neither the sources nor a configuration file


def run(arguments: Sequence[str | Path], folder: Path) -> str:
    """What the command printed; a failure shows it."""
    finished = subprocess.run(
        [str(argument) for argument in arguments],
        check=False,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
    assert finished.returncode == 0, f"{arguments}\n{finished.stdout}"
    return finished.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The source distribution, and the wheel that is made from it, of a copy of the tree."""
    tree = tmp_path_factory.mktemp("tree")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tree / folder, ignore=NOT_SOURCES)
    for name in SOURCES:
        shutil.copy2(ROOT / name, tree)
    run([sys.executable, "-m", "build", "--outdir", "dist", "."], tree)
    (wheel,) = (tree / "dist").glob("*.whl")
    (source,) = (tree / "dist").glob("*.tar.gz")
    return Built(wheel, source)


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv")
    binaries = folder / "venv" / "bin"
    pip = [sys.executable, "-m", "pip", "--python", binaries / "python"]
    run([*pip, "install", "--quiet", "--no-compile", built.wheel], folder)
    empty = folder / "empty"
    empty.mkdir()
    return Installed(binaries / "python", binaries / "appserve", empty)


def test_the_wheel_is_typed_and_holds_the_package_alone(built: Built) -> None:
    names = zipfile.ZipFile(built.wheel).namelist()
    assert "appserve/py.typed" in names
    assert {name.split("/")[0] for name in names} == {"appserve", f"appserve-{__version__}.dist-info"}


def test_every_module_is_in_the_wheel(built: Built) -> None:
    source = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    assert not source.difference(zipfile.ZipFile(built.wheel).namelist())


def test_the_wheel_says_what_it_needs_and_how_it_may_be_used(built: Built) -> None:
    archive = zipfile.ZipFile(built.wheel)
    record = archive.read(f"appserve-{__version__}.dist-info/METADATA").decode()
    metadata = email.message_from_string(record)
    needs = {
        re.split(r"[^\w-]", text)[0] for text in metadata.get_all("Requires-Dist", []) if "extra" not in text
    }
    assert needs == RUNTIME_DEPENDENCIES
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"


def test_the_source_distribution_holds_what_a_packager_needs(built: Built) -> None:
    with tarfile.open(built.source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {*SOURCES, "src/appserve/py.typed", "tests/test_packaging.py", ".ci/run"} <= names
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_command_and_the_module_print_the_version(installed: Installed) -> None:
    assert __version__ in run([installed.command, "--version"], installed.folder)
    assert __version__ in run([installed.python, "-m", "appserve", "--version"], installed.folder)


def test_the_installed_command_serves(installed: Installed) -> None:
    assert b"appserve" in serve_once([installed.command], installed)


def test_the_installed_module_serves(installed: Installed) -> None:
    assert b"appserve" in serve_once([installed.python, "-m", "appserve"], installed)


def serve_once(command: Sequence[str | Path], installed: Installed) -> bytes:
    """The demo's page from a server that starts, answers and ends cleanly."""
    arguments = [*map(str, command), "appserve.demo:app", "--bind", "127.0.0.1:0", "--workers", "2"]
    process = subprocess.Popen(
        arguments,
        cwd=installed.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines: list[str] = []
    try:
        port = 0
        ready = False
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                port = int(found[1])
            ready = ready or bool(re.search(r"worker \d+ .*\bready\b", line))
            if port and ready:
                break
        assert port and ready, "".join(lines)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/")
        answer = connection.getresponse()
        page = answer.read()
        connection.close()
        assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=40)[1]
        assert process.returncode == 0, "".join(lines) + rest
        return page
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
