"""Listening sockets: bound at once, listening when a worker is ready.

A listener is bound before any worker is forked, so that a busy port is reported at start, and listens when
the first worker is ready, so that a TCP probe which connects has met a server that works.

Between those two moments Linux would let a second process bind the same port: two sockets with SO_REUSEADDR
may share one as long as none listens, and then the later listen() fails, a minute after the start that said
all was well. So the flag is cleared once the bind is done (which makes any other bind fail) and set again
just before listen(): connections inherit it, and without it on them a restarted server could not bind while
old ones linger in TIME_WAIT. Two that bind within the same microseconds are found out by listen().
"""

import ctypes
import errno
import os
import socket
import stat
import struct
import sys
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import ExitStack, suppress
from socket import SocketType

from appserve.errors import BindError
from appserve.net.address import (
    Address,
    FdAddress,
    SocketAddress,
    TcpAddress,
    UnixAddress,
    parse_bind,
    show_address,
)

# A unix socket can be reached by its owner and group only: a process that may write to it may send requests
# that a proxy in front would have refused.
UNIX_MODE = 0o660

SO_ATTACH_FILTER = 26
DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)
"""A classic BPF program (struct sock_filter) of one instruction: return 0, which drops the packet."""

STREAM = int(socket.SOCK_STREAM)

WILDCARDS = frozenset({"0.0.0.0", "::"})
"""The addresses that stand for all of this machine."""

# Bytes in sockaddr_un.sun_path with its closing NUL; 104 on the BSDs and macOS.
_UNIX_PATH_MAX = 107

# How often another free port is tried when one is free in one family and taken in the other.
_PORT_ATTEMPTS = 16

# A family that this machine has not: no IPv6 in the kernel, or no such address on any interface.
_NO_SUCH_FAMILY = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})


class Listener:
    """One socket bound to one address, non-blocking and not inherited by programs that are executed.

    `address` is the setting, `url` what the log shows (with the real port), `unix_path` the absolute
    path of a unix socket, else None. One that `is_inherited` was opened by another process, which goes on to
    own it: what waits in its queue at the end is for the next server, and its file stays.
    """

    __slots__ = ("_family", "_inode", "_local", "address", "is_inherited", "socket", "unix_path", "url")

    def __init__(
        self,
        bound: socket.socket,
        address: Address,
        unix_path: str | None = None,
        inode: tuple[int, int] = (0, 0),
    ) -> None:
        self.socket = bound
        self._family = int(bound.family)
        self.address = address
        self.is_inherited = isinstance(address, FdAddress)
        self.unix_path = unix_path
        self._local: SocketAddress = bound.getsockname() if unix_path is None else unix_path
        self.url = show_address(self._local)
        self._inode = inode

    def fileno(self) -> int:
        return self.socket.fileno()

    def accept(self) -> tuple[SocketType, SocketAddress]:
        """As that of the socket; the new one does not block. Raises OSError."""
        # hot: bench close. What the class in Python adds to the one in C takes longer than the system call.
        fd, peer = self.socket._accept()  # type: ignore[attr-defined]
        accepted = SocketType(self._family, STREAM, 0, fd)
        accepted.setblocking(False)
        return accepted, peer

    @property
    def family(self) -> int:
        return self._family

    def local_address(self, accepted: SocketType) -> SocketAddress:
        """The address that the client of an accepted connection called."""
        if self.unix_path is None and self._local[0] in WILDCARDS:
            return accepted.getsockname()
        return self._local

    def listen(self, backlog: int) -> None:
        """From now on connections are accepted; may be called again to change the backlog.

        Raises BindError when another process was quicker.
        """
        if self.is_inherited and self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return
        try:
            if self.unix_path is None:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.listen(backlog)
        except OSError as error:
            raise BindError(_refusal(self.address, error)) from error

    def refuse_new(self) -> None:
        """Let no connection join those that wait to be accepted, whichever processes share the queue. Else a
        stop would never find it empty while clients connect again and again.

        The file of a unix socket is removed. On TCP the kernel drops what asks for a connection (SYN), which
        clients send again after a second; by then, as a rule, no process listens and they are refused. Where
        there are no socket filters (they are Linux's, socket(7)) nothing changes.
        """
        if self.is_inherited:
            return
        if self.unix_path is not None:
            self._unlink()
            return
        if sys.platform != "linux":
            return
        program = ctypes.create_string_buffer(DROP_ALL)
        filters = struct.pack("HP", 1, ctypes.addressof(program))  # struct sock_fprog, linux/filter.h
        with suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filters)

    def close(self, unlink: bool) -> None:
        """Close this process's copy. `unlink`: also remove the socket file, if it is still ours."""
        if unlink:
            self._unlink()
        self.socket.close()

    def _unlink(self) -> None:
        if not self.is_inherited and self.unix_path is not None and _inode_of(self.unix_path) == self._inode:
            # The inode number cannot have been given to another file: our open socket still holds it.
            _remove(self.unix_path)


def bind_all(
    binds: Sequence[str], unix_mode: int = UNIX_MODE, inherited: Sequence[str] = ()
) -> list[Listener]:
    """A listener for every address that `binds` name, none of them listening yet. Files of unix sockets have
    the permissions `unix_mode`. An address that a socket among `inherited` ("fd://3") has is not bound again.

    A name is bound at every address it has, all with one port. An address that was named twice is bound once.
    Raises BindError with one line that says what is wrong and what to do; then nothing stays bound.
    """
    listeners: list[Listener] = []
    with ExitStack() as undo:
        for text in (*inherited, *binds):
            for new in _bind(text, listeners, unix_mode):
                undo.callback(new.close, unlink=True)
                listeners.append(new)
        undo.pop_all()
    return listeners


def _bind(text: str, others: Sequence[Listener], unix_mode: int) -> list[Listener]:
    try:
        address = parse_bind(text)
    except ValueError as error:
        raise BindError(f"cannot listen: {error}") from error
    if isinstance(address, FdAddress):
        return [] if any(other.address == address for other in others) else [_inherit(address)]
    if any(other.is_inherited and _is_at(address, other) for other in others):
        return []
    if isinstance(address, UnixAddress):
        path = os.path.abspath(address.path)
        if any(other.unix_path == path for other in others):
            return []
        return [_bind_unix(address, path, unix_mode)]
    return _bind_tcp(address, others)


def _inherit(address: FdAddress) -> Listener:
    try:
        taken = socket.socket(fileno=address.number)
        kind = taken.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
    except OSError as error:
        raise BindError(
            f"cannot listen on {address}: {_reason(error)} (no socket was handed over)"
        ) from error
    if kind != socket.SOCK_STREAM or taken.family not in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
        raise BindError(f"cannot listen on {address}: it is not a TCP or unix stream socket")
    taken.set_inheritable(False)
    taken.setblocking(False)
    if taken.family != socket.AF_UNIX:
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Listener(taken, address)
    return Listener(taken, address, show_address(taken.getsockname()).removeprefix("unix:"))


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _is_at(address: Address, other: Listener) -> bool:
    """Whether an inherited socket has this address."""
    if isinstance(address, UnixAddress):
        return other.unix_path == os.path.abspath(address.path)
    if isinstance(address, FdAddress) or other.unix_path is not None:
        return False
    host, port = other.socket.getsockname()[:2]
    return bool(port == address.port and (host == address.host or (host in WILDCARDS and not address.host)))


def take_handed_over(environ: MutableMapping[str, str], pid: int) -> list[str]:
    """The sockets that systemd has opened for this process, as addresses. Takes their variables out of the
    environment. Source: sd_listen_fds(3).
    """
    count, owner = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_PID", str(pid))
    environ.pop("LISTEN_FDNAMES", "")
    if not count.isdigit() or owner != str(pid):
        return []
    return [str(FdAddress(number)) for number in range(3, 3 + int(count))]


# TCP


def _bind_tcp(address: TcpAddress, others: Sequence[Listener]) -> list[Listener]:
    taken = {other.socket.getsockname()[:2] for other in others if other.unix_path is None}
    targets = [
        (family, where)
        for family, where in _resolve(address)
        if (where[0], where[1]) not in taken  # named twice, as in --bind localhost:80 --bind 127.0.0.1:80
    ]
    attempts = _PORT_ATTEMPTS if address.port == 0 and len(targets) > 1 else 1
    while True:
        attempts -= 1
        try:
            return [Listener(bound, address) for bound in _bind_targets(targets, address.port)]
        except OSError as error:
            if error.errno == errno.EADDRINUSE and attempts:
                continue
            raise BindError(_refusal(address, error, _rival(address, others))) from error


def _resolve(address: TcpAddress) -> list[tuple[int, SocketAddress]]:
    """The (family, socket address) pairs that a host stands for, each once."""
    host, port = address.host, address.port
    if host == "localhost":
        # RFC 6761 §6.3: it means loopback, whatever the resolver says. Many hosts files give 127.0.0.1 only,
        # and browsers try ::1 first.
        found: list[tuple[int, SocketAddress]] = [(socket.AF_INET, ("127.0.0.1", port))]
        if socket.has_ipv6:
            found.append((socket.AF_INET6, ("::1", port, 0, 0)))
        return found
    try:
        answers = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a host name"
        raise BindError(f'cannot listen on {address}: unknown host "{host}" ({why})') from error
    return list(dict.fromkeys((answer[0], answer[4]) for answer in answers))


def _bind_targets(targets: Sequence[tuple[int, SocketAddress]], port: int) -> list[socket.socket]:
    """A bound socket for each target, all on one port; a family that is missing here is left out."""
    bound: list[socket.socket] = []
    missing: OSError | None = None
    with ExitStack() as undo:
        for family, where in targets:
            try:
                new = undo.enter_context(_bind_one(family, (where[0], port, *where[2:])))
            except OSError as error:
                if len(targets) == 1 or error.errno not in _NO_SUCH_FAMILY:
                    raise
                missing = error
            else:
                bound.append(new)
                port = new.getsockname()[1]
        undo.pop_all()
    if missing is not None and not bound:
        raise missing
    return bound


def _bind_one(family: int, where: SocketAddress) -> socket.socket:
    with ExitStack() as undo:
        new = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
        new.setblocking(False)
        new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # One socket, one family: what IPv4 means does not depend on a sysctl, and peers look like peers.
            new.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Connections inherit it (tested), which saves a system call for each.
        new.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        new.bind(where)
        new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        undo.pop_all()
    return new


def _rival(address: TcpAddress, others: Sequence[Listener]) -> str:
    """The one of our own listeners that holds this port, as in --bind 0.0.0.0:80 --bind 127.0.0.1:80."""
    for other in others:
        if other.unix_path is None and address.port and other.socket.getsockname()[1] == address.port:
            return str(other.address)
    return ""


# Unix sockets


def _bind_unix(address: UnixAddress, path: str, mode: int) -> Listener:
    length = len(os.fsencode(path))
    if length > _UNIX_PATH_MAX:
        raise BindError(
            f"cannot listen on {address}: the path is {length} bytes long, {_UNIX_PATH_MAX} are allowed"
        )
    with ExitStack() as undo:
        new = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        new.setblocking(False)
        try:
            if _is_stale(address, path):
                _replace(new, path, mode)
            else:
                _with_mode(mode, lambda: new.bind(path))
        except OSError as error:
            raise BindError(_refusal(address, error)) from error
        undo.pop_all()
    return Listener(new, address, path, _inode_of(path))


def _is_stale(address: UnixAddress, path: str) -> bool:
    """True when `path` is a socket that no process holds any more, False when nothing is there.

    Raises OSError (EADDRINUSE) when a server holds it, BindError when it is something else.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(mode):
        raise BindError(f"cannot listen on {address}: it exists, and is not a socket (remove it first)")
    # A datagram socket as the probe: it gets EPROTOTYPE from a stream socket that is bound, whether it
    # listens already or not, and never lands in a server's accept queue as an empty connection.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:
                raise
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _replace(new: socket.socket, path: str, mode: int) -> None:
    """Put `new` in the place of a stale socket; at no moment is the path missing or open to everybody."""
    directory = os.path.dirname(path)
    # Short, because the same limit holds. The name stays visible, in ss(8) and in getsockname().
    temporary = os.path.join(directory, f".appserve-{os.getpid()}")
    if len(os.fsencode(temporary)) > _UNIX_PATH_MAX:
        _remove(path)  # the path is missing for a moment; better than to refuse it
        _with_mode(mode, lambda: new.bind(path))
        return
    _remove(temporary)
    _with_mode(mode, lambda: new.bind(temporary))
    try:
        os.rename(temporary, path)
    except BaseException:
        _remove(temporary)
        raise


def _with_mode(mode: int, bind: Callable[[], None]) -> None:
    """Call `bind` so that the file it makes has `mode` from its first moment; a chmod would be late."""
    before = os.umask(0o777 & ~mode)
    try:
        bind()
    finally:
        os.umask(before)


def _inode_of(path: str) -> tuple[int, int]:
    try:
        found = os.lstat(path)
    except OSError:
        return (-1, -1)
    return (found.st_dev, found.st_ino)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


# Error texts


def _refusal(address: Address, error: OSError, rival: str = "") -> str:
    if isinstance(address, UnixAddress):
        what, todo = _explain_unix(error, os.path.dirname(os.path.abspath(address.path)))
    else:
        what, todo = _explain_tcp(error, rival)
    return f"cannot listen on {address}: {what} ({todo})" if todo else f"cannot listen on {address}: {what}"


def _explain_tcp(error: OSError, rival: str) -> tuple[str, str]:
    """What was seen, and what to do."""
    match error.errno:
        case errno.EADDRINUSE if rival:
            return "address already in use", f"by --bind {rival} of this command; name it once"
        case errno.EADDRINUSE:
            return "address already in use", "is another server running there? stop it, or take another port"
        case errno.EACCES | errno.EPERM:
            return (
                "permission denied",
                "ports below 1024 need root or CAP_NET_BIND_SERVICE; take a higher one",
            )
        case errno.EADDRNOTAVAIL:
            return "no interface of this machine has this address", "0.0.0.0 means all of them"
        case errno.EAFNOSUPPORT:
            return "this machine does not support this address family", "is IPv6 switched off?"
    return (error.strerror or str(error)).lower(), ""


def _explain_unix(error: OSError, directory: str) -> tuple[str, str]:
    """What was seen, and what to do."""
    match error.errno:
        case errno.EADDRINUSE:
            return "address already in use", "is another server running there? stop it, or take another path"
        case errno.EACCES | errno.EPERM:
            return "permission denied", f"the user of this process cannot write in {directory}"
        case errno.ENOENT:
            return f"the directory {directory} does not exist", "create it first"
        case errno.ENOTDIR:
            return f"{directory} is not a directory", "take another path"
        case errno.EROFS:
            return "the file system is read-only", "take a path on a writable one, such as /run or /tmp"
    return (error.strerror or str(error)).lower(), ""
