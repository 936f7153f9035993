"""The ways in which bytes are cut into the pieces that a connection receives."""

import random
from collections.abc import Iterator

ALL = 1200
"""Up to so many bytes every cut is tried; of longer ones those near line ends, the ends, and some others."""


def in_two(data: bytes, seed: str) -> Iterator[tuple[bytes, bytes]]:
    """Every cut into two pieces, or of long data those that may matter."""
    points: list[int] | range = range(1, len(data))
    if len(data) > ALL:
        chosen = {*range(1, 100), *range(len(data) - 100, len(data))}
        ends = [at for at in range(len(data)) if data[at : at + 2] == b"\r\n"]
        chosen.update(end + step for end in ends[:5] + ends[-5:] for step in range(-1, 4))
        chosen.update(random.Random(seed).sample(range(1, len(data)), 40))
        points = sorted(point for point in chosen if 0 < point < len(data))
    for point in points:
        yield data[:point], data[point:]


def byte_by_byte(data: bytes) -> list[bytes]:
    """Single bytes; of long data the middle in larger, odd pieces."""
    if len(data) <= ALL:
        return [data[at : at + 1] for at in range(len(data))]
    edge = ALL // 2
    middle = [data[at : min(at + 97, len(data) - edge)] for at in range(edge, len(data) - edge, 97)]
    return [*byte_by_byte(data[:edge]), *middle, *byte_by_byte(data[-edge:])]


def seeded(data: bytes, seed: str) -> tuple[bytes, bytes]:
    """One cut into two, always the same for one `seed`."""
    point = random.Random(seed).randrange(1, len(data)) if len(data) > 1 else len(data)
    return data[:point], data[point:]
