"""The kinds of values: how each is read from a text, read from TOML, checked and shown.

A kind knows one sort of value: `read` takes what a flag or an environment variable holds (always a text),
`read_toml` what a TOML file holds (already typed, and checked strictly: true is not a number). Both raise
ValueError with a message that says what was expected; the caller adds where the value came from.
`show` is the way back, a text that `read` takes; `show_toml` the same for TOML.

Adding a kind? `explain` says on the settings page how a value is written. The kinds are plain classes and
not dataclasses because every start of the server makes them, and a dataclass costs half a millisecond.
"""

import re
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")

YEAR = 365 * 86400.0

_UNITS_OF_TIME = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_UNITS_OF_SIZE = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


class ValueType(Protocol[T]):
    """One sort of value."""

    @property
    def metavar(self) -> str:
        """What stands for the value in --help; empty when the flag takes none."""

    @property
    def explain(self) -> str:
        """How the value is written, in a few words for the settings page."""

    def read(self, text: str) -> T: ...

    def read_toml(self, value: object) -> T: ...

    def show(self, value: T) -> str: ...

    def show_toml(self, value: T) -> str: ...


def suggest(name: str, known: list[str], *, cutoff: float = 0.6) -> str:
    """` (did you mean "workers"?)`, or an empty text when nothing is near."""
    from difflib import get_close_matches  # imported only for an error

    near = get_close_matches(name, known, 1, cutoff)
    return f' (did you mean "{near[0]}"?)' if near else ""


def quote_toml(text: str) -> str:
    """A basic string of TOML (also a good way to show any text of unknown origin on one line)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else _escape_toml(c) for c in escaped) + '"'


def _escape_toml(character: str) -> str:
    short = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}
    return short.get(character) or (
        f"\\u{ord(character):04X}" if ord(character) < 0x10000 else f"\\U{ord(character):08X}"
    )


class Whole:
    """A whole number within bounds."""

    metavar = "NUMBER"

    def __init__(self, at_least: int = 0, at_most: int = 2**31 - 1) -> None:
        self.at_least = at_least
        self.at_most = at_most

    @property
    def explain(self) -> str:
        if self.at_most == 2**31 - 1:
            return f"a whole number, at least {self.at_least}"
        return f"a whole number from {self.at_least} to {self.at_most}"

    def read(self, text: str) -> int:
        # int() alone would take "1_000", " 1" and the digits of every script.
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text, re.ASCII):
            raise ValueError("expected a whole number")
        return self._within(int(text))

    def read_toml(self, value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            return self._within(value)
        raise ValueError("expected a whole number")

    def _within(self, number: int) -> int:
        if number < self.at_least:
            raise ValueError(f"expected a whole number that is at least {self.at_least}")
        if number > self.at_most:
            raise ValueError(f"expected a whole number that is at most {self.at_most}")
        return number

    def show(self, value: int) -> str:
        return str(value)

    show_toml = show


class Seconds:
    """A duration: seconds as a float, zero or more, and finite."""

    metavar = "SECONDS"
    explain = 'seconds (`30`, `2.5`), or a number with a unit (`"500ms"`, `"30s"`, `"5m"`, `"1h"`)'

    def read(self, text: str) -> float:
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ms|s|m|h|)", text, re.ASCII)
        if not found:
            raise ValueError("expected a number of seconds, such as 30, 2.5 or 5m")
        return self._within(float(found[1]) * _UNITS_OF_TIME[found[2] or "s"])

    def read_toml(self, value: object) -> float:
        # A number in quotes is a mistake; a text with a unit is how TOML can hold one.
        if isinstance(value, str) and value[-1:].isalpha():
            return self.read(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._within(value)
        raise ValueError('expected a number of seconds, such as 30, 2.5 or "5m"')

    def _within(self, seconds: float) -> float:
        if 0 <= seconds <= YEAR:  # neither infinity nor nan is
            return float(seconds)
        raise ValueError("expected a number of seconds from 0 to 31536000 (a year)")

    def show(self, value: float) -> str:
        return f"{value:.15g}"

    show_toml = show


class Size:
    """A number of bytes."""

    metavar = "BYTES"

    def __init__(self, at_least: int = 0) -> None:
        self.at_least = at_least

    @property
    def explain(self) -> str:
        return f'bytes (`8190`), at least {self.at_least}, or with a unit of 1024 (`"64K"`, `"10M"`, `"1G"`)'

    def read(self, text: str) -> int:
        found = re.fullmatch(r"([0-9]{1,18})([KMG]?)", text.upper(), re.ASCII)
        if not found:
            raise ValueError("expected a number of bytes, such as 8190, 64K, 10M or 1G")
        return self._within(int(found[1]) * _UNITS_OF_SIZE[found[2]])

    def read_toml(self, value: object) -> int:
        if isinstance(value, str) and value[-1:].isalpha():
            return self.read(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return self._within(value)
        raise ValueError('expected a number of bytes, such as 8190, "64K", "10M" or "1G"')

    def _within(self, size: int) -> int:
        if size < self.at_least:
            raise ValueError(f"expected a number of bytes that is at least {self.at_least}")
        if size > 2**62:
            raise ValueError("expected a number of bytes that is at most 2^62")
        return size

    def show(self, value: int) -> str:
        for unit in "GMK":
            count, rest = divmod(value, _UNITS_OF_SIZE[unit])
            if count and not rest:
                return f"{count}{unit}"
        return str(value)

    def show_toml(self, value: int) -> str:
        shown = self.show(value)
        return shown if shown.isdigit() else quote_toml(shown)


class Boolean:
    """True or false; on the command line a flag without a value, and its --no- twin."""

    metavar = ""
    explain = "`true` or `false`"

    def read(self, text: str) -> bool:
        lowered = text.lower()
        if lowered in _TRUE:
            return True
        if lowered in _FALSE:
            return False
        raise ValueError("expected true or false")

    def read_toml(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        raise ValueError("expected true or false (without quotes)")

    def show(self, value: bool) -> str:
        return "true" if value else "false"

    show_toml = show


class _Word:
    """What is shown as it is."""

    def show(self, value: str) -> str:
        return value

    def show_toml(self, value: str) -> str:
        return quote_toml(value)


class Choice(_Word):
    """One of a few words; upper and lower case are the same. `also` holds other spellings, `metavar` what
    stands for words that are too many to be listed."""

    def __init__(
        self, options: tuple[str, ...], also: Mapping[str, str] | None = None, metavar: str = ""
    ) -> None:
        self.options = options
        self.also = also or {}
        self.metavar = metavar or "|".join(options)
        self.explain = "one of " + ", ".join(f"`{option}`" for option in options)

    def read(self, text: str) -> str:
        lowered = self.also.get(text, text.lower())
        if lowered in self.options:
            return lowered
        raise ValueError(self._expected() + suggest(lowered, list(self.options)))

    def read_toml(self, value: object) -> str:
        if isinstance(value, str):
            return self.read(value)
        raise ValueError(self._expected())

    def _expected(self) -> str:
        return f"expected {', '.join(self.options[:-1])} or {self.options[-1]}"


class Text(_Word):
    """A text on one line. `refine` gives it in its usual form, or raises ValueError. A secret is
    not printed with the other settings; a path starts from where the server was started, wherever it goes."""

    def __init__(
        self,
        metavar: str = "TEXT",
        explain: str = "a text",
        refine: Callable[[str], str] | None = None,
        *,
        secret: bool = False,
        is_path: bool = False,
    ) -> None:
        self.secret = secret
        self.is_path = is_path
        self.metavar = metavar
        self.explain = explain
        self.refine = refine

    def read(self, text: str) -> str:
        if not text:
            raise ValueError("expected a text, not an empty value")
        if not text.isprintable():
            raise ValueError("expected a text without control characters")
        return text if self.refine is None else self.refine(text)

    def read_toml(self, value: object) -> str:
        if isinstance(value, str):
            return self.read(value)
        raise ValueError("expected a text (in quotes)")


class Several(Generic[T]):
    """A list: a flag given again and again, commas in an environment variable, `[...]` in TOML.

    With `commas` they separate on the command line as well, and the word none stands for an empty list.
    """

    def __init__(self, item: ValueType[T], *, commas: bool = False) -> None:
        self.item = item
        self.commas = commas
        self.metavar = item.metavar
        separated = (
            "commas separate, `none` is nothing, a flag can be given again"
            if commas
            else "a flag can be given again, an environment variable separates with commas"
        )
        self.explain = f"{item.explain}; {separated}, TOML takes a list"

    def read(self, text: str) -> tuple[T, ...]:
        if self.commas and text.strip().lower() == "none":
            return ()
        return tuple(self.item.read(one.strip()) for one in text.split(","))

    def read_flag(self, text: str) -> tuple[T, ...]:
        """What one of several flags holds."""
        return self.read(text) if self.commas else (self.item.read(text),)

    def read_toml(self, value: object) -> tuple[T, ...]:
        values = value if isinstance(value, list) else [value]
        return tuple(self.item.read_toml(one) for one in values)

    def show(self, value: tuple[T, ...]) -> str:
        return ",".join(self.item.show(one) for one in value)

    def show_toml(self, value: tuple[T, ...]) -> str:
        return "[" + ", ".join(self.item.show_toml(one) for one in value) + "]"
