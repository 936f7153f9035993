"""An application behind dotted attributes."""


class _Site:
    def app(self, environ, start_response):
        pass

    @property
    def broken(self):
        raise RuntimeError("no database")


class deployment:
    site = _Site()
