import http

from appserve.http.status import REASONS, STATUS_LINES


def test_every_code_of_three_digits_has_a_status_line():
    assert list(range(100, 1000)) == list(STATUS_LINES)
    assert STATUS_LINES[200] == b"HTTP/1.1 200 OK\r\n"
    assert STATUS_LINES[413] == b"HTTP/1.1 413 Content Too Large\r\n"
    assert STATUS_LINES[599] == b"HTTP/1.1 599 \r\n"


def test_every_code_that_python_knows_has_a_reason():
    assert {status.value for status in http.HTTPStatus} <= set(REASONS)
