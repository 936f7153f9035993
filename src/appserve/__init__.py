"""appserve: a pre-fork application server for Python.

The house, from the ground up (imports go down only; tests/test_architecture.py holds the floors):

    http                              bytes: no sockets, files, clocks, signals
    net, system, observe              machine: one facility of the operating system a file
    config                            settings
    wsgi, asgi                        conversation: one connection speaking with one application
    workers                           process: one worker
    master                            family: the master and its workers
    cli                               person: the command
"""

from appserve.version import __version__

__all__ = ["__version__"]
