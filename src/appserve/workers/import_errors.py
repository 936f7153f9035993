"""What to log when the application cannot be imported: its own traceback, and a guess at what was meant."""

import os
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from types import ModuleType
from typing import Any

from appserve.config.convert import suggest
from appserve.errors import AppImportError
from appserve.tracebacks import application_traceback, has_application_frames


def explain(name: str, error: BaseException) -> AppImportError:
    """Why the module `name` could not be imported."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    # A module that the application itself fails to find has one of the application's frames.
    if missing and _is_at(missing, name) and not has_application_frames(error):
        return AppImportError(_not_found(name, missing))
    advice = f" (is it installed for {sys.executable}?)" if missing else ""
    return AppImportError(f'cannot import "{name}": {headline(error)}{advice}', application_traceback(error))


def headline(error: BaseException) -> str:
    """What was raised, on one line."""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({'' if error.code is None else repr(error.code)[:100]})"
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    try:
        text = str(error)
    except Exception:
        text = ""
    first = next(iter(text.splitlines()), "")[:300]
    return f"{type(error).__name__}: {first}" if first else f"it raised {type(error).__name__}"


def path_hint(module: str, rest: str) -> str:
    """What to write instead when a file was named and not a module; empty when it looks like a module."""
    if "/" not in module and not (module.endswith(".py") and os.path.isfile(module)):
        return ""
    path = os.path.normpath(module)
    if not path.endswith(".py"):
        path += ".py"
    if not os.path.isfile(path):
        return f'it is a path, not a module, and there is no such file; write the module, as in "main{rest}"'
    folder, file = os.path.split(path)
    names = [file.removesuffix(".py")]
    while folder and os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, name = os.path.split(folder)
        names.insert(0, name)
    if len(names) > 1 and names[-1] == "__init__":
        names.pop()
    flag = f"--app-dir {folder} " if folder else ""
    return f"it is a file, not a module; write {flag}{'.'.join(names)}{rest}"


def no_attribute(module: object, holder: object, place: str, name: str) -> str:
    """The message for a missing attribute of `holder`, which is at `place` in a module, with what is there
    instead."""
    hint = suggest(name, [one for one in dir(holder) if not one.startswith("_")])
    return f'"{place}"{_origin(module)} has no attribute "{name}"{hint}'


def no_usual_name(module: Any, name: str, usual: Sequence[str]) -> str:
    """The message for a module that was named alone and has neither of the usual attributes."""
    hint = f"write {name}:ATTRIBUTE"
    return f'"{name}"{_origin(module)} has neither "{usual[0]}" nor "{usual[1]}" ({hint})'


def _origin(module: object) -> str:
    """Which file was imported: it may not be the one that was meant. Packages without a file have folders."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        file = next(iter(getattr(module, "__path__", ())), None)
    return f" ({file})" if isinstance(file, str) else ""


def not_callable(found: object, name: str) -> str:
    """What is wrong with an object that cannot be called."""
    if isinstance(found, ModuleType):
        return f"it is a module; write {found.__name__}:ATTRIBUTE"
    if found is None:
        return "it is None" + ("; does the factory return its application?" if name.endswith(")") else "")
    return f"it is of type {type(found).__name__}, which cannot be called"


def _is_at(missing: str, name: str) -> bool:
    """Whether `missing` is the module `name` or a package that holds it."""
    return name == missing or name.startswith(missing + ".")


def _not_found(name: str, missing: str) -> str:
    holder, _, last = missing.rpartition(".")
    if holder:
        return f'cannot import "{name}": {_not_in_package(holder, last)}'
    folders = _searched()
    looked = ", ".join(folders)
    hint = suggest(last, sorted({one for folder in folders for one in _modules(folder)}))
    return f'cannot import "{name}": there is no module "{last}" in {looked}{hint}'


def _not_in_package(holder: str, last: str) -> str:
    package = sys.modules.get(holder)
    if package is not None and hasattr(package, last):
        return f'"{last}" is not a module; did you mean "{holder}:{last}"?'
    if not hasattr(package, "__path__"):
        return f'"{holder}" is a module and not a package; an attribute follows a colon, as in {holder}:app'
    names = {one for folder in getattr(package, "__path__", ()) for one in _modules(folder)}
    near = get_close_matches(last, sorted(names), 1)
    hint = f' (did you mean "{holder}.{near[0]}"?)' if near else ""
    return f'there is no module "{last}" in the package "{holder}"{hint}'


def _searched() -> list[str]:
    """The folders that hold applications: those put in front of sys.path, ending with the current one."""
    here = os.getcwd()
    return sys.path[: sys.path.index(here) + 1] if here in sys.path else [here]


def _modules(folder: str) -> Iterator[str]:
    """Names that could be imported from a folder."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name, extension = os.path.splitext(entry.name)
                if name.isidentifier() and (extension == ".py" or (not extension and entry.is_dir())):
                    yield name
    except OSError:
        return
