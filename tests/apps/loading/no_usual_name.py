"""A module named alone that has neither name, but something else."""

from json import dumps as dumps


class _Site:
    def __call__(self, environ, start_response):
        pass


site = _Site()


def create_app():
    return site


def view(request, template):
    pass
