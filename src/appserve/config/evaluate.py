"""A settings file that is a Python program: it runs in a process of its own, and its plain values come back.

Such files import the application's modules, start threads and print. The master must not keep what they leave
behind, so only values that JSON can hold come back: texts, numbers, lists and dictionaries of them.
"""

import importlib
import json
import os
import sys
import traceback
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from appserve.values import Value


class Evaluated(Value):
    """What a file has set.

    values     the plain ones by name
    callables  names of functions and classes that it defines or imports
    problem    why it could not be run; empty if it could
    """

    values: Mapping[str, Any]
    callables: tuple[str, ...] = ()
    problem: str = ""


def evaluate(path: str, folder: str) -> bytes:
    """Run the file in this process, with modules searched in `folder` first; gives Evaluated as JSON.

    Nothing is raised: what goes wrong is the problem.
    """
    sys.path.insert(0, folder or ".")
    try:
        names = _run(path, folder)
    except BaseException as error:  # a sys.exit() in the file ends this process alone
        return json.dumps({"problem": _explain(error, path)}).encode()
    public = {name: value for name, value in names.items() if not name.startswith("_")}
    values = {name: _plain(value) for name, value in public.items() if _is_plain(value)}
    callables = [name for name, value in public.items() if callable(value)]
    return json.dumps({"values": values, "callables": callables}).encode()


def read_evaluated(data: bytes) -> Evaluated:
    """The opposite of `evaluate`; no data is a process that died."""
    if not data:
        return Evaluated({}, problem="the process that ran it has died")
    found = json.loads(data)
    return Evaluated(found.get("values", {}), tuple(found.get("callables", ())), found.get("problem", ""))


def _run(path: str, folder: str) -> dict[str, Any]:
    if path.startswith("python:"):
        return vars(importlib.import_module(path.removeprefix("python:")))
    file = os.path.join(folder, path)
    with open(file, "rb") as source:
        code = compile(source.read(), file, "exec")
    module = ModuleType("__config__")
    module.__file__ = file
    exec(code, vars(module))
    return vars(module)


def _explain(error: BaseException, path: str) -> str:
    """The last line of the traceback, and the line of the file that it came from."""
    text = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, SyntaxError):
        return f"{text} (line {error.lineno})"
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(path)
    ]
    return f"{text} (line {lines[-1]})" if lines else text


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(one) for key, one in value.items())
    return value is None or isinstance(value, str | int | float | os.PathLike)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return os.fspath(value) if isinstance(value, os.PathLike) else value
