"""What happens when a program that stands in front is not there."""

import shutil

import pytest

from tests.integration.peers import find_program


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path: None)


def test_tests_of_a_program_that_is_missing_are_skipped(
    nothing_installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUIRE_PEERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="nginx is not installed"):
        find_program("nginx")


def test_they_fail_where_all_programs_are_required(
    nothing_installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUIRE_PEERS", "1")
    with pytest.raises(pytest.fail.Exception, match="nginx is not installed"):
        find_program("nginx")
