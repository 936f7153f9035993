"""As `django-admin startproject` names it."""


async def application(scope, receive, send):
    pass
