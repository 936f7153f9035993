"""When a worker that is not ready is looked at."""

import math

from appserve.master.stalls import LONGEST_WRITING, LOOK_AFTER, WRITING, BootWatch, Step

BORN = 100.0


def test_it_is_looked_at_after_ten_seconds_and_at_its_timeout():
    watch = BootWatch(BORN, 30.0)
    looks = []
    for _ in range(2):
        looks.append(watch.next_at() - BORN)
        assert watch.step(watch.next_at() - 0.01) is None
        assert watch.step(watch.next_at()) is Step.DUMP
        assert watch.step(watch.next_at()) is Step.READ
        watch.done()

    assert looks == [LOOK_AFTER, 30.0]
    assert watch.next_at() == math.inf
    assert watch.step(1e9) is None


def test_without_a_timeout_it_is_looked_at_once():
    watch = BootWatch(BORN, 0.0)
    assert watch.step(BORN + LOOK_AFTER) is Step.DUMP
    watch.done()

    assert watch.next_at() == math.inf


def test_the_wait_for_stacks_is_bounded():
    watch = BootWatch(BORN, 0.0)
    now = BORN + LOOK_AFTER
    watch.step(now)

    steps = []
    while now < BORN + LOOK_AFTER + LONGEST_WRITING:
        assert watch.next_at() > now
        now = watch.next_at()
        steps.append(watch.step(now))

    assert set(steps[:-1]) == {Step.READ}
    assert steps[-1] is Step.LAST_READ
    assert len(steps) <= LONGEST_WRITING / WRITING + 2
