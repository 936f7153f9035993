from hypothesis import given
from hypothesis import strategies as st

from appserve.connection.eviction import LOG_INTERVAL, Evictable, EvictionLog, choose

IDLE, HEAD = Evictable.IDLE, Evictable.HEAD


def test_idle_connections_go_first_then_incomplete_heads_the_oldest_of_each():
    candidates = [(HEAD, 1.0, "old head"), (IDLE, 9.0, "idle"), (HEAD, 5.0, "head"), (IDLE, 2.0, "old idle")]

    assert [[name for _, name in choose(candidates, count)] for count in range(6)] == [
        [],
        ["old idle"],
        ["old idle", "idle"],
        ["old idle", "idle", "old head"],
        ["old idle", "idle", "old head", "head"],
        ["old idle", "idle", "old head", "head"],
    ]


def test_of_those_not_seen_yet_the_first_that_is_given_goes_first():
    assert choose([(HEAD, float("inf"), object()) for _ in range(3)] + [(HEAD, 7.0, "seen")], 1) == [
        (HEAD, "seen")
    ]
    assert choose([(HEAD, float("inf"), 2), (HEAD, float("inf"), 1)], 1) == [(HEAD, 2)]


@given(st.lists(st.tuples(st.sampled_from(Evictable), st.floats(0, 100))), st.integers(0, 20))
def test_no_connection_stays_that_should_be_evicted_before_another(
    found: list[tuple[Evictable, float]], count: int
):
    gone = [number for _, number in choose(((*one, number) for number, one in enumerate(found)), count)]
    stay = set(range(len(found))) - set(gone)

    assert len(gone) == min(count, len(found))
    assert all(found[one] <= found[other] for one in gone for other in stay)


def test_what_was_closed_is_logged_once_a_minute_with_all_since():
    log = EvictionLog("worker 1 (pid 7)", 100)

    assert log.closed([IDLE] * 6, 5.0) == (
        "worker 1 (pid 7) reached --worker-connections (100); closed 6 idle connections"
    )
    assert log.closed([IDLE], 6.0) == ""
    assert log.not_accepting(7.0) == ""
    assert log.closed([HEAD, HEAD], 5.0 + LOG_INTERVAL) == (
        "worker 1 (pid 7) reached --worker-connections (100); "
        "closed 1 idle connection and 2 connections with an incomplete request head"
    )


def test_that_no_connection_could_be_closed_is_logged():
    log = EvictionLog("worker 1", 4)

    assert log.closed([], 0.0) == ""
    assert log.not_accepting(0.0) == "worker 1 reached --worker-connections (4); not accepting"
    assert log.closed([HEAD], LOG_INTERVAL).endswith("; closed 1 connection with an incomplete request head")
