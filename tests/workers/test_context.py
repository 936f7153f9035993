"""What a worker is started with: it goes through a socket, and the other side makes the same of it."""

import os
import pickle
import socket
from pathlib import Path

from appserve.config.derive import make_tls
from appserve.config.settings import Settings
from appserve.net.listeners import bind_all
from appserve.observe.scoreboard import Scoreboard, WorkerState, size_for
from appserve.system import blackbox
from appserve.system.memory import make_shared
from appserve.workers.channel import Retiring, make_channel_pair
from appserve.workers.context import BoundAddress, Descriptors, WorkerSpec, make_preamble, prepare
from tests.certificates import certificates


def test_a_worker_can_be_started_with_what_came_through_a_socket(tmp_path: Path) -> None:
    [listener] = bind_all(["127.0.0.1:0"])
    ours, theirs = make_channel_pair()
    memory_fd, memory = make_shared(size_for(2), "test")
    spec = WorkerSpec(
        slot=3,
        master_pid=os.getpid(),
        settings=Settings(application="app:app", access_logfile="access", app_dir=("src",)),
        row=1,
        rows=2,
        bound=(BoundAddress(listener.address, listener.unix_path),),
        descriptors=Descriptors(
            listeners=(listener.fileno(),),
            channel=theirs.fileno(),
            scoreboard=memory_fd,
            blackbox=blackbox.make_box("test"),
            error_log=os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY),
            access_log=os.open(tmp_path / "access", os.O_CREAT | os.O_WRONLY),
        ),
    )
    one_end, other_end = socket.socketpair()
    with one_end, other_end:
        socket.send_fds(one_end, [pickle.dumps(spec)], spec.descriptors.numbers())
        data, fds, _, _ = socket.recv_fds(other_end, 65536, 10)
    received = pickle.loads(data)
    assert received == spec

    names = ("channel", "scoreboard", "blackbox", "error_log", "access_log")
    came = Descriptors(listeners=(fds[0],), **dict(zip(names, fds[1:], strict=True)))
    context = prepare(received.replace(descriptors=came))

    context.channel.send(Retiring())
    context.row.enter(WorkerState.READY, 5)
    context.log.error("a line")
    context.drain_logs()
    assert ours.receive() == [Retiring()]
    assert Scoreboard(memory, 2).row(1).state is WorkerState.READY
    assert "a line" in (tmp_path / "log").read_text()
    assert context.listeners[0].url == listener.url
    assert context.access is not None

    context.listeners[0].close(unlink=False)
    listener.close(unlink=False)
    for end in (context.channel, ours, theirs):
        end.close()
    for fd in (memory_fd, *spec.descriptors.numbers()[3:], *fds[3:]):
        os.close(fd)


def test_settings_say_whether_a_proxy_header_is_expected():
    assert make_preamble(Settings(), None) is None

    rules = make_preamble(Settings(proxy_protocol="v2", proxy_allow_from=("10.0.0.0/8",)), None)
    assert rules is not None and rules.proxies is not None
    assert (rules.proxy_protocol, rules.make_session) == ("v2", None)
    assert rules.proxies.trusts("10.1.2.3")
    assert not rules.proxies.trusts("127.0.0.1")


def test_with_a_certificate_each_connection_begins_with_tls():
    settings = Settings(certfile=(certificates().shop.both,))
    rules = make_preamble(settings, make_tls(settings, print))

    assert rules is not None and rules.make_session is not None
    assert (rules.proxy_protocol, rules.proxies) == ("", None)
    assert not rules.make_session().is_open
