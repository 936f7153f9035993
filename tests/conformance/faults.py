"""Many cases in one test: all are tried, and all that do not hold are reported."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

MOST = 20
"""After so many the rest is not tried: something is wrong with more than a case."""


class Faults:
    """Cases that did not hold; leaving its context with any is a failure."""

    def __init__(self) -> None:
        self._told: list[str] = []

    def __enter__(self) -> "Faults":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.check()

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """What is done for the case of this name."""
        try:
            yield
        except Exception:
            self._told.append(f"── {name}\n{traceback.format_exc(limit=-3)}")
            if len(self._told) >= MOST:
                self.check()

    def check(self) -> None:
        assert not self._told, f"{len(self._told)} cases do not hold:\n" + "\n".join(self._told)
