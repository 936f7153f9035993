"""What is named by mistake: nothing here can be served as it is."""

import string

submodule = string
number = 17
nothing = None


class OldStyle:
    """An ASGI 2 application."""

    def __init__(self, scope):
        self.scope = scope

    async def __call__(self, receive, send):
        pass


class OldStyleWithAnotherName:
    def __init__(self, context):
        self.context = context

    async def __call__(self, receive, send):
        pass


class Middleware:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        pass


class NeedsAnInstance:
    async def __call__(self, scope, receive, send):
        pass


def old_style(scope):
    pass


def handler(request):
    pass


def create_app(kind="web"):
    pass


async def coroutine_factory():
    pass


async def coroutine_of_two(environ, start_response):
    pass


async def asynchronous_generator(scope, receive, send):
    yield
