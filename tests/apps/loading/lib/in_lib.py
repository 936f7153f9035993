"""Only found with --app-dir lib."""


def app(environ, start_response):
    pass
