"""What the connections of a worker share."""

from typing import Any

import pytest

from tests.asgi.fakes import Scene, on_both_loops


async def silent(scope: Any, receive: Any, send: Any) -> None:
    pass


@on_both_loops
async def test_the_clients_clock_stands_still_while_the_loop_is_held_up() -> None:
    site = Scene(silent).site
    for now in (1000.0, 1000.25, 1000.5, 1060.5, 1060.75):
        site.attend(now)

    assert site.attended == pytest.approx(0.25 + 0.25 + 0.5 + 0.25)


@on_both_loops
async def test_the_clients_clock_never_goes_back() -> None:
    site = Scene(silent).site
    for now in (1000.0, 1000.25, 999.0, 999.25):
        site.attend(now)

    assert site.attended == pytest.approx(0.5)
