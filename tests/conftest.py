"""For every test: examples that are made up are the same in every run, so that none fails by chance.

Files that start servers come first, and some others, because they take the longest.
`--hypothesis-profile=default` has others made up each time, and `make fuzz` looks for as long as one likes.

Where PYTHONDONTWRITEBYTECODE is set, the tests and the source are compiled once all the same: each process of
the tests would compile all tests again, and each server that they start each file that was changed.
"""

import compileall
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

HERE = Path(__file__).parent

LONG = {
    *("conformance/test_defects.py", "conformance/test_fuzz.py", "conformance/test_requests.py"),
    *("workers/test_asgi_loop.py", "workers/test_sync_loop.py", "test_packaging.py", "test_architecture.py"),
}
"""Files that take more than five seconds of a processor, without the real command."""

_keeps_bytecode = not sys.dont_write_bytecode
sys.dont_write_bytecode = False

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        for folder in (HERE.parent / "src", HERE):
            compileall.compile_dir(folder, quiet=2)  # some applications of tests cannot be compiled
    # Left to itself, pytest-xdist begins with the files that have the most tests, which are the quickest.
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


# Around all others, so that what was made random stays so among the long ones and among the short ones.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """A file of few long tests that began last would be waited for by all other processes."""
    yield
    items.sort(key=lambda item: not (is_long(item) or item.get_closest_marker("integration")))


def is_long(item: pytest.Item) -> bool:
    return item.path.relative_to(HERE).as_posix() in LONG


def pytest_collection_finish() -> None:
    # A module that a test changes within a second must be compiled again.
    sys.dont_write_bytecode = not _keeps_bytecode
