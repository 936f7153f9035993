"""WSGI applications in every shape that they come in. None may be called by looking at it."""

import functools


def plain(environ, start_response):
    raise AssertionError("the application was called")


def generator(environ, start_response):
    raise AssertionError("the application was called")
    yield b""


def only_two_are_needed(environ, start_response, option=None):
    raise AssertionError("the application was called")


def anything(*args, **kwargs):
    raise AssertionError("the application was called")


@functools.wraps(plain)
def wrapper(*args, **kwargs):
    raise AssertionError("the application was called")


class Application:
    def __call__(self, environ, start_response):
        raise AssertionError("the application was called")

    def method(self, environ, start_response):
        raise AssertionError("the application was called")

    @functools.wraps(method)
    def wrapped_method(self, *args):
        raise AssertionError("the application was called")

    @staticmethod
    def static(environ, start_response):
        raise AssertionError("the application was called")


class Response:
    """Called like a function; the instance is what it answers."""

    def __init__(self, environ, start_response):
        raise AssertionError("the application was called")

    def __iter__(self):
        return iter(())


class Middleware:
    """Hides its own nature behind `__wrapped__`, as middleware made with functools.update_wrapper does."""

    def __init__(self, inner):
        functools.update_wrapper(self, inner)

    def __call__(self, *args, **kwargs):
        raise AssertionError("the application was called")


def _with_setting(setting, environ, start_response):
    raise AssertionError("the application was called")


instance = Application()
bound = instance.method
bound_and_wrapped = instance.wrapped_method
static = Application.static
partial = functools.partial(_with_setting, "value")
partial_of_instance = functools.partial(instance)
lambda_ = lambda environ, start_response: []  # noqa: E731 - one more shape
middleware = Middleware(plain)
