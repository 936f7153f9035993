"""The TLS of a connection as variables for applications, in the names of mod_ssl and Nginx."""

import ssl
from collections.abc import Iterable, Mapping

Session = ssl.SSLSocket | ssl.SSLObject

_SHORT_NAMES = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "givenName": "GN",
    "localityName": "L",
    "organizationalUnitName": "OU",
    "organizationName": "O",
    "stateOrProvinceName": "ST",
    "streetAddress": "street",
    "surname": "SN",
    "userId": "UID",
}
"""As OpenSSL writes them; whatever is not here keeps its long name, or its numbers."""


def tls_facts(session: Session) -> dict[str, str]:
    """For the environ, once the handshake is done. All values are ASCII.

    HTTPS                "on"
    SSL_PROTOCOL         "TLSv1.3"
    SSL_CIPHER           "TLS_AES_256_GCM_SHA384"
    SSL_CLIENT_VERIFY    "SUCCESS", or "NONE" if the client has shown no certificate; with others it gets no
                         connection. The following are there only with SUCCESS.
    SSL_CLIENT_S_DN, SSL_CLIENT_I_DN      its subject and its issuer (RFC 4514): "CN=Ann,O=Shop,C=DE"
    SSL_CLIENT_M_SERIAL  its number, hexadecimal
    SSL_CLIENT_CERT      the certificate itself, PEM
    """
    cipher = session.cipher()
    facts = {
        "HTTPS": "on",
        "SSL_PROTOCOL": session.version() or "",
        "SSL_CIPHER": cipher[0] if cipher else "",
        "SSL_CLIENT_VERIFY": "NONE",
    }
    certificate = session.getpeercert(binary_form=True)
    described: Mapping[str, object] = session.getpeercert() or {}
    if certificate and described:
        facts["SSL_CLIENT_VERIFY"] = "SUCCESS"
        facts["SSL_CLIENT_S_DN"] = distinguished_name(described.get("subject"))
        facts["SSL_CLIENT_I_DN"] = distinguished_name(described.get("issuer"))
        facts["SSL_CLIENT_M_SERIAL"] = str(described.get("serialNumber", ""))
        facts["SSL_CLIENT_CERT"] = ssl.DER_cert_to_PEM_cert(certificate)
    return facts


def distinguished_name(name: object) -> str:
    """A name as `ssl` gives it, a tuple of tuples of pairs, as RFC 4514 writes it: the last part first."""
    if not isinstance(name, tuple):
        return ""
    return ",".join("+".join(_attributes(relative)) for relative in reversed(name))


def _attributes(relative: Iterable[tuple[str, str]]) -> Iterable[str]:
    return (f"{_SHORT_NAMES.get(kind, kind)}={_escape(value)}" for kind, value in relative)


def _escape(value: str) -> str:
    """RFC 4514 §2.4. What is not printable ASCII is written in hexadecimal: an environ holds latin-1 only,
    and a line break must not become one in a log."""
    written = "".join(_escape_one(character) for character in value)
    if value[:1] in ("#", " "):
        written = "\\" + written
    if len(value) > 1 and value.endswith(" "):
        written = written[:-1] + "\\ "
    return written


def _escape_one(character: str) -> str:
    if character in '",+;<>\\':
        return "\\" + character
    if " " <= character <= "~":
        return character
    return "".join(f"\\{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
