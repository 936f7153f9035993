from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.wsgi.talk import Application, Talk


@pytest.fixture
def talk_to() -> Iterator[Callable[..., Talk]]:
    """Makes talks, and ends them all."""
    talks: list[Talk] = []

    def make(application: Application, **settings: Any) -> Talk:
        talks.append(Talk(application, **settings))
        return talks[-1]

    yield make
    for talk in talks:
        talk.close()
