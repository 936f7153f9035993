"""The way of a request, as it is counted and as it is measured."""

from pathlib import Path

import pytest

from tests.benchmarks.path import CLASSES, calls_of, describe, from_waking


def test_the_way_begins_after_the_longest_wait() -> None:
    calls = [(1.0, "b.py", "answer"), (1.1, "a.py", "wait"), (2.0, "a.py", "wake"), (2.1, "b.py", "read")]
    assert from_waking(calls) == [("a.py", "wake"), ("b.py", "read"), ("b.py", "answer"), ("a.py", "wait")]


def test_a_border_is_between_two_calls_in_different_files() -> None:
    text = describe("sync", [("a.py", "wake"), ("b.py", "read"), ("b.py", "answer"), ("a.py", "wait")])
    assert text.splitlines()[0] == "sync: 2 borders, 2 files, 4 calls"
    assert [line.split()[0] for line in text.splitlines()[1:]] == ["a.py", "b.py", "a.py"]


@pytest.mark.integration
@pytest.mark.parametrize("worker_class", CLASSES)
def test_a_request_is_followed_from_the_socket_to_the_log(tmp_path: Path, worker_class: str) -> None:
    files = {file for file, _ in calls_of(worker_class, tmp_path, varied=True)}
    assert {"http/http1.py", "observe/access.py"} <= files
