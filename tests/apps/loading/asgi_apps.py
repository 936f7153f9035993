"""ASGI applications in every shape that they come in. None may be called by looking at it."""

import functools


async def plain(scope, receive, send):
    raise AssertionError("the application was called")


async def anything(*args, **kwargs):
    raise AssertionError("the application was called")


def gives_an_awaitable(scope, receive, send):
    raise AssertionError("the application was called")


def named_scope(scope, *channels):
    raise AssertionError("the application was called")


@functools.wraps(plain)
def wrapper(*args, **kwargs):
    raise AssertionError("the application was called")


def _wsgi(environ, start_response):
    raise AssertionError("the application was called")


@functools.wraps(_wsgi)
async def adapter(scope, receive, send):
    """Translates: what it wraps is WSGI, what it is itself counts."""
    raise AssertionError("the application was called")


class Application:
    async def __call__(self, scope, receive, send):
        raise AssertionError("the application was called")

    async def method(self, scope, receive, send):
        raise AssertionError("the application was called")


class GivesAnAwaitable:
    def __call__(self, scope, receive, send):
        raise AssertionError("the application was called")


class InstanceDecides:
    """`__call__` is a slot that the instance fills, as some tracing middleware does."""

    __slots__ = ("__call__",)

    def __init__(self):
        self.__call__ = plain


class Misleading:
    """An attribute of the instance is not what runs when it is called."""

    async def __call__(self, scope, receive, send):
        raise AssertionError("the application was called")

    def __init__(self):
        self.__dict__["__call__"] = _wsgi


class Endpoint:
    """Called like a function; the instance is awaited."""

    def __init__(self, scope, receive, send):
        raise AssertionError("the application was called")

    def __await__(self):
        return iter(())


async def _with_setting(setting, scope, receive, send):
    raise AssertionError("the application was called")


instance = Application()
bound = instance.method
filled_slot = InstanceDecides()
misleading = Misleading()
instance_of_plain_call = GivesAnAwaitable()
partial = functools.partial(_with_setting, "value")
partial_of_instance = functools.partial(instance)
