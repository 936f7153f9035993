"""`wsgi.file_wrapper` (PEP 3333 "Optional Platform-Specific File Handling")."""

from collections.abc import Iterator
from typing import Protocol


class Readable(Protocol):
    """What an application may hand to the wrapper."""

    def read(self, size: int, /) -> bytes: ...


class FileWrapper:
    """Turns a file-like object into blocks of `block_size` bytes, and closes it with the response."""

    def __init__(self, file: Readable, block_size: int = 65536) -> None:
        self.file = file
        self.block_size = block_size

    def __iter__(self) -> Iterator[bytes]:
        while block := self.file.read(self.block_size):
            yield block

    def close(self) -> None:
        """Close the file, if it can be closed."""
        close = getattr(self.file, "close", None)
        if close is not None:
            close()
