import pytest

from appserve.http.deadlines import Patience, Waiting, Watch

PATIENCE = Patience(idle=75, head=30, body=60, write=50)
LIMITS = {Waiting.IDLE: 75, Waiting.HEAD: 30, Waiting.BODY: 60, Waiting.READER: 50}

every_wait = pytest.mark.parametrize("waiting", list(LIMITS))


@every_wait
def test_a_wait_may_last_as_long_as_it_is_allowed(waiting: Waiting):
    watch = Watch()

    assert not watch.overdue(waiting, 0, 100.0, PATIENCE)
    assert not watch.overdue(waiting, 0, 100.0 + LIMITS[waiting], PATIENCE)
    assert watch.overdue(waiting, 0, 100.1 + LIMITS[waiting], PATIENCE)


@every_wait
def test_progress_begins_it_anew(waiting: Waiting):
    watch = Watch()
    assert not watch.overdue(waiting, 0, 0.0, PATIENCE)

    assert not watch.overdue(waiting, 1, 1000.0, PATIENCE)
    assert not watch.overdue(waiting, 1, 1000.0 + LIMITS[waiting], PATIENCE)
    assert watch.overdue(waiting, 1, 1001.0 + LIMITS[waiting], PATIENCE)


def test_another_wait_begins_anew_with_the_same_mark():
    watch = Watch()
    assert not watch.overdue(Waiting.IDLE, 0, 0.0, PATIENCE)

    assert not watch.overdue(Waiting.HEAD, 0, 1000.0, PATIENCE)
    assert watch.overdue(Waiting.HEAD, 0, 1031.0, PATIENCE)


def test_time_in_the_application_is_never_the_peers_fault():
    watch = Watch()

    assert not any(watch.overdue(Waiting.APPLICATION, 0, now, PATIENCE) for now in (0.0, 1e6))


@every_wait
def test_0_is_for_ever(waiting: Waiting):
    watch = Watch()

    assert not any(watch.overdue(waiting, 0, now, Patience(0, 0, 0, 0)) for now in (0.0, 1e9))
