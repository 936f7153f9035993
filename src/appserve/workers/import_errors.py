"""What to tell when the application cannot be imported: its own traceback, and a guess at what was meant."""

import inspect
import os
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from types import ModuleType
from typing import Any

from appserve.errors import AppImportError
from appserve.tracebacks import application_traceback, has_application_frames
from appserve.workers.interface import detect_interface

_MOST_NAMED = 6


def explain(name: str, error: BaseException) -> AppImportError:
    """Why the module `name` could not be imported."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    # A module that the application itself fails to find has one of the application's frames.
    if missing and _is_at(missing, name) and not has_application_frames(error):
        return AppImportError(_not_found(name, missing))
    return AppImportError(
        f'cannot import "{name}": {headline(error)}{_advice(error)}', application_traceback(error)
    )


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
    near = get_close_matches(name, [one for one in dir(holder) if not one.startswith("_")], 1)
    if near:
        hint = f'did you mean "{near[0]}"?'
    else:
        candidates = list(_candidates(holder))[:_MOST_NAMED]
        hint = f"it has {', '.join(candidates)}" if candidates else "nothing in it looks like an application"
    return f'"{place}"{_origin(module)} has no attribute "{name}" ({hint})'


def no_usual_name(module: Any, name: str, usual: Sequence[str]) -> str:
    """The message for a module that was named alone and has neither of the usual attributes."""
    candidates = list(_candidates(module))[:_MOST_NAMED]
    inside = [one for one in ("wsgi", "asgi", "main", "app") if _has_module(module, one)]
    if candidates:
        hint = f"write one of {', '.join(f'{name}:{one}' for one in candidates)}"
    elif inside:
        hint = f"did you mean {' or '.join(f'{name}.{one}' for one in inside)}?"
    else:
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
        candidates = list(_candidates(found))
        return f"it is a module; write {found.__name__}:{candidates[0] if candidates else 'ATTRIBUTE'}"
    if found is None:
        return "it is None" + ("; does the factory return its application?" if name.endswith(")") else "")
    return f"it is of type {type(found).__name__}, which cannot be called"


def _candidates(holder: object) -> Iterator[str]:
    """Names of what looks like an application, then of what looks like a factory."""
    own = [(name, value) for name, value in sorted(_contents(holder).items()) if not name.startswith("_")]
    for name, value in own:
        if _looks_like_one(value):
            yield name
    for name, value in own:
        if (
            callable(value)
            and name.startswith(("create_", "make_", "get_"))
            and name.endswith(("app", "application"))
        ):
            yield f"{name}()"


def _looks_like_one(value: Any) -> bool:
    """Whether this is probably an application: any function of two arguments could be, most are not."""
    try:
        if not callable(value) or isinstance(value, type):
            return False
        if inspect.isroutine(value):
            return next(iter(inspect.signature(value).parameters), "") in ("environ", "env", "scope")
        return detect_interface(value, "").interface is not None
    except Exception:  # a proxy that stands for nothing outside of a request, a function of C
        return False


def _contents(holder: object) -> dict[str, Any]:
    try:
        return dict(vars(holder))
    except TypeError:
        return {}


def _has_module(package: Any, name: str) -> bool:
    return any(_is_module(folder, name) for folder in getattr(package, "__path__", ()))


def _is_module(folder: str, name: str) -> bool:
    path = os.path.join(folder, name)
    return os.path.isfile(path + ".py") or os.path.isdir(path)


def _is_at(missing: str, name: str) -> bool:
    """Whether `missing` is the module `name` or a package that holds it."""
    return name == missing or name.startswith(missing + ".")


def _not_found(name: str, missing: str) -> str:
    holder, _, last = missing.rpartition(".")
    if holder:
        return f'cannot import "{name}": {_not_in_package(holder, last)}'
    folders = _searched()
    looked = ", ".join(folders)
    names = {one for folder in folders for one in _modules(folder)}
    near = get_close_matches(last, sorted(names), 1)
    elsewhere = _elsewhere(folders[-1], last)
    hint = ""
    if elsewhere:
        hint = f"; there is one in {elsewhere}: write --app-dir {elsewhere}"
    elif near:
        hint = f' (did you mean "{near[0]}"?)'
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


def _elsewhere(here: str, name: str) -> str:
    """A folder nearby that has the module, as the operator would write it; or an empty text."""
    try:
        with os.scandir(here) as entries:
            folders = sorted(one.name for one in entries if one.name[0] != "." and one.is_dir())
    except OSError:
        return ""
    for folder in [*folders, ".."]:
        path = os.path.join(here, folder, name)
        if os.path.isfile(path + ".py") or os.path.isfile(os.path.join(path, "__init__.py")):
            return folder
    return ""


def _advice(error: BaseException) -> str:
    """What may help against an error that the application raised itself."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f" (is it installed for {sys.executable}?)"
    return ""
