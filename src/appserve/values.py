"""Values: objects that are equal if they hold the same, and never change.

A subclass lists its fields as a dataclass does. `dataclasses` writes the source of six functions for each
class and compiles it, which takes half a millisecond: with fifty classes that was a fifth of the time from
exec to the first answer. Values share their functions. Those are slower to call, so what is made for each
request stays a dataclass.
"""

from typing import Any, Self, dataclass_transform


@dataclass_transform(frozen_default=True)
class Value:
    """The base of all of them; its fields are those of the subclass itself."""

    __match_args__: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        cls.__match_args__ = tuple(cls.__annotations__)  # type: ignore[misc]  # as dataclasses do

    def __init__(self, *values: Any, **named: Any) -> None:
        names = self.__match_args__
        given = dict(zip(names, values, strict=False))
        missing = [name for name in names if not (name in given or name in named or hasattr(self, name))]
        if missing or len(values) > len(names) or given.keys() & named.keys() or named.keys() - set(names):
            raise TypeError(f"{type(self).__name__} takes {', '.join(names)}; it got {values} and {named}")
        self.__dict__.update(given, **named)

    def replace(self, **named: Any) -> Self:
        """The same but for these fields."""
        return type(self)(**self.fields() | named)

    def fields(self) -> dict[str, Any]:
        """Each field's name and value, in order."""
        return {name: getattr(self, name) for name in self.__match_args__}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} never changes, so its {name} cannot be set")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.fields() == other.fields()

    def __hash__(self) -> int:
        return hash((type(self), *self.fields().values()))

    def __repr__(self) -> str:
        fields = (f"{name}={value!r}" for name, value in self.fields().items())
        return f"{type(self).__name__}({', '.join(fields)})"
