import pytest

from appserve.http.response import Framing, response_framing


@pytest.mark.parametrize("length", [-1, 0, 5])
@pytest.mark.parametrize("is_1_1", [True, False])
@pytest.mark.parametrize(("is_head", "status"), [(True, 200), (False, 204), (False, 304), (True, 304)])
def test_some_responses_have_no_body_whatever_is_announced(
    is_head: bool, status: int, is_1_1: bool, length: int
):
    assert Framing.NONE is response_framing(is_head, is_1_1, status, length)


def test_a_length_delimits_a_body_in_both_versions():
    assert Framing.LENGTH is response_framing(False, True, 200, 0)
    assert Framing.LENGTH is response_framing(False, False, 404, 5)


def test_without_one_it_is_chunked_or_the_end_of_the_connection():
    assert Framing.CHUNKED is response_framing(False, True, 200, -1)
    assert Framing.CLOSE is response_framing(False, False, 200, -1)
