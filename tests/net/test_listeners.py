import errno
import os
import select
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from appserve.errors import BindError, ExitCode
from appserve.net import listeners
from appserve.net.listeners import Listener, bind_all
from tests.system.child import in_child


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no ::1")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="must be able to become another user")


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def bind(opened: ExitStack, *binds: str) -> list[Listener]:
    made = bind_all(binds)
    for listener in made:
        opened.callback(listener.close, unlink=True)
    return made


def port_of(listener: Listener) -> int:
    return int(listener.socket.getsockname()[1])


def refusal(*binds: str) -> str:
    """The one line that an operator sees."""
    with pytest.raises(BindError) as caught:
        bind_all(binds)
    assert caught.value.exit_code == ExitCode.BIND
    message = caught.value.message
    assert "\n" not in message
    return message


def connect(listener: Listener) -> socket.socket:
    if listener.unix_path is not None:
        client = socket.socket(socket.AF_UNIX)
        client.connect(listener.unix_path)
        return client
    return socket.create_connection(listener.socket.getsockname()[:2])


# TCP


def test_a_bound_address_refuses_connections_until_it_listens(opened: ExitStack) -> None:
    [listener] = bind(opened, "127.0.0.1:0")
    with pytest.raises(ConnectionRefusedError):
        connect(listener)
    listener.listen(10)
    with connect(listener):
        pass


def test_a_listener_is_non_blocking_and_not_inherited_by_programs(opened: ExitStack, tmp_path: Path) -> None:
    for listener in bind(opened, "127.0.0.1:0", f"unix:{tmp_path}/s"):
        assert not listener.socket.getblocking()
        assert not os.get_inheritable(listener.fileno())
        listener.listen(1)
        with pytest.raises(BlockingIOError):
            listener.socket.accept()


def test_accepted_connections_inherit_nodelay_and_reuseaddr(opened: ExitStack) -> None:
    [listener] = bind(opened, "127.0.0.1:0")
    listener.listen(10)
    with connect(listener):
        connection, _ = listener.socket.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


def test_the_url_has_the_real_port(opened: ExitStack) -> None:
    [listener] = bind(opened, "127.0.0.1:0")
    assert f"http://127.0.0.1:{port_of(listener)}" == listener.url
    assert port_of(listener) != 0


@needs_ipv6
def test_localhost_is_ipv4_and_ipv6_on_one_port(opened: ExitStack) -> None:
    four, six = bind(opened, "localhost:0")
    assert (four.socket.family, six.socket.family) == (socket.AF_INET, socket.AF_INET6)
    assert port_of(four) == port_of(six)
    assert f"http://[::1]:{port_of(six)}" == six.url


@needs_ipv6
def test_no_host_means_every_address_of_ipv4_and_ipv6(opened: ExitStack) -> None:
    made = bind(opened, ":0")
    assert {"0.0.0.0", "::"} == {listener.socket.getsockname()[0] for listener in made}
    assert len({port_of(listener) for listener in made}) == 1
    for listener in made:
        listener.listen(10)
    for host in ("127.0.0.1", "::1"):
        with socket.create_connection((host, port_of(made[0]))):
            pass


@needs_ipv6
def test_an_ipv6_listener_leaves_ipv4_alone(opened: ExitStack) -> None:
    for attempt in range(20):
        [six] = bind(opened, "[::]:0")
        assert six.socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        try:
            bind(opened, f"0.0.0.0:{port_of(six)}")
            return
        except BindError:  # another process may have the port in IPv4; not each time
            assert attempt < 19


def test_an_address_family_without_support_is_left_out(
    opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 192.0.2.1 (RFC 5737) is on no interface, as ::1 is where IPv6 is switched off.
    targets = [(socket.AF_INET, ("192.0.2.1", 0)), (socket.AF_INET, ("127.0.0.1", 0))]
    monkeypatch.setattr(listeners, "_resolve", lambda address: targets)
    [listener] = bind(opened, "localhost:0")
    assert listener.socket.getsockname()[0] == "127.0.0.1"
    monkeypatch.setattr(listeners, "_resolve", lambda address: targets[:1] * 2)
    assert "no interface of this machine has this address" in refusal("localhost:0")


def test_a_free_port_that_is_taken_in_the_other_address_family_is_drawn_again(
    opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = listeners._bind_targets, []

    def taken_at_first(targets: object, port: int) -> object:
        calls.append(port)
        if len(calls) < 3:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return real(targets, port)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(listeners, "_bind_targets", taken_at_first)
    assert bind(opened, "localhost:0")
    assert calls == [0, 0, 0]


def test_a_busy_port_is_one_clear_line_and_nothing_stays_bound(opened: ExitStack) -> None:
    with closing(socket.socket()) as rival:
        rival.bind(("127.0.0.1", 0))
        rival.listen()
        busy = rival.getsockname()[1]
        [free] = bind_all(["127.0.0.1:0"])
        free_port = port_of(free)
        free.close(unlink=True)
        assert (
            f"cannot listen on 127.0.0.1:{busy}: address already in use"
            " (is another server running there? stop it, or take another port)"
        ) == refusal(f"127.0.0.1:{free_port}", f"127.0.0.1:{busy}")
    bind(opened, f"127.0.0.1:{free_port}")


def test_a_port_that_listens_on_every_address_is_busy(opened: ExitStack) -> None:
    with closing(socket.socket()) as rival:
        rival.bind(("0.0.0.0", 0))
        rival.listen()
        assert "address already in use" in refusal(f"127.0.0.1:{rival.getsockname()[1]}")


def test_another_appserve_that_is_bound_and_does_not_listen_yet_makes_the_port_busy(
    opened: ExitStack,
) -> None:
    [first] = bind(opened, "127.0.0.1:0")
    assert "address already in use" in refusal(f"127.0.0.1:{port_of(first)}")


def test_a_second_server_that_binds_with_reuseaddr_is_refused_before_we_listen(opened: ExitStack) -> None:
    [listener] = bind(opened, "127.0.0.1:0")
    with closing(socket.socket()) as rival:
        rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError):
            rival.bind(("127.0.0.1", port_of(listener)))


def test_a_race_of_two_starts_that_bind_cannot_detect_is_reported_by_listen(opened: ExitStack) -> None:
    [one] = bind(opened, "127.0.0.1:0")
    one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the other comes between two calls
    [other] = bind(opened, f"127.0.0.1:{port_of(one)}")
    one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    with pytest.raises(BindError, match="address already in use"):
        one.listen(10)
    one.close(unlink=True)
    other.listen(10)
    with connect(other):
        pass


def test_a_port_with_connections_of_the_server_before_can_be_bound_again(opened: ExitStack) -> None:
    [first] = bind_all(["127.0.0.1:0"])
    first.listen(10)
    port = port_of(first)
    with connect(first) as lingering, connect(first) as established:
        ended, _ = first.socket.accept()
        alive, _ = first.socket.accept()
        ended.close()  # the server's end closes first, so it is left in TIME_WAIT
        assert lingering.recv(1) == b""
        lingering.close()
        first.close(unlink=True)
        with alive, established:
            [second] = bind(opened, f"127.0.0.1:{port}")
            second.listen(10)


def test_an_address_that_is_named_twice_is_bound_once(opened: ExitStack) -> None:
    [first] = bind(opened, "127.0.0.1:0")
    port = port_of(first)
    first.close(unlink=True)
    made = bind(opened, f"localhost:{port}", f"127.0.0.1:{port}", f"localhost:{port}")
    assert len(made) == len({listener.url for listener in made})
    assert f"http://127.0.0.1:{port}" in {listener.url for listener in made}


def test_an_address_within_another_of_the_same_command_is_named(opened: ExitStack) -> None:
    # Held, so that no other process is given the port; shared, as it does not listen.
    holder = opened.enter_context(socket.socket())
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("0.0.0.0", 0))
    port = holder.getsockname()[1]
    assert f"by --bind 0.0.0.0:{port} of this command" in refusal(f"0.0.0.0:{port}", f"127.0.0.1:{port}")


def test_an_unknown_host_is_an_error() -> None:
    assert 'unknown host "nosuchhost.invalid"' in refusal("nosuchhost.invalid:8000")
    assert "unknown host" in refusal(f"{'a' * 64}.example:8000")  # IDNA refuses the label with a UnicodeError


def test_an_address_of_another_machine_is_an_error() -> None:
    assert refusal("192.0.2.1:8000") == (
        "cannot listen on 192.0.2.1:8000: no interface of this machine has this address"
        " (0.0.0.0 means all of them)"
    )


def test_a_text_that_is_no_address_is_a_bind_error_too() -> None:
    assert "cannot listen: " in refusal("127.0.0.1:http")


@needs_root
def test_a_port_that_needs_root_is_an_error() -> None:
    privileged_below = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if privileged_below.exists() and int(privileged_below.read_text()) < 2:
        pytest.skip("every user may bind every port here")

    def as_nobody() -> str:
        socket.getaddrinfo("127.0.0.1", 1)  # imports a codec, which this user may not be able to read
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        return refusal("127.0.0.1:1")

    assert "cannot listen on 127.0.0.1:1: permission denied (ports below 1024 need root" in in_child(
        as_nobody
    )


def test_closing_in_a_child_leaves_the_parents_listener(opened: ExitStack, tmp_path: Path) -> None:
    tcp, unix = bind(opened, "127.0.0.1:0", f"unix:{tmp_path}/s")
    tcp.listen(10)
    unix.listen(10)

    def child() -> None:
        tcp.close(unlink=False)
        unix.close(unlink=False)

    assert in_child(child) == "None"
    for listener in (tcp, unix):
        with connect(listener):
            pass


# Unix sockets


def test_a_unix_socket_is_for_its_owner_and_group_whatever_the_umask(
    opened: ExitStack, tmp_path: Path
) -> None:
    before = os.umask(0)
    try:
        bind(opened, f"unix:{tmp_path}/s")
        assert os.umask(0) == 0, "the umask of the process is as it was"
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(tmp_path / "s").st_mode) == 0o660


def test_a_unix_socket_serves_and_is_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "s"
    [listener] = bind_all([f"unix:{path}"])
    assert f"unix:{path}" == listener.url
    listener.listen(10)
    with connect(listener):
        pass
    listener.close(unlink=True)
    assert not path.exists()


def test_a_relative_path_stays_where_it_was_when_the_directory_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    [listener] = bind_all(["unix:s"])
    monkeypatch.chdir("/")
    assert str(tmp_path / "s") == listener.unix_path
    listener.close(unlink=True)
    assert not (tmp_path / "s").exists()


def stale_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def test_a_stale_socket_file_is_replaced(opened: ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "s"
    stale_socket(path)
    [listener] = bind(opened, f"unix:{path}")
    listener.listen(10)
    with connect(listener):
        pass
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert os.listdir(tmp_path) == ["s"]
    listener.close(unlink=True)
    assert os.listdir(tmp_path) == []


def test_a_stale_socket_whose_replacement_had_a_too_long_name_is_replaced(
    opened: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "_UNIX_PATH_MAX", len(str(tmp_path / "s")))
    stale_socket(tmp_path / "s")
    [listener] = bind(opened, f"unix:{tmp_path}/s")
    listener.listen(10)
    with connect(listener):
        pass
    assert os.listdir(tmp_path) == ["s"]


def test_what_is_left_of_a_replacement_that_was_killed_is_no_obstacle(
    opened: ExitStack, tmp_path: Path
) -> None:
    stale_socket(tmp_path / "s")
    stale_socket(tmp_path / f".appserve-{os.getpid()}")
    bind(opened, f"unix:{tmp_path}/s")
    assert os.listdir(tmp_path) == ["s"]


@pytest.mark.parametrize("backlog", [None, 0, 5])
def test_a_live_socket_is_an_error_and_stays(tmp_path: Path, backlog: int | None) -> None:
    """Listening, full, or bound and not listening yet."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(path))
        waiting = socket.socket(socket.AF_UNIX)
        with waiting:
            if backlog is not None:
                live.listen(backlog)
                waiting.connect(str(path))
            message = refusal(f"unix:{path}")
            assert (
                f"cannot listen on unix:{path}: address already in use"
                " (is another server running there? stop it, or take another path)"
            ) == message
        assert path.is_socket()
        if backlog:
            live.setblocking(False)
            live.accept()[0].close()  # the client above
            with pytest.raises(BlockingIOError):  # and no connection of ours
                live.accept()


def test_a_file_that_is_no_socket_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("file", "link"):
        assert "it exists, and is not a socket" in refusal(f"unix:{tmp_path / name}")
    assert "it exists, and is not a socket" in refusal(f"unix:{tmp_path}")
    assert (tmp_path / "file").read_text() == "precious"


def test_a_successors_socket_file_is_not_removed(opened: ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "s"
    [old] = bind_all([f"unix:{path}"])
    path.unlink()
    [new] = bind(opened, f"unix:{path}")
    old.close(unlink=True)
    new.listen(10)
    with connect(new):
        pass


def test_a_socket_file_that_is_gone_already_is_no_error_at_the_end(tmp_path: Path) -> None:
    [listener] = bind_all([f"unix:{tmp_path}/s"])
    (tmp_path / "s").unlink()
    listener.close(unlink=True)


def test_the_file_is_removed_when_a_later_address_fails(tmp_path: Path) -> None:
    refusal(f"unix:{tmp_path}/s", "192.0.2.1:80")
    assert os.listdir(tmp_path) == []


def test_a_path_that_is_named_twice_is_bound_once(opened: ExitStack, tmp_path: Path) -> None:
    assert len(bind(opened, f"unix:{tmp_path}/s", f"unix:{tmp_path}/../{tmp_path.name}/s")) == 1


def test_a_path_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / ("s" * 108)
    assert (
        f"cannot listen on unix:{path}: the path is {len(str(path))} bytes long, 107 are allowed"
    ) == refusal(f"unix:{path}")


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    assert (
        f"cannot listen on unix:{tmp_path}/no/s: the directory {tmp_path}/no does not exist (create it first)"
    ) == refusal(f"unix:{tmp_path}/no/s")
    (tmp_path / "file").touch()
    assert f"{tmp_path}/file is not a directory" in refusal(f"unix:{tmp_path}/file/s")


@needs_root
def test_a_directory_without_write_permission_is_an_error(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)

    def as_nobody() -> str:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        return refusal("unix:/etc/s")

    assert in_child(as_nobody) == (
        "cannot listen on unix:/etc/s: permission denied (the user of this process cannot write in /etc)"
    )


# ── at a stop ──


@pytest.mark.skipif(sys.platform != "linux", reason="socket filters are Linux's")
def test_none_joins_those_that_wait_once_new_ones_are_refused(opened: ExitStack):
    (listener,) = bind(opened, "127.0.0.1:0")
    listener.listen(16)

    def begin_to_connect() -> socket.socket:
        client = opened.enter_context(socket.socket())
        client.setblocking(False)
        client.connect_ex(listener.socket.getsockname())
        return client

    def is_connected(client: socket.socket) -> bool:
        poll = select.poll()
        poll.register(client, select.POLLOUT)
        return bool(poll.poll(0))

    waiting = [begin_to_connect() for _ in range(3)]
    assert all(is_connected(client) for client in waiting)

    listener.refuse_new()
    late = begin_to_connect()

    assert not is_connected(late)
    for client in waiting:
        accepted = opened.enter_context(listener.socket.accept()[0])
        client.send(b"a")
        accepted.send(accepted.recv(1))
        assert client.recv(1) == b"a", "the filter is of no effect on those that waited"
    with pytest.raises(BlockingIOError):
        listener.socket.accept()
    port = port_of(listener)
    listener.close(unlink=True)
    with pytest.raises(ConnectionRefusedError):
        opened.enter_context(socket.create_connection(("127.0.0.1", port)))


def test_a_unix_socket_is_not_found_any_more_once_new_ones_are_refused(opened: ExitStack, tmp_path: Path):
    (listener,) = bind(opened, f"unix:{tmp_path}/socket")
    listener.listen(16)
    waiting = opened.enter_context(closing(connect(listener)))

    listener.refuse_new()

    assert not (tmp_path / "socket").exists()
    accepted = opened.enter_context(listener.socket.accept()[0])
    accepted.send(b"a")
    assert waiting.recv(1) == b"a"
