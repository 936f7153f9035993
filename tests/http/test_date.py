import pytest

from appserve.http import date as module
from appserve.http.date import DateFields

MOMENT = 784111777.0
DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
SERVER = b"Server: appserve\r\n"


def test_it_is_the_date_and_the_server():
    date_fields = DateFields(MOMENT)

    assert (date_fields.server, date_fields.date_server) == (SERVER, DATE + SERVER)


def test_it_is_right_until_the_next_second():
    date_fields = DateFields(MOMENT + 0.999)
    before = date_fields.date_server

    assert date_fields.until == MOMENT + 1
    date_fields.renew(MOMENT + 0.9999)
    assert before is date_fields.date_server
    date_fields.renew(MOMENT + 1)
    assert date_fields.date_server == b"Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n" + SERVER


def test_it_follows_a_clock_that_is_set_back():
    date_fields = DateFields(MOMENT + 3600)
    date_fields.renew(MOMENT)

    assert date_fields.date_server == DATE + SERVER


def test_no_thread_takes_the_old_second_for_the_new_one(monkeypatch: pytest.MonkeyPatch):
    """Between two of its steps another thread may look."""
    date_fields = DateFields(MOMENT)
    seen = []

    def formatdate(second: int, *, usegmt: bool) -> str:
        seen.append((date_fields.until, date_fields.date_server))
        return "later"

    monkeypatch.setattr(module, "formatdate", formatdate)
    date_fields.renew(MOMENT + 1)

    assert seen == [(MOMENT + 1, DATE + SERVER)], "it was said to be right before it was"
    assert (date_fields.until, date_fields.date_server) == (MOMENT + 2, b"Date: later\r\n" + SERVER)
