"""`wsgi.file_wrapper` (PEP 3333 "Optional Platform-Specific File Handling"), and the files behind it.

A wrapper that reaches the server as it was made, around a regular file, is not read by us: the kernel sends
the file (net/sendfile.py). Any other is an iterable of blocks like those of any application.
"""

import io
import os
import stat
import tempfile
from typing import Any, Protocol

from appserve.net.sendfile import FilePart


class Readable(Protocol):
    """What an application may hand to the wrapper."""

    def read(self, size: int, /) -> bytes: ...


class FileWrapper:
    """Turns a file-like object into blocks of `block_size` bytes, and closes it with the response.

    It can be moved like its file, if that can: what sends a range of it need not read the bytes before.
    """

    def __init__(self, file: Readable, block_size: int = 65536) -> None:
        self.file: Any = file
        self.block_size = block_size

    def __iter__(self) -> "FileWrapper":
        return self

    def __next__(self) -> bytes:
        block: bytes = self.file.read(self.block_size)
        if block:
            return block
        raise StopIteration

    def seekable(self) -> bool:
        """Whether `seek` and `tell` will do."""
        seekable = getattr(self.file, "seekable", None)
        return bool(seekable()) if seekable is not None else hasattr(self.file, "seek")

    def seek(self, *arguments: int) -> None:
        """Move, as files do."""
        self.file.seek(*arguments)

    def tell(self) -> int:
        """The position, as files give it."""
        position: int = self.file.tell()
        return position

    def close(self) -> None:
        """Close the file, if it can be closed."""
        close = getattr(self.file, "close", None)
        if close is not None:
            close()


def find_part(file: object) -> FilePart | None:
    """What `file` would give if it were read to its end, None if only reading can tell.

    The application may close `file` at once; the caller closes the part.
    """
    try:
        position = _position(file)
        if position is None:
            return None
        fd, offset = position
        status = os.fstat(fd)
        size = status.st_size - offset
        # A file of /proc says that it is empty, and is not.
        if not stat.S_ISREG(status.st_mode) or size <= 0:
            return None
        return FilePart(os.dup(fd), offset, size)
    except (OSError, ValueError):
        return None  # closed, detached, or there is no descriptor left


def _position(file: Any) -> tuple[int, int] | None:
    """(descriptor, offset) of a file object whose read() is known to give the bytes of its descriptor.

    Not so many have that: the fileno() of a gzip.GzipFile is that of the compressed file, and what a class
    of the application does is not known. So the type itself counts, not what it can do.
    """
    if type(file) is tempfile._TemporaryFileWrapper:
        file = file.file
    if type(file) is io.BufferedRandom:
        file.flush()  # what was written and is still in the buffer
    elif type(file) is not io.BufferedReader and type(file) is not io.FileIO:
        return None
    if type(file) is not io.FileIO and type(file.raw) is not io.FileIO:
        return None
    return (file.fileno(), file.tell()) if file.readable() else None
