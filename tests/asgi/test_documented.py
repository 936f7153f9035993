"""docs/asgi.md names tests for what it promises."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/asgi.md").read_text()))
    files = [*Path(__file__).parent.glob("test_*.py"), ROOT / "tests/workers/test_asgi_loop.py"]
    there = {name for file in files for name in re.findall(r"def (test_\w+)", file.read_text())}

    assert len(named) > 60
    assert named <= there, f"not there: {sorted(named - there)}"
