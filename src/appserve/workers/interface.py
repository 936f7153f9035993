"""Which interface an application has, WSGI or ASGI, found out without calling it.

What is looked at, in this order:

1. A coroutine function, or an object whose `__call__` is one, is ASGI.
2. A callable that takes three arguments and not two is ASGI; two and not three is WSGI.
3. One that takes both is decided by the name of its first parameter: `scope`, or `environ`.
4. A wrapper that takes any arguments (`*args`) is decided by the function that it wraps
   (`functools.wraps` leaves it in `__wrapped__`); before that its own nature counts, because a wrapper
   can also translate between the two.
5. What is still open is WSGI: an ASGI callable is nearly always a coroutine function, so a callable
   that shows nothing is more likely not one.

A class is called like a function: its instances are the response (WSGI) or awaitable (ASGI).
"""

import functools
import inspect
import sys
import types
from typing import Any, Literal

from appserve.values import Value

Interface = Literal["wsgi", "asgi"]

_MOST_WRAPPERS = 50  # a chain of __wrapped__ may be a ring


class Verdict(Value):
    """What an object is: an interface and why; or none, and what to do about it."""

    interface: Interface | None
    reason: str


def detect_interface(application: object, name: str) -> Verdict:
    """The interface of a callable. `name` is how the operator wrote it, for advice."""
    subject: object = application
    for _ in range(_MOST_WRAPPERS):
        verdict = _judge_class(subject, name) if isinstance(subject, type) else _judge(subject, name)
        if verdict is not None:
            return verdict
        wrapped = _wrapped(subject)
        if wrapped is None:
            break
        subject = wrapped
    return Verdict("wsgi", "it takes any arguments and is not a coroutine function; see --interface")


def _judge(subject: object, name: str) -> Verdict | None:
    """What the callable itself shows; None if it takes anything and shows nothing."""
    called, what = _called(subject)
    takes = _Takes(called)
    if inspect.isasyncgenfunction(called):
        return Verdict(None, f"{what} is an asynchronous generator function, which is no application")
    if _is_coroutine_function(called) or _is_coroutine_function(subject):
        if takes(3):
            return Verdict("asgi", f"{what} is a coroutine function")
        advice = "; an application factory cannot be a coroutine function" if takes(0) else ""
        return Verdict(None, f"{what} is a coroutine function that cannot take scope, receive, send{advice}")
    if takes(2) != takes(3):
        if takes(3):
            return Verdict("asgi", f"{what} takes three arguments")
        return Verdict("wsgi", f"{what} takes two arguments")
    if takes(2):
        if takes.first == "scope":
            return Verdict("asgi", f"the first argument of {what} is called scope")
        if takes.first in ("environ", "env"):
            return Verdict("wsgi", f"the first argument of {what} is called {takes.first}")
        return None
    if takes(1) and takes.first == "scope":
        return _asgi2(what)
    if takes(0):
        return Verdict(None, f"{what} needs no arguments; if it makes the application, write '{name}()'")
    return Verdict(None, f"{what} takes neither two arguments (WSGI) nor three (ASGI)")


def _judge_class(subject: type, name: str) -> Verdict:
    takes = _Takes(subject)
    if takes(2) and hasattr(subject, "__iter__"):
        return Verdict("wsgi", "it is a class whose instances are the response")
    if takes(3) and hasattr(subject, "__await__"):
        return Verdict("asgi", "it is a class whose instances are awaitable")
    method = inspect.getattr_static(subject, "__call__", None)
    # Unbound, so `self` counts: (self, receive, send) against (self, scope, receive, send).
    if takes(1) and (takes.first == "scope" or (_is_coroutine_function(method) and not _Takes(method)(4))):
        return _asgi2("it is a class that")
    if takes(0):
        return Verdict(None, f"it is a class, and its instance may be the application: write '{name}()'")
    return Verdict(None, "it is a class; name an instance of it, or a function that makes one")


def _asgi2(what: str) -> Verdict:
    return Verdict(
        None,
        f"{what} takes only a scope, as applications for ASGI 2 do, which is not supported yet "
        "(if it is something else, say --interface wsgi or --interface asgi)",
    )


class _Takes:
    """Answers whether a callable can take so many positional arguments."""

    def __init__(self, called: Any) -> None:
        self.first = ""
        self._signature: inspect.Signature | None = None
        try:
            self._signature = _signature(called)
        except Exception:  # built in, or it describes itself wrongly: then it takes anything
            return
        first = next(iter(self._signature.parameters.values()), None)
        if first is not None and first.kind in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD):
            self.first = first.name

    def __call__(self, count: int) -> bool:
        if self._signature is None:
            return True
        try:
            self._signature.bind(*[None] * count)
        except TypeError:
            return False
        return True


def _signature(called: Any) -> inspect.Signature:
    if sys.version_info >= (3, 14):
        # Annotations are evaluated on demand there, and may name what exists only for type checkers.
        import annotationlib

        return inspect.signature(
            called, follow_wrapped=False, annotation_format=annotationlib.Format.FORWARDREF
        )
    return inspect.signature(called, follow_wrapped=False)


_FUNCTIONS = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    functools.partial,
)


def _called(subject: object) -> tuple[Any, str]:
    """What runs when the object is called, and what to call that."""
    if isinstance(subject, _FUNCTIONS):
        return subject, "it"
    # As Python does it: the type's attribute, bound; one of the instance does not count.
    raw = inspect.getattr_static(type(subject), "__call__", None)
    try:
        bound = raw.__get__(subject, type(subject)) if hasattr(raw, "__get__") else raw
    except Exception:
        bound = None
    # Compiled functions (Cython) are objects of their own kind with a slot for __call__.
    if bound is None or isinstance(bound, types.MethodWrapperType):
        return subject, "it"
    return bound, "its __call__"


def _is_coroutine_function(called: object) -> bool:
    while isinstance(called, functools.partial):
        called = called.func
    if inspect.iscoroutinefunction(called):
        return True
    if not isinstance(called, _FUNCTIONS):
        method = inspect.getattr_static(type(called), "__call__", None)
        if inspect.iscoroutinefunction(method):
            return True
    # The mark that asyncio and asgiref put on callables that are not `async def` themselves. It
    # cannot be there without asyncio, which is not imported for the sake of looking.
    asyncio = sys.modules.get("asyncio.coroutines")
    mark = getattr(asyncio, "_is_coroutine", None)
    return mark is not None and getattr(called, "_is_coroutine", None) is mark


def _wrapped(subject: object) -> object | None:
    """What a wrapper wraps, bound to the same object; None if it does not show that."""
    called, _ = _called(subject)
    for wrapper in (called, subject):
        holder = wrapper.func if isinstance(wrapper, functools.partial) else wrapper
        try:
            wrapped: Any = getattr(holder, "__wrapped__", None)
        except Exception:  # a proxy with nothing behind it
            continue
        if wrapped is None or wrapped is subject or not callable(wrapped):
            continue
        if isinstance(holder, types.MethodType) and isinstance(wrapped, types.FunctionType):
            return types.MethodType(wrapped, holder.__self__)
        found: object = wrapped
        return found
    return None
