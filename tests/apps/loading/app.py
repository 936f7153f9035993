"""A module named alone: `application` comes before `app`."""


def app(environ, start_response):
    pass


def application(environ, start_response):
    pass
