"""As `django-admin startproject` names it."""


def application(environ, start_response):
    pass
