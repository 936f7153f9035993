"""How long tests run that try random things: short and the same in `make test`, long in `make soak`."""

import os

LONG = os.environ.get("SOAK") == "1"


def rounds(short: int, long: int) -> int:
    return long if LONG else short
