"""A small load: clients that ask again and again and remember what they did not like."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.peers import Front
from tests.integration.server import Server, await_fact


class Load:
    """What the clients met. Bodies are the pid of the worker, as HELLO gives it, or anything else.

    complaints   what went wrong on a connection to a worker that lived, as far as the client can know
    victims      the last answer on each connection that broke
    refused      how many clients found no listener
    """

    def __init__(self, server: Server | Front, clients: int, method: str) -> None:
        self.server = server
        self.method = method
        self.complaints: list[str] = []
        self.victims: list[str] = []
        self.refused = 0
        self.asked = [0] * clients
        self.stop = threading.Event()
        self.expects_breaks = False  # of connections, by a worker that is killed or a server that stops

    def ask(self, number: int) -> None:
        """One client; every other one makes a new connection for each request."""
        while not self.stop.is_set():
            connection = self.server.connect()
            answered = ""
            try:
                while not self.stop.is_set():
                    connection.request(self.method, "/")
                    response = connection.getresponse()
                    answered = response.read().decode()
                    self.asked[number] += 1
                    if response.status != 200 or not answered:
                        self.complaints.append(f"{response.status} {answered!r}")
                    if response.will_close or number % 2:
                        break
                    time.sleep(0.002)
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, ConnectionRefusedError):
                    self.refused += 1
                    if not self.expects_breaks:
                        self.complaints.append(repr(error))
                    return
                if self.expects_breaks:
                    self.victims.append(answered)
                else:
                    self.complaints.append(f"{error!r} after {answered!r}")
            finally:
                connection.close()
            time.sleep(0.002)

    def await_answers(self) -> None:
        """Wait until every client was answered twice more: by the workers that serve now."""
        wanted = [(number, count + 2) for number, count in enumerate(self.asked)]
        await_fact(lambda: all(self.asked[number] >= count for number, count in wanted), "all are served")


@contextmanager
def small_load(server: Server | Front, clients: int = 4, method: str = "GET") -> Iterator[Load]:
    """Clients that ask while the body of the with-statement runs; all are served before it and after it."""
    load = Load(server, clients, method)
    threads = [threading.Thread(target=load.ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        load.await_answers()
        yield load
        if not load.refused:
            load.await_answers()
    finally:
        load.stop.set()
        for thread in threads:
            thread.join()
