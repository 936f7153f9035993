import sys
from pathlib import Path

import pytest

from appserve.system.process_title import set_title
from tests.system.child import in_child

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@on_linux
@pytest.mark.parametrize(
    ("title", "expected"),
    [("appserve: worker 3 [app:app]", "appserve: worker 3 [app:app]"), ("a\x1b\nb\x9bc", "a??b?c")],
)
def test_the_title_is_shown_without_control_characters(title: str, expected: str) -> None:
    def child() -> str:
        set_title(title)
        return Path("/proc/self/cmdline").read_bytes().rstrip(b"\0").decode()

    assert in_child(child) == expected


def test_a_system_that_cannot_show_titles_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "setproctitle", None)
    set_title("appserve: master")
