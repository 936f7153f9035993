import pytest

from appserve.http.forwarded import ALL_HEADERS, USUAL_HEADERS, check_headers


@pytest.mark.parametrize("headers", [(), USUAL_HEADERS, ALL_HEADERS[:-1], ("forwarded",), ("forwarded",) * 2])
def test_one_family_is_fine(headers: tuple[str, ...]):
    check_headers(headers)


@pytest.mark.parametrize("header", ALL_HEADERS[:-1])
def test_the_families_exclude_each_other(header: str):
    with pytest.raises(ValueError, match=r"^expected either forwarded or x-forwarded-.* fields: "):
        check_headers([header, "forwarded"])


@pytest.mark.parametrize("header", ["", "x-real-ip", "X-Forwarded-For", "x_forwarded_for"])
def test_a_field_that_is_not_known_is_told_the_known_ones(header: str):
    with pytest.raises(ValueError, match=r"^expected x-forwarded-for, .*x-forwarded-prefix or forwarded$"):
        check_headers([header])
