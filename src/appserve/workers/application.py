"""The application: how it is named, found, imported and made, and which worker class can serve it.

    module:attribute         shop.web:app, shop.web:site.app
    module                   its `application`, or its `app`
    module:factory(...)      shop.web:make_app("production", debug=False), literals only
    module:factory           with --factory

Runs in a worker, never in the master. An import that fails is logged with the application's own traceback
and a guess at what was meant (workers/import_errors.py).
"""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from appserve.errors import AppImportError, AppStartError, UnfitSettings
from appserve.tracebacks import application_traceback
from appserve.values import Value
from appserve.workers import import_errors
from appserve.workers.interface import detect_interface

_USUAL_NAMES = ("application", "app")
_USUAL_FACTORIES = ("create_app", "make_app")


class Application(Value):
    """A callable that a worker can serve. `reason` says why we think that it speaks `interface`."""

    call: Callable[..., Any]
    interface: str  # "wsgi" or "asgi"
    name: str
    reason: str


class _Call(Value):
    """How to call a factory."""

    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = MappingProxyType({})


class _Target(Value):
    """What the operator named: no attributes means the usual names, no call means the object itself."""

    module: str
    attributes: tuple[str, ...] = ()
    call: _Call | None = None

    @property
    def name(self) -> str:
        """Without the arguments, which may be secrets."""
        return f"{self.module}:{'.'.join(self.attributes)}{'()' if self.call else ''}"


def prepare_import(chdir: str, app_dir: Sequence[str]) -> None:
    """Go to the application's folder, and make modules importable from it and from `app_dir`.

    Raises UnfitSettings when a folder is not there any more.
    """
    try:
        if chdir:
            os.chdir(chdir)
        here = os.getcwd()
    except OSError as error:
        raise UnfitSettings(f"cannot change to the folder {chdir or '.'}: {error.strerror}") from error
    first = [os.path.join(here, folder) for folder in app_dir] + [here]
    first = [os.path.normpath(folder) for folder in first]
    sys.path[:] = [*dict.fromkeys(first), *(entry for entry in sys.path if entry not in first)]
    # The folders may have been listed before: by the master, of which this process is a copy.
    importlib.invalidate_caches()


def load(target: str, *, factory: bool, interface: str) -> Application:
    """The application that `target` names, with the interface it speaks ("auto": detected).

    Raises AppImportError when it cannot be found, imported or recognised, AppStartError when its factory
    fails.
    """
    wanted = _parse(target)
    module = _import(wanted.module)
    wanted, found = _find(module, wanted, factory)
    if wanted.call is not None:
        found = _make(found, wanted.call, wanted.name)
    if not callable(found):
        why = import_errors.not_callable(found, wanted.name)
        raise AppImportError(f'cannot serve "{wanted.name}": {why}')
    if interface in ("wsgi", "asgi"):
        return Application(found, interface, wanted.name, "set by --interface")
    try:
        verdict = detect_interface(found, wanted.name)
    except Exception as error:  # a proxy that stands for nothing yet
        raise import_errors.explain(wanted.name, error) from None
    if verdict.interface is None:
        raise AppImportError(f'cannot serve "{wanted.name}": {verdict.reason}')
    return Application(found, verdict.interface, wanted.name, verdict.reason)


def choose_worker_class(application: Application, wanted: str, threads: int = 0) -> tuple[str, str]:
    """The worker class for an application, and why. Raises UnfitSettings if `wanted` cannot serve it.

    `threads` is the setting: more than one make it a threads worker, whatever else is set.
    """
    if application.interface == "asgi":
        fitting: tuple[str, ...] = ("asgi",)
    elif threads > 1:
        fitting = ("threads", "sync")
    else:
        fitting = ("sync", "threads")
    if wanted == "auto":
        why = f"it is {_named(application.interface)} application"
        return fitting[0], why + (f", and --threads is {threads}" if fitting[0] == "threads" else "")
    if wanted == "sync" and fitting[0] == "threads":
        return "threads", f"--threads is {threads}, and a sync worker has one thread"
    if wanted in fitting:
        return wanted, "set by --worker-class"
    raise UnfitSettings(
        f'--worker-class {wanted} cannot serve "{application.name}", {_named(application.interface)} '
        f"application ({application.reason}): write --worker-class {fitting[0]}, or leave it out "
        "(if that is wrong, set --interface)"
    )


def _named(interface: str) -> str:
    return "an ASGI" if interface == "asgi" else "a WSGI"


def _parse(target: str) -> _Target:
    module, colon, expression = target.partition(":")
    hint = import_errors.path_hint(module, colon + expression)
    if hint:
        raise AppImportError(f'cannot import "{module}": {hint}')
    if not module or not all(module.split(".")):
        raise AppImportError(f'"{target}" names no module: write module:attribute, as in main:app')
    if not colon:
        return _Target(module)
    if all(part.isidentifier() for part in expression.split(".")):
        return _Target(module, tuple(expression.split(".")))
    return _parse_call(module, expression)


def _parse_call(module: str, expression: str) -> _Target:
    import ast

    problem = (
        f'"{module}:{expression}" names no application: after the colon comes an attribute, or a call of one '
        """with literal arguments, as in 'main:make_app("production", debug=True)'"""
    )
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
        if not isinstance(tree, ast.Call):
            raise AppImportError(problem)
        named = ast.unparse(tree.func)
        if not all(part.isidentifier() for part in named.split(".")):
            raise AppImportError(problem)
        arguments = tuple(ast.literal_eval(one) for one in tree.args)
        keywords = {one.arg: ast.literal_eval(one.value) for one in tree.keywords if one.arg is not None}
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        raise AppImportError(problem) from None
    if len(keywords) != len(tree.keywords):
        raise AppImportError(problem)
    return _Target(module, tuple(named.split(".")), _Call(arguments, keywords))


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except BaseException as error:  # also SystemExit: a module may call sys.exit()
        raise import_errors.explain(name, error) from None


def _find(module: Any, wanted: _Target, factory: bool) -> tuple[_Target, Any]:
    """The object that is named, before any call, and the target in full."""
    call = wanted.call or (_Call() if factory else None)
    if wanted.attributes:
        return _Target(wanted.module, wanted.attributes, call), _attribute(module, wanted)
    names = _USUAL_FACTORIES if factory else _USUAL_NAMES
    for name in names:
        found = getattr(module, name, None)
        if found is not None:
            return _Target(wanted.module, (name,), call), found
    raise AppImportError(import_errors.no_usual_name(module, wanted.module, names))


def _attribute(module: Any, wanted: _Target) -> Any:
    found, place = module, wanted.module
    for number, name in enumerate(wanted.attributes):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise AppImportError(import_errors.no_attribute(module, found, place, name)) from None
        except BaseException as error:
            raise import_errors.explain(wanted.name, error) from None
        place += ("." if number else ":") + name
    return found


def _make(factory: Any, call: _Call, name: str) -> Any:
    if not callable(factory):
        raise AppImportError(f'cannot call "{name}": {import_errors.not_callable(factory, name)}')
    try:
        inspect.signature(factory).bind(*call.arguments, **call.keywords)
    except TypeError as error:
        raise AppImportError(
            f'cannot call "{name}": {error}; write its arguments, as in {name[:-1]}"production")'
        ) from None
    except Exception:  # built in, or it describes itself wrongly: the call will show
        pass
    try:
        made = factory(*call.arguments, **call.keywords)
    except BaseException as error:
        raise AppStartError(
            f'the factory "{name}" failed: {import_errors.headline(error)}',
            application_traceback(error),
        ) from None
    if inspect.iscoroutine(made):
        made.close()
        raise AppImportError(
            f'cannot use "{name}": it is a coroutine function, and a factory has to be a plain one'
        )
    return made
