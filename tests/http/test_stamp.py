from appserve.http.stamp import Stamp

MOMENT = 784111777.0
DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
SERVER = b"Server: appserve\r\n"


def test_it_is_the_date_and_the_server():
    stamp = Stamp(MOMENT)

    assert (stamp.date, stamp.server, stamp.date_server) == (DATE, SERVER, DATE + SERVER)


def test_it_is_right_until_the_next_second():
    stamp = Stamp(MOMENT + 0.999)
    before = stamp.date_server

    assert stamp.until == MOMENT + 1
    stamp.renew(MOMENT + 0.9999)
    assert before is stamp.date_server
    stamp.renew(MOMENT + 1)
    assert stamp.date == b"Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n"


def test_it_follows_a_clock_that_is_set_back():
    stamp = Stamp(MOMENT + 3600)
    stamp.renew(MOMENT)

    assert stamp.date_server == DATE + SERVER
