import pytest

from appserve.http.forwarded import ALL_HEADERS, USUAL_HEADERS, check_headers


@pytest.mark.parametrize("headers", [(), USUAL_HEADERS, ALL_HEADERS[:-1], ("forwarded",), ("forwarded",) * 2])
def test_fields_of_one_kind_are_accepted(headers: tuple[str, ...]):
    check_headers(headers)


@pytest.mark.parametrize("header", ALL_HEADERS[:-1])
def test_the_two_kinds_of_fields_exclude_each_other(header: str):
    with pytest.raises(ValueError, match=r"^expected either forwarded or x-forwarded-.* fields: "):
        check_headers([header, "forwarded"])


@pytest.mark.parametrize("header", ["", "x-real-ip", "X-Forwarded-For", "x_forwarded_for"])
def test_the_error_of_an_unknown_field_names_the_known_ones(header: str):
    with pytest.raises(ValueError, match=r"^expected x-forwarded-for, .*x-forwarded-prefix or forwarded$"):
        check_headers([header])
