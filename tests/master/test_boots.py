"""When the master looks at a worker that is not ready."""

from appserve.master.stalls import LOOK_AFTER, WRITING, Look, boot_looks

BORN = 100.0


def test_it_is_looked_at_after_ten_seconds_and_at_its_timeout():
    assert boot_looks(BORN, 30.0) == [
        Look(BORN + LOOK_AFTER, False),
        Look(BORN + LOOK_AFTER + WRITING, True),
        Look(BORN + 30.0, False),
        Look(BORN + 30.0 + WRITING, True),
    ]


def test_without_a_timeout_it_is_looked_at_once():
    assert [look.at - BORN for look in boot_looks(BORN, 0.0)] == [LOOK_AFTER, LOOK_AFTER + WRITING]
