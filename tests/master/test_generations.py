"""Settings of a new generation: taken, refused, or taken in part."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from appserve.config.settings import Resolved, Settings
from appserve.errors import ConfigError
from appserve.master.events import Plan
from appserve.master.generations import Generations, plan_of
from appserve.master.logs import Logs
from appserve.observe.log import Log

OLD = Settings(application="app:app", workers=2)


class Case:
    def __init__(self, tmp_path: Path, reread: Callable[[], Resolved]) -> None:
        self.path = tmp_path / "log"
        self.fd = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        self.generations = Generations(Resolved(OLD, {}), reread, Logs(Log(self.fd), OLD))

    @property
    def log(self) -> str:
        return self.path.read_text()


def make_case(tmp_path: Path, new: Settings, warnings: tuple[str, ...] = ()) -> Case:
    return Case(tmp_path, lambda: Resolved(new, {}, warnings))


def test_new_settings_are_for_the_new_generation_until_it_is_committed(tmp_path: Path) -> None:
    new = OLD.replace(workers=5, keep_alive=3.0)
    case = make_case(tmp_path, new)

    assert case.generations.read() == Plan(5, OLD.graceful_timeout)
    assert case.generations.get(2, in_charge=1).settings == new
    assert case.generations.get(1, in_charge=1).settings == OLD
    assert case.generations.current == OLD
    case.generations.commit()
    assert case.generations.current == new
    assert case.generations.get(2, in_charge=2).settings == new


def test_what_changes_is_logged(tmp_path: Path) -> None:
    case = make_case(tmp_path, OLD.replace(workers=5), warnings=("beware",))
    case.generations.read()

    assert "reload: workers = 5 (was 2)" in case.log
    assert "WARNING  reload: beware" in case.log


def test_an_abandoned_generation_leaves_nothing(tmp_path: Path) -> None:
    case = make_case(tmp_path, OLD.replace(workers=5))
    case.generations.read()
    case.generations.abandon()

    assert case.generations.get(3, in_charge=1).settings == OLD
    case.generations.commit()
    assert case.generations.current == OLD


def test_what_only_a_restart_can_change_stays_and_is_named(tmp_path: Path) -> None:
    new = OLD.replace(bind=("127.0.0.1:9",), backlog=7, workers=3)
    case = make_case(tmp_path, new)
    case.generations.read()

    assert case.generations.get(2, in_charge=1).settings == OLD.replace(workers=3)
    assert "WARNING  reload: bind, backlog not changed: a restart is needed" in case.log


def test_every_problem_is_logged_and_the_old_settings_stay(tmp_path: Path) -> None:
    def reread() -> Resolved:
        raise ConfigError(["workers is wrong", "so is bind"])

    case = Case(tmp_path, reread)

    assert case.generations.read() is None
    assert "ERROR    reload: workers is wrong" in case.log
    assert "ERROR    reload: so is bind" in case.log
    assert "reload refused" in case.log
    assert case.generations.get(1, in_charge=1).settings == OLD


def test_an_internal_error_in_reading_refuses_the_reload_and_is_logged_with_its_traceback(
    tmp_path: Path,
) -> None:
    def reread() -> Resolved:
        raise ZeroDivisionError

    case = Case(tmp_path, reread)

    assert case.generations.read() is None
    assert "CRITICAL reload refused: unexpected ZeroDivisionError while reading the settings" in case.log
    assert "in reread" in case.log


@pytest.mark.parametrize(
    ("workers", "given", "surge"),
    [(1, 0, 1), (3, 0, 1), (4, 0, 1), (8, 0, 2), (16, 0, 4), (4, 3, 3), (2, 9, 9)],
)
def test_the_surge_is_a_quarter_of_the_workers_unless_it_is_given(
    workers: int, given: int, surge: int
) -> None:
    assert plan_of(OLD.replace(workers=workers, surge=given)).surge == surge
