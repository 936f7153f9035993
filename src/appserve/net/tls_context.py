"""The TLS context of this server: certificate, key, versions, ciphers, authorities of client certificates.

The master makes it before it forks the workers of a generation, so that a file which cannot be used is
reported at start, and at a reload keeps the old workers. Workers that are forked with one context resume each
other's sessions, because the keys of the tickets are the context's.

Only the modules of this package that begin with `tls` import `ssl`, and only a server with a certificate
has them in memory.

What is fixed here and has no setting: no renegotiation and no compression (a client could make us work for
nothing, and CRIME), HTTP/1.1 in ALPN. A connection that is cut without a close_notify counts as ended, as on
TCP: a request says itself how long it is (RFC 9112 §6), so a cut one is never taken for whole.
"""

import _ssl
import os
import re
import ssl
import stat
import time
from collections.abc import Callable

from appserve.errors import TlsError
from appserve.values import Value

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_CERT_REQS = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}

_LARGEST_FILE = 4 << 20
"""Bytes; all authorities of the web are a quarter of a million."""

_PEM_CERTIFICATE = b"CERTIFICATE-----"
_PEM_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")

_MISMATCHES = frozenset({"KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})
"""What OpenSSL calls a key that is not the certificate's: of the same kind, of another (RSA and ECDSA)."""

Warn = Callable[[str], object]


class TlsFiles(Value):
    """The settings about TLS, as they were given.

    certfile   the PEM file of the certificate and its chain
    keyfile    that of its key; "" when the key is in the same file
    password   what the key is encrypted with, or ""
    version    the lowest that is supported, "1.2" or "1.3"
    ciphers    for TLS 1.2, as OpenSSL writes them; "" for what Python chooses
    cert_reqs  whether clients show a certificate: "none", "optional" or "required"
    ca_certs   the PEM file of the authorities of client certificates, or ""
    """

    certfile: str
    keyfile: str = ""
    password: str = ""
    version: str = "1.2"
    ciphers: str = ""
    cert_reqs: str = "none"
    ca_certs: str = ""


def make_context(files: TlsFiles, warn: Warn = lambda text: None) -> ssl.SSLContext:
    """The context of all connections. `warn` gets what works and is odd.

    Raises TlsError, which names the setting, the file, what was seen and what to do.
    """
    _check_cert_reqs(files, warn)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[files.version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)  # see above
    context.set_alpn_protocols(["http/1.1"])
    if files.ciphers:
        _set_ciphers(context, files.ciphers)
    _load_certificate(context, files.certfile, files.keyfile, files.password)
    if files.cert_reqs != "none":
        _load_authorities(context, files.ca_certs)
        context.verify_mode = _CERT_REQS[files.cert_reqs]
    _check_dates(files.certfile, warn)
    return context


def _check_dates(certfile: str, warn: Warn) -> None:
    """Warn of a certificate that is not valid today. `ssl` shows the dates of a peer's certificate only; what
    CPython has for its own tests reads a file, and where that is missing nothing is checked."""
    decode: Callable[[str], dict[str, str]] | None = getattr(_ssl, "_test_decode_cert", None)
    try:
        found = decode(certfile) if decode is not None else {}
        begins, ends = (ssl.cert_time_to_seconds(found[name]) for name in ("notBefore", "notAfter"))
    except (OSError, LookupError, ValueError):
        return
    now = time.time()
    if now > ends:
        seen, advice = f"expired on {_day(ends)}", "renew it, then reload"
    elif now < begins:
        seen, advice = f"is not valid before {_day(begins)}", "is the clock right?"
    else:
        return
    warn(f"certfile {_quote(certfile)} {seen}: clients will refuse it ({advice})")


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _set_ciphers(context: ssl.SSLContext, ciphers: str) -> None:
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError as error:
        raise TlsError(
            f"ciphers {_quote(ciphers)}: OpenSSL supports none of these (`openssl ciphers` lists the names; "
            "TLS 1.3 ciphers cannot be selected)"
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
    is_encrypted = False

    def give_password() -> str:
        # Without a function OpenSSL would prompt on the terminal, and wait.
        nonlocal is_encrypted
        is_encrypted = True
        if not password:
            raise TlsError(f"{place}: the private key is encrypted: give its password with keyfile_password")
        return password

    try:
        context.load_cert_chain(certfile, keyfile or None, give_password)
    except ssl.SSLError as error:
        if is_encrypted:
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


def _check_cert_reqs(files: TlsFiles, warn: Warn) -> None:
    if files.cert_reqs != "none" and not files.ca_certs:
        raise TlsError(
            f"cert_reqs {_quote(files.cert_reqs)} needs ca_certs: the authorities of client certificates"
        )
    if files.ciphers and files.version == "1.3":
        warn("ciphers has no effect: it selects TLS 1.2 ciphers, and tls_version is 1.3")
    if files.cert_reqs == "none" and files.ca_certs:
        warn("ca_certs has no effect: set cert_reqs to request client certificates")


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
