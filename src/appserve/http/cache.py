"""A memory of what was judged before: bounded, and without an order to keep."""

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

REMEMBERED = 1024
"""How many entries a memory holds before it starts anew."""


def remember(memory: dict[K, V], key: K, value: V) -> None:
    """Keep `value`, within bounds. Starting anew costs every key one more judgement, and needs no order."""
    if len(memory) >= REMEMBERED:
        memory.clear()
    memory[key] = value
