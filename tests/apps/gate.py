"""A meeting of two requests, for applications that must not go on before a client has said so.

The one that streams waits at the gate, the other opens it. A gate is a named pipe, so the two may run in
different processes, and neither polls.
"""

import os


def make_gate(path: str) -> None:
    os.mkfifo(path)


def wait_at(path: str) -> None:
    """Returns when the gate is opened; at once if another waits to open it."""
    with open(path, "rb"):
        pass


def open_gate(path: str) -> None:
    """Returns when another waits at the gate."""
    with open(path, "wb"):
        pass
