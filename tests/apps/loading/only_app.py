"""A module named alone that has only `app`."""


async def app(scope, receive, send):
    pass
