"""Waits for changes of files: by watchfiles where that is installed, else by a look at all of them.

It runs in a process of its own, and writes the path of a changed file into a pipe, a line each. It ends when
the other end of the pipe is closed.
"""

import os
import select
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from importlib import import_module
from typing import Any

from appserve.values import Value

INTERVAL = 0.25
"""Seconds between two looks."""

ALWAYS_EXCLUDED = (".*", "__pycache__", "node_modules")
"""Files and folders that no application is made of, and that are many."""

Snapshot = dict[str, tuple[int, int, int]]
"""Of each file what changes when it is written or replaced."""


class Watched(Value):
    """What is watched.

    folders   with all folders below them, but not virtual environments
    include   patterns of the names of files
    exclude   patterns of the names of files and folders, and paths
    files     beside these
    """

    folders: tuple[str, ...]
    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def has(self, path: str) -> bool:
        """Whether a change of this file counts, as far as its name says."""
        if path in self.files:
            return True
        name = os.path.basename(path)
        return any(fnmatch(name, pattern) for pattern in self.include) and not self.is_excluded(path)

    def is_excluded(self, path: str) -> bool:
        name = os.path.basename(path)
        patterns = (*ALWAYS_EXCLUDED, *self.exclude)
        return any(fnmatch(name, pattern) or fnmatch(path, pattern) for pattern in patterns)


def watch(watched: Watched, pipe: int) -> int:
    """Write the path of each changed file into `pipe` until it is not read any more; gives the exit code."""
    try:
        for path in _changes(watched, lambda: _is_read(pipe)):
            os.write(pipe, f"{path}\n".encode(errors="replace"))
    except BrokenPipeError:
        pass
    return 0


def _is_read(pipe: int) -> bool:
    poll = select.poll()
    poll.register(pipe, 0)
    return not poll.poll(0)  # POLLERR when the last reader has closed its end


def _changes(watched: Watched, goes_on: Callable[[], bool]) -> Iterator[str]:
    try:
        watchfiles: Any = import_module("watchfiles")
    except ImportError:
        yield from _changes_by_looks(watched, goes_on)
        return
    roots = [*watched.folders, *watched.files]
    changes = watchfiles.watch(
        *roots, watch_filter=lambda _, path: _is_below(watched, path), rust_timeout=250, yield_on_timeout=True
    )
    for found in changes:
        if not goes_on():
            return
        yield from sorted(path for _, path in found)[:1]


def _is_below(watched: Watched, path: str) -> bool:
    """As has(), also of the folders on the way: watchfiles reports what is below an excluded one."""
    if not watched.has(path):
        return False
    root = next((folder for folder in watched.folders if path.startswith(folder + os.sep)), "")
    parts = path.removeprefix(root + os.sep).split(os.sep)[:-1] if root else []
    above = (os.path.join(root, *parts[: depth + 1]) for depth in range(len(parts)))
    return not any(map(watched.is_excluded, above))


def _changes_by_looks(watched: Watched, goes_on: Callable[[], bool]) -> Iterator[str]:
    before = look(watched)
    while goes_on():
        time.sleep(INTERVAL)
        now = look(watched)
        if now != before:
            yield min(path for path, _ in before.items() ^ now.items())
        before = now


def look(watched: Watched) -> Snapshot:
    """What there is now."""
    found: Snapshot = {}
    folders = list(watched.folders)
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:
            continue  # it was removed, or must not be read
        for entry in entries:
            try:
                if entry.is_dir():
                    if not watched.is_excluded(entry.path) and not _is_environment(entry.path):
                        folders += [entry.path] if not entry.is_symlink() else []
                elif watched.has(entry.path):
                    found[entry.path] = _state(entry.stat())
            except OSError:
                continue
    for path in watched.files:
        try:
            found[path] = _state(os.stat(path))
        except OSError:
            continue
    return found


def _is_environment(folder: str) -> bool:
    return os.path.exists(os.path.join(folder, "pyvenv.cfg"))


def _state(found: os.stat_result) -> tuple[int, int, int]:
    return (found.st_mtime_ns, found.st_size, found.st_ino)
