"""The pid file: one server holds it, for as long as it lives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appserve.errors import ConfigError
from appserve.system.pidfile import PidFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.pid"


def test_it_has_the_process_id_and_is_removed(path: Path):
    pidfile = PidFile(str(path))
    assert path.read_text() == f"{os.getpid()}\n"
    assert path.stat().st_mode & 0o777 == 0o644

    pidfile.close()
    assert not path.exists()


def test_what_a_dead_server_left_is_replaced(path: Path):
    path.write_text("999999 and more\n")

    PidFile(str(path)).close()
    assert not path.exists()


def test_a_second_server_is_refused_and_changes_nothing(path: Path):
    first = PidFile(str(path))

    with pytest.raises(ConfigError) as caught:
        PidFile(str(path))
    assert list(caught.value.problems) == [f"--pid {path}: another server holds it (pid {os.getpid()})"]
    assert path.read_text() == f"{os.getpid()}\n"
    first.close()


def test_the_lock_ends_with_its_process_however_it_ends(path: Path):
    program = (
        "import os, signal, sys; from appserve.system.pidfile import PidFile; "
        "kept = PidFile(sys.argv[1]); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(path)], timeout=60, check=False)
    assert killed.returncode == -9
    assert path.exists()

    PidFile(str(path)).close()


def test_a_file_that_another_program_has_put_there_stays(path: Path):
    pidfile = PidFile(str(path))
    path.unlink()
    path.write_text("of another\n")

    pidfile.close()
    assert path.read_text() == "of another\n"


def test_a_link_is_not_followed(path: Path):
    target = path.with_name("target")
    target.write_text("precious")
    path.symlink_to(target)

    with pytest.raises(ConfigError, match="cannot be written"):
        PidFile(str(path))
    assert target.read_text() == "precious"


def test_a_folder_that_is_missing_is_reported(tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        PidFile(str(tmp_path / "none" / "x.pid"))
    assert list(caught.value.problems) == [
        f"--pid {tmp_path}/none/x.pid: cannot be written: no such file or directory"
    ]
