"""WSGI and ASGI are distinguished by inspection: every shape of callable, and the frameworks' own."""

import functools
import importlib.util
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appserve.workers.interface import detect_interface

LOADING = Path(__file__).parent.parent / "apps" / "loading"


def shapes(name: str) -> types.ModuleType:
    """A module of tests/apps/loading, without making it importable."""
    spec = importlib.util.spec_from_file_location(f"shapes_{name}", LOADING / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("attribute", "reason"),
    [
        ("plain", "it takes two arguments"),
        ("generator", "it takes two arguments"),
        ("only_two_are_needed", "the first argument of it is called environ"),
        ("wrapper", "it takes two arguments"),
        ("instance", "its __call__ takes two arguments"),
        ("bound", "it takes two arguments"),
        ("bound_and_wrapped", "it takes two arguments"),
        ("static", "it takes two arguments"),
        ("Response", "it is a class whose instances are the response"),
        ("partial", "it takes two arguments"),
        ("partial_of_instance", "it takes two arguments"),
        ("lambda_", "it takes two arguments"),
        ("middleware", "it takes two arguments"),
        ("anything", "it takes any arguments and is not a coroutine function; see --interface"),
    ],
)
def test_a_wsgi_application_is_detected_in_every_shape(attribute, reason):
    verdict = detect_interface(getattr(shapes("wsgi_apps"), attribute), attribute)

    assert ("wsgi", reason) == (verdict.interface, verdict.reason)


@pytest.mark.parametrize(
    ("attribute", "reason"),
    [
        ("plain", "it is a coroutine function"),
        ("anything", "it is a coroutine function"),
        ("gives_an_awaitable", "it takes three arguments"),
        ("named_scope", "the first argument of it is called scope"),
        ("wrapper", "it is a coroutine function"),
        ("adapter", "it is a coroutine function"),
        ("instance", "its __call__ is a coroutine function"),
        ("bound", "it is a coroutine function"),
        ("filled_slot", "its __call__ is a coroutine function"),
        ("misleading", "its __call__ is a coroutine function"),
        ("instance_of_plain_call", "its __call__ takes three arguments"),
        ("Endpoint", "it is a class whose instances are awaitable"),
        ("partial", "it is a coroutine function"),
        ("partial_of_instance", "it is a coroutine function"),
    ],
)
def test_an_asgi_application_is_detected_in_every_shape(attribute, reason):
    verdict = detect_interface(getattr(shapes("asgi_apps"), attribute), attribute)

    assert ("asgi", reason) == (verdict.interface, verdict.reason)


def test_a_callable_marked_as_a_coroutine_function_is_asgi():
    from asgiref.sync import markcoroutinefunction

    def application(*arguments):
        pass

    assert detect_interface(markcoroutinefunction(application), "x").interface == "asgi"


def test_wrappers_that_wrap_one_another_end():
    def one(*arguments):
        pass

    @functools.wraps(one)
    def other(*arguments):
        pass

    one.__wrapped__ = other  # type: ignore[attr-defined]  # a ring

    assert detect_interface(one, "x").interface == "wsgi"


def test_a_callable_whose_signature_cannot_be_read_is_taken_for_wsgi():
    assert detect_interface(type("Odd", (), {"__call__": {}.update})(), "x").interface == "wsgi"


def test_a_proxy_object_with_no_target_is_inspected_itself():
    class Proxy:
        @property
        def __wrapped__(self) -> Any:
            raise RuntimeError("nothing behind it")

        def __call__(self, *arguments: Any) -> None:
            pass

    assert detect_interface(Proxy(), "x").interface == "wsgi"


def flask() -> Any:
    from flask import Flask

    return Flask("x")


def flask_behind_a_proxy_fix() -> Any:
    from werkzeug.middleware.proxy_fix import ProxyFix

    return ProxyFix(flask())


def django_wsgi() -> Any:
    from django.core.handlers.wsgi import WSGIHandler

    return object.__new__(WSGIHandler)


def django_asgi() -> Any:
    from django.core.handlers.asgi import ASGIHandler

    return object.__new__(ASGIHandler)


def starlette() -> Any:
    from starlette.applications import Starlette

    return Starlette()


def starlette_endpoint() -> Any:
    from starlette.endpoints import HTTPEndpoint

    return HTTPEndpoint


def fastapi() -> Any:
    from fastapi import FastAPI

    return FastAPI()


def wsgi_behind_asgiref() -> Any:
    from asgiref.wsgi import WsgiToAsgi

    return WsgiToAsgi(flask())


@pytest.mark.parametrize("make", [flask, flask_behind_a_proxy_fix, django_wsgi])
def test_a_wsgi_framework_is_detected(make: Callable[[], Any]):
    assert detect_interface(make(), "x").interface == "wsgi"


@pytest.mark.parametrize("make", [django_asgi, starlette, starlette_endpoint, fastapi, wsgi_behind_asgiref])
def test_an_asgi_framework_is_detected(make: Callable[[], Any]):
    assert detect_interface(make(), "x").interface == "asgi"
