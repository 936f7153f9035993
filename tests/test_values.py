"""Values: made, compared, shown and taken apart as dataclasses are."""

import pytest

from appserve.values import Value


class Point(Value):
    """A value with a default and a property."""

    x: int
    y: int = 0

    @property
    def sum(self) -> int:
        return self.x + self.y


class Other(Value):
    x: int
    y: int = 0


class Empty(Value):
    pass


def test_fields_are_given_by_position_or_by_name_or_have_a_default() -> None:
    assert (Point(1, 2).x, Point(1, y=2).y, Point(x=1).y) == (1, 2, 0)
    assert Point(1, 2).sum == 3
    assert Point(1).fields() == {"x": 1, "y": 0}
    assert Empty().fields() == {}


@pytest.mark.parametrize(("values", "named"), [((), {}), ((1, 2, 3), {}), ((1,), {"x": 1}), ((1,), {"z": 1})])
def test_other_fields_are_refused(values: tuple[int, ...], named: dict[str, int]) -> None:
    with pytest.raises(TypeError, match="Point takes x, y"):
        Point(*values, **named)


def test_equal_are_those_of_one_type_that_hold_the_same() -> None:
    assert Point(1) == Point(1, 0)
    assert hash(Point(1)) == hash(Point(1, 0))
    assert Point(1) != Point(2)
    assert Point(1) != Other(1)
    assert Empty() == Empty()


def test_a_value_never_changes() -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match="never changes"):
        point.x = 2  # type: ignore[misc]
    assert point.replace(y=5) == Point(1, 5)
    assert point == Point(1)


def test_it_says_what_it_holds() -> None:
    assert repr(Point(1, 2)) == "Point(x=1, y=2)"
    assert repr(Empty()) == "Empty()"


def test_it_is_matched_by_its_fields() -> None:
    match Point(1, 2):
        case Other():
            found = 0
        case Point(1, second):
            found = second
    assert found == 2
