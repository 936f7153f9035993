import pytest

from appserve.http import stamp as module
from appserve.http.stamp import Stamp

MOMENT = 784111777.0
DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
SERVER = b"Server: appserve\r\n"


def test_it_is_the_date_and_the_server():
    stamp = Stamp(MOMENT)

    assert (stamp.server, stamp.date_server) == (SERVER, DATE + SERVER)


def test_it_is_right_until_the_next_second():
    stamp = Stamp(MOMENT + 0.999)
    before = stamp.date_server

    assert stamp.until == MOMENT + 1
    stamp.renew(MOMENT + 0.9999)
    assert before is stamp.date_server
    stamp.renew(MOMENT + 1)
    assert stamp.date_server == b"Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n" + SERVER


def test_it_follows_a_clock_that_is_set_back():
    stamp = Stamp(MOMENT + 3600)
    stamp.renew(MOMENT)

    assert stamp.date_server == DATE + SERVER


def test_no_thread_takes_the_old_second_for_the_new_one(monkeypatch: pytest.MonkeyPatch):
    """Between two of its steps another thread may look."""
    stamp = Stamp(MOMENT)
    seen = []

    def formatdate(second: int, *, usegmt: bool) -> str:
        seen.append((stamp.until, stamp.date_server))
        return "later"

    monkeypatch.setattr(module, "formatdate", formatdate)
    stamp.renew(MOMENT + 1)

    assert seen == [(MOMENT + 1, DATE + SERVER)], "it was said to be right before it was"
    assert (stamp.until, stamp.date_server) == (MOMENT + 2, b"Date: later\r\n" + SERVER)
