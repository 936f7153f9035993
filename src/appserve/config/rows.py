"""A row of the table of settings: its flag, its variable, how it is shown, what applies a change.

The table itself is in config/settings.py.
"""

import os
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, TypeVar, cast

from appserve.config.convert import Boolean, Seconds, Several, Text, ValueType
from appserve.values import Value

T = TypeVar("T")


class Applies(Enum):
    """What has to be restarted before a changed setting takes effect."""

    WORKERS = "new workers"  # a reload is enough
    LISTENERS = "listeners"  # bound once, when the server starts
    RESTART = "restart"  # held by the master for its whole life


_NO_PATHS = ("-", "none")  # of a log: a standard stream, and no log at all


class FromPlatform(Value):
    """An environment variable that hosting platforms set: it stands for the default."""

    variable: str
    read: Callable[[str], Any]
    effect: str  # what it makes of the default, for help


class Row(Value):
    """One setting, as everything that is derived from it sees it."""

    name: str
    default: Any
    kind: ValueType[Any]
    help: str  # a sentence or two for --help
    example: Any  # what the example file shows when the default is empty
    group: str = ""
    more: str = ""  # further text for the settings page and the example file
    applies: Applies = Applies.WORKERS
    short: str = ""  # "-w", or empty
    also: tuple[str, ...] = ()  # other spellings of the flag
    positional: str = ""  # its name in --help, for the one setting that needs no flag
    in_file: bool = True
    platform: FromPlatform | None = None
    empty: str = "none"  # what an empty default means, for people

    def __set_name__(self, owner: type, name: str) -> None:
        self.__dict__["name"] = name

    def __get__(self, settings: object, owner: type) -> Any:
        """The default, of settings that were given no other value; the row itself, of the table."""
        return self if settings is None else self.default

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def flags(self) -> tuple[str, ...]:
        """Every spelling on the command line, the long one first."""
        if self.positional:
            return ()
        return (self.flag, *self.also, *([self.short] if self.short else []))

    @property
    def off_flag(self) -> str:
        """The flag that negates a Boolean; else empty."""
        return "--no-" + self.name.replace("_", "-") if isinstance(self.kind, Boolean) else ""

    @property
    def variable(self) -> str:
        return "APPSERVE_" + self.name.upper()

    @property
    def repeated(self) -> Several[Any] | None:
        """The kind of a list, whose flag can be given again."""
        return self.kind if isinstance(self.kind, Several) else None

    def read_flag(self, earlier: Any, text: str) -> Any:
        """What a flag holds; in a list it is added to what the flag held before."""
        several = self.repeated
        return (*earlier, *several.read_flag(text)) if several else self.kind.read(text)

    def show(self, value: object) -> str:
        """A value as one line for people, an empty one as its meaning in brackets, a secret masked."""
        item = self.repeated.item if self.repeated else self.kind
        if value and isinstance(item, Text):
            shown = cast("tuple[str, ...]", value if self.repeated else (value,))
            return ",".join(map(item.hide, shown))
        return self.kind.show(value) or f"({self.empty})"

    def anchored(self, value: Any, folder: str) -> Any:
        """A value whose relative paths start from `folder`, with absolute paths."""
        item = self.repeated.item if self.repeated else self.kind
        if not value or value in _NO_PATHS or not (isinstance(item, Text) and item.is_path):
            return value
        if self.repeated:
            return tuple(os.path.join(folder, one) for one in value)
        return os.path.join(folder, value)

    @property
    def is_secret(self) -> bool:
        """Whether the value must not be shown or logged."""
        return isinstance(self.kind, Text) and self.kind.secret

    @property
    def default_shown(self) -> str:
        """The default as one line for people."""
        shown = self.kind.show(self.default) or self.empty
        return f"{shown}, or {self.platform.effect}" if self.platform else shown


_KINDS: dict[type, ValueType[Any]] = {bool: Boolean(), float: Seconds()}


def setting(default: T, text: str, kind: ValueType[T] | None = None, **facts: Any) -> T:
    """A row of the table; `facts` are its other fields."""
    facts.setdefault("example", default)
    kind = kind or _KINDS[type(default)]
    row = Row(name="", default=default, kind=kind, help=text, **facts)  # __set_name__ knows the name
    return cast("T", row)  # as an attribute of settings it is its default


def rows_of(table: type[Value]) -> Iterator[Row]:
    """The rows of a table. A row without a group belongs to the group of the row before it."""
    group = ""
    for name in table.__match_args__:
        row: Row = getattr(table, name)
        group = row.group or group
        yield row.replace(group=group)
