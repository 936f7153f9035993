"""Functions that make applications."""

made = []


class Made:
    def __init__(self, *arguments, **keywords):
        self.arguments = arguments
        self.keywords = keywords

    def __call__(self, environ, start_response):
        pass


def make_app(*arguments, **keywords):
    made.append(Made(*arguments, **keywords))
    return made[-1]


def create_app():
    return make_app("from create_app")


def needs(kind):
    return make_app(kind)


def fails():
    raise RuntimeError("no database")


def exits():
    raise SystemExit(2)


def forgets():
    make_app()


async def coroutine():
    return make_app()


class holder:
    @staticmethod
    def make():
        return make_app("held")
