import os
import sys
import tempfile
from typing import Any

import pytest

from appserve.errors import ClientDisconnected
from appserve.forked import leave

# Python 3.12 and later: pytest-timeout has a thread, which the forked process does not need.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def end_of(error: BaseException | None) -> tuple[int, str]:
    """(exit code, what was printed) of a forked process that leaves with this error."""
    with tempfile.TemporaryFile("w+") as output:
        pid = os.fork()
        if pid == 0:
            sys.stdout = sys.stderr = output
            print("buffered", end="")
            try:
                raise error or ClientDisconnected()
            except BaseException as raised:
                leave(raised if error else None)
        _, status = os.waitpid(pid, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(status), output.read()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 0),
        (ClientDisconnected("the socket was closed after the fork"), 0),
        (SystemExit(), 0),
        (SystemExit(0), 0),
        (SystemExit(7), 7),
        (SystemExit(True), 1),
    ],
)
def test_it_flushes_its_output_and_exits_with_the_code_of_the_error(error: BaseException | None, code: int):
    assert end_of(error) == (code, "buffered")


@pytest.mark.parametrize(
    ("error", "last"),
    [
        (SystemExit("a message"), "a message"),
        (KeyError("a"), "KeyError: 'a'"),
        (KeyboardInterrupt(), "Interrupt"),
    ],
)
def test_an_error_is_reported(error: BaseException, last: str):
    code, output = end_of(error)

    assert code == 1
    assert output.rstrip().endswith(last)


def test_streams_that_cannot_be_flushed_do_not_keep_it():
    class Broken:
        def flush(self) -> Any:
            raise ValueError("closed")

    pid = os.fork()
    if pid == 0:
        sys.stdout = Broken()  # type: ignore[assignment]
        leave(None)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
