"""The bucket of the scoreboard's histogram that a duration falls into."""

from appserve.observe.scoreboard import LATENCY_BUCKETS


def latency_bucket(seconds: float) -> int:
    """Bucket n holds the durations of at least 2**(n-1) and less than 2**n µs."""
    return min(int(seconds * 1e6).bit_length(), LATENCY_BUCKETS - 1)
