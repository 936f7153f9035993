from appserve.http.messages import Limits


def test_a_head_has_room_for_two_of_the_largest_lines_and_64_kib_at_least():
    assert Limits().head == 65536
    assert Limits(request_line=10, field_size=10).head == 65536
    assert Limits(request_line=30000, field_size=40000).head == 30000 + 2 * 40000
