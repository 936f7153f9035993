"""What this server offers to clients that speak TLS: certificates, keys, versions, ciphers.

One context is made for each process, before it says that it is ready, so that a file which cannot be used is
told at start, and at a reload keeps the workers of before. A further certificate has a context of its own, to
which a connection changes when its client names a host (SNI, RFC 6066 §3) that is in that certificate.

Only the modules of this package that begin with `tls` import `ssl`, and only a process that serves TLS has
them in memory.

What is fixed here and has no setting: no renegotiation and no compression (a client could make us work for
nothing, and CRIME), HTTP/1.1 in ALPN. Tickets to resume a session are good in the worker that wrote them:
`ssl` cannot share their keys between processes. A connection that is cut without a close_notify is taken for
ended, as on TCP: a request says itself how long it is (RFC 9112 §6), so a cut one is never taken for whole.
"""

import os
import re
import ssl
import stat
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appserve.errors import TlsError
from appserve.net.certificates import Certificate, first_certificate, read_certificate

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_DEMANDS = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}

_LARGEST_FILE = 4 << 20
"""Bytes; all authorities of the web are a quarter of a million."""

_PEM_CERTIFICATE = b"CERTIFICATE-----"
_PEM_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")

_MISMATCHES = frozenset({"KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})
"""What OpenSSL calls a key that is not the certificate's: of the same kind, of another (RSA and ECDSA)."""

_HOST_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")

Warn = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The settings about TLS, as they were given.

    certfiles  PEM files, each a certificate and its chain; the first is shown where no other fits
    keyfiles   for each of them the file of its key, or none at all when the keys are in the same files
    password   what keys are encrypted with, or ""
    version    the lowest that is spoken, "1.2" or "1.3"
    ciphers    for TLS 1.2, as OpenSSL writes them; "" for what Python chooses
    cert_reqs  whether clients show a certificate: "none", "optional" or "required"
    ca_certs   the PEM file of those that vouch for clients, or ""
    """

    certfiles: tuple[str, ...]
    keyfiles: tuple[str, ...] = ()
    password: str = ""
    version: str = "1.2"
    ciphers: str = ""
    cert_reqs: str = "none"
    ca_certs: str = ""


class AskedSocket(ssl.SSLSocket):
    """A connection that remembers which host its client asked for, lower case, or ""."""

    asked_name = ""


class AskedObject(ssl.SSLObject):
    """The same for an event loop, which does the reading and writing itself."""

    asked_name = ""


def make_context(files: TlsFiles, warn: Warn = lambda text: None) -> ssl.SSLContext:
    """The context that all connections of this process begin with. `warn` is told what works and is odd.

    Raises TlsError, which names the setting, the file, what was seen and what to do.
    """
    _check_demands(files, warn)
    contexts: list[ssl.SSLContext] = []
    by_name: dict[str, ssl.SSLContext] = {}
    for certfile, keyfile in _pairs(files):
        context = _make_one(files, certfile, keyfile)
        contexts.append(context)
        names = _names(certfile, warn)
        if len(contexts) > 1 and not set(names) - set(by_name):
            seen = f"has only names of those before it ({', '.join(names)})" if names else "has no host names"
            warn(f"certfile {_quote(certfile)} will not be shown to anybody: it {seen}")
        for name in names:
            by_name.setdefault(name, context)
    first = contexts[0]
    first.sni_callback = _choose_by(by_name, first)
    _hush_names_that_are_none()
    return first


# ── the certificate that fits the host ──


def _choose_by(
    by_name: Mapping[str, ssl.SSLContext], first: ssl.SSLContext
) -> Callable[[Any, str | None, ssl.SSLContext], None]:
    def choose(session: AskedSocket | AskedObject, asked: str | None, context: ssl.SSLContext) -> None:
        if not asked or not _HOST_NAME.fullmatch(asked):
            return  # nothing that could be a host: the first certificate
        name = session.asked_name = asked.lower().removesuffix(".")
        # A wildcard stands for one label, and only for all of it (RFC 6125 §6.4.3).
        fitting = by_name.get(name) or by_name.get("*." + name.partition(".")[2]) or first
        if fitting is not first:
            session.context = fitting

    return choose


def _hush_names_that_are_none() -> None:
    """A host name that is not ASCII fails in `ssl`, before we are asked, and is told on stderr with a
    traceback: every client could fill the log with its bytes. The handshake fails, and that is enough."""
    before = sys.unraisablehook
    if getattr(before, "__module__", "") == __name__:
        return

    def tell(unraisable: "sys.UnraisableHookArgs") -> None:
        if not (issubclass(unraisable.exc_type, UnicodeDecodeError) and _is_of_ssl(unraisable)):
            before(unraisable)

    sys.unraisablehook = tell


def _is_of_ssl(unraisable: "sys.UnraisableHookArgs") -> bool:
    traceback = unraisable.exc_traceback
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and traceback.tb_frame.f_globals.get("__name__") == ssl.__name__


def _names(certfile: str, warn: Warn) -> tuple[str, ...]:
    """The names in a certificate that was loaded; tells when it does not hold today."""
    try:
        certificate = read_certificate(first_certificate(_read(certfile, "certfile")))
    except ValueError as error:
        warn(
            f"certfile {_quote(certfile)}: its names cannot be read ({error}), so no client can ask for them"
        )
        return ()
    _check_dates(certfile, certificate, warn)
    return certificate.names


def _check_dates(certfile: str, certificate: Certificate, warn: Warn) -> None:
    now = time.time()
    if now > certificate.ends:
        seen, advice = f"expired on {_day(certificate.ends)}", "renew it, then reload"
    elif now < certificate.begins:
        seen, advice = f"is not valid before {_day(certificate.begins)}", "is the clock right?"
    else:
        return
    warn(f"certfile {_quote(certfile)} {seen}: clients will refuse it ({advice})")


def _day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


# ── one certificate ──


def _make_one(files: TlsFiles, certfile: str, keyfile: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslsocket_class = AskedSocket
    context.sslobject_class = AskedObject
    context.minimum_version = _VERSIONS[files.version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)  # see above
    context.set_alpn_protocols(["http/1.1"])
    if files.ciphers:
        _set_ciphers(context, files.ciphers)
    _load_certificate(context, certfile, keyfile, files.password)
    if files.cert_reqs != "none":
        _load_authorities(context, files.ca_certs)
        context.verify_mode = _DEMANDS[files.cert_reqs]
    return context


def _set_ciphers(context: ssl.SSLContext, ciphers: str) -> None:
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError as error:
        raise TlsError(
            f"ciphers {_quote(ciphers)}: OpenSSL finds none that it has in this "
            "(`openssl ciphers` shows what there is; those of TLS 1.3 are not chosen here)"
        ) from error


def _load_certificate(context: ssl.SSLContext, certfile: str, keyfile: str, password: str) -> None:
    if _PEM_CERTIFICATE not in _read(certfile, "certfile"):
        raise TlsError(
            f"certfile {_quote(certfile)} holds no certificate: PEM was expected, a text with the line "
            "-----BEGIN CERTIFICATE-----"
        )
    place = f"keyfile {_quote(keyfile)}" if keyfile else f"certfile {_quote(certfile)}"
    if _PEM_KEY.search(_read(keyfile or certfile, "keyfile" if keyfile else "certfile")) is None:
        missing = "" if keyfile else " (name the file of the key with keyfile)"
        raise TlsError(f"{place} holds no private key: PEM was expected{missing}")
    asked = False

    def tell_password() -> str:
        # Without a function OpenSSL would ask the terminal, and wait.
        nonlocal asked
        asked = True
        if not password:
            raise TlsError(f"{place}: the private key is encrypted: give its password with keyfile_password")
        return password

    try:
        context.load_cert_chain(certfile, keyfile or None, tell_password)
    except ssl.SSLError as error:
        if asked:
            seen = "the private key cannot be decrypted (is keyfile_password right?)"
        elif error.reason in _MISMATCHES:
            other = f"certfile {_quote(certfile)}" if keyfile else "the first certificate in the file"
            seen = f"the private key is not that of {other}"
        else:
            place = f"certfile {_quote(certfile)}" + (f" with {place}" if keyfile else "")
            seen = f"OpenSSL refuses it: {_reason(error)}"
        raise TlsError(f"{place}: {seen}") from error
    except (OSError, ValueError) as error:
        raise TlsError(f"{place} cannot be loaded: {error}") from error


def _load_authorities(context: ssl.SSLContext, ca_certs: str) -> None:
    place = f"ca_certs {_quote(ca_certs)}"
    if _PEM_CERTIFICATE not in _read(ca_certs, "ca_certs"):
        raise TlsError(f"{place} holds no certificate: PEM was expected")
    try:
        context.load_verify_locations(cafile=ca_certs)
    except ssl.SSLError as error:
        raise TlsError(f"{place}: OpenSSL refuses it: {_reason(error)}") from error
    except OSError as error:
        raise TlsError(f"{place} cannot be loaded: {error}") from error


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's, or what it is when it has none, as for a file that was cut."""
    return error.reason.replace("_", " ").lower() if error.reason else "it is damaged"


# ── the settings together ──


def _check_demands(files: TlsFiles, warn: Warn) -> None:
    if files.cert_reqs != "none" and not files.ca_certs:
        raise TlsError(
            f"cert_reqs {_quote(files.cert_reqs)} needs ca_certs: the authorities that vouch for the clients"
        )
    if files.ciphers and files.version == "1.3":
        warn("ciphers have no effect: they are those of TLS 1.2, and tls_version is 1.3")
    if files.cert_reqs == "none" and files.ca_certs:
        warn("ca_certs have no effect: clients are asked for a certificate only with cert_reqs")


def _pairs(files: TlsFiles) -> Sequence[tuple[str, str]]:
    certfiles, keyfiles = files.certfiles, files.keyfiles
    if keyfiles and len(keyfiles) != len(certfiles):
        raise TlsError(
            f"certfile has {len(certfiles)} and keyfile {len(keyfiles)} files: each certificate needs its "
            "key, in the same order (or none has, when the keys are in the same files)"
        )
    return list(zip(certfiles, keyfiles or [""] * len(certfiles), strict=True))


def _read(path: str, setting: str) -> bytes:
    """What is in a file; OpenSSL does not say which one it could not read, and why."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise TlsError(f"{setting} {_quote(path)} is not a file")
        with open(path, "rb") as file:
            return file.read(_LARGEST_FILE)
    except OSError as error:
        raise TlsError(f"{setting} {_quote(path)} cannot be read: {error.strerror}") from error


def _quote(text: str) -> str:
    return f'"{text}"'
