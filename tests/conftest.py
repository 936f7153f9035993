"""For every test: examples that are made up are the same in every run, so that none fails by chance.

Files that start servers come first, because they take the longest.
`--hypothesis-profile=default` has others made up each time, and `make fuzz` looks for as long as one likes.
"""

from collections.abc import Generator

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    # Left to itself, pytest-xdist begins with the files that have the most tests, which are the quickest.
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


# Around all others, so that what was made random stays so among the long ones and among the short ones.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """A file of few long tests that began last would be waited for by all other processes."""
    yield
    items.sort(key=lambda item: item.get_closest_marker("integration") is None)
