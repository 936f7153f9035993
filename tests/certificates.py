"""Certificates to test with, from an authority of our own; made with the openssl program, once in a test run.

    made = certificates()
    serve("app:app", "--certfile", made.shop.certfile, "--keyfile", made.shop.keyfile)
    client = made.client_context()          # trusts the authority, and no other
    client.wrap_socket(sock, server_hostname="shop.example")

    shop      shop.example, www.shop.example, localhost, 127.0.0.1, ::1
    renewed   what comes after shop: the same names, another key
    market    market.example, *.market.example, another key
    depot     depot.example; its chain has an authority in between, which clients do not know
    ann       a client: CN=Ann, O=Shop, C=DE
    stranger  a client with a certificate of another authority
    expired, early    shop.example, of the past and of the future

The keys are on elliptic curves, which are quick to make.
"""

import atexit
import functools
import shutil
import ssl
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

PASSWORD = "open sesame"

_SHOP = "DNS:shop.example,DNS:www.shop.example,DNS:localhost,IP:127.0.0.1,IP:::1"
_MARKET = "DNS:market.example,DNS:*.market.example"

_AUTHORITY = """
[ca]
default_ca = here
[here]
dir = .
new_certs_dir = .
database = index.txt
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
countryName = optional
organizationName = optional
commonName = supplied
[req]
distinguished_name = name
[name]
"""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key. Paths are str, as options want them.

    certfile, keyfile  apart
    both               in one file
    locked_keyfile     the key, encrypted with PASSWORD
    """

    certfile: str
    keyfile: str
    both: str
    locked_keyfile: str


@dataclass(frozen=True)
class Certificates:
    """What there is; see the top. `authority` and `other_authority` are PEM files to trust."""

    authority: str
    other_authority: str
    shop: Pair
    renewed: Pair
    market: Pair
    depot: Pair
    expired: Pair
    early: Pair
    ann: Pair
    stranger: Pair

    def client_context(self, shows: Pair | None = None) -> ssl.SSLContext:
        """A client that trusts our authority, and shows a certificate of its own if it has one."""
        context = ssl.create_default_context(cafile=self.authority)
        if shows is not None:
            context.load_cert_chain(shows.certfile, shows.keyfile)
        return context


@functools.cache
def certificates() -> Certificates:
    """All of them; the files are there until the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="certificates-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "index.txt").touch()
    (folder / "authority.cnf").write_text(_AUTHORITY)
    _make_authority(folder, "authority")
    _make_authority(folder, "other")
    server, client = "extendedKeyUsage=serverAuth", "extendedKeyUsage=clientAuth"
    _make(folder, "between", "/CN=The one in between", "", authority=True)
    return Certificates(
        authority=str(folder / "authority.pem"),
        other_authority=str(folder / "other.pem"),
        shop=_make(folder, "shop", "/O=Shop/CN=shop.example", server, names=_SHOP),
        renewed=_make(folder, "renewed", "/O=Shop/CN=shop.example", server, names=_SHOP),
        market=_make(folder, "market", "/CN=market.example", server, names=_MARKET),
        depot=_make(folder, "depot", "/CN=depot.example", server, names="DNS:depot.example", by="between"),
        expired=_make(folder, "expired", "/CN=shop.example", server, names=_SHOP, years=("2001", "2002")),
        early=_make(folder, "early", "/CN=shop.example", server, names=_SHOP, years=("2090", "2091")),
        ann=_make(folder, "ann", "/C=DE/O=Shop/CN=Ann", client),
        stranger=_make(folder, "stranger", "/CN=Stranger", client, by="other"),
    )


def openssl(folder: Path, *arguments: str) -> None:
    """Run the openssl program in a folder."""
    done = subprocess.run(
        ["openssl", *arguments], cwd=folder, capture_output=True, check=False, text=True, timeout=60
    )
    assert done.returncode == 0, f"openssl {' '.join(arguments)}\n{done.stderr}"


def _make_key(folder: Path, name: str) -> None:
    openssl(
        folder, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{name}.key"
    )


def _make_authority(folder: Path, name: str) -> None:
    _make_key(folder, name)
    about = ("-subj", f"/CN=The {name} of tests", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    files = ("-key", f"{name}.key", "-out", f"{name}.pem")
    openssl(folder, "req", "-new", "-x509", "-utf8", "-days", "30", *about, *files)


def _make(
    folder: Path,
    name: str,
    subject: str,
    use: str,
    *,
    names: str = "",
    by: str = "authority",
    years: tuple[str, str] | None = None,
    authority: bool = False,
) -> Pair:
    _make_key(folder, name)
    openssl(folder, "req", "-new", "-utf8", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
    extensions = ["authorityKeyIdentifier=keyid", "subjectKeyIdentifier=hash", use]
    if authority:
        extensions += ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"]
    else:
        extensions += ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature"]
    if names:
        extensions.append(f"subjectAltName={names}")
    (folder / f"{name}.ext").write_text("\n".join(extensions))
    days = ["-days", "30"]
    if years is not None:
        days = ["-startdate", f"{years[0]}0101000000Z", "-enddate", f"{years[1]}0101000000Z"]
    signer = ("-cert", f"{by}.pem", "-keyfile", f"{by}.key")
    files = ("-in", f"{name}.csr", "-extfile", f"{name}.ext", "-out", f"{name}.pem")
    openssl(folder, "ca", "-config", "authority.cnf", "-batch", "-notext", *signer, *days, *files)
    if by == "between":
        certificate = folder / f"{name}.pem"
        certificate.write_text(certificate.read_text() + (folder / "between.pem").read_text())
    locked = ("-in", f"{name}.key", "-out", f"{name}.locked.key", "-passout", f"pass:{PASSWORD}")
    openssl(folder, "pkcs8", "-topk8", *locked)
    both = folder / f"{name}.both.pem"
    both.write_text((folder / f"{name}.pem").read_text() + (folder / f"{name}.key").read_text())
    paths = (folder / f"{name}.pem", folder / f"{name}.key", both, folder / f"{name}.locked.key")
    return Pair(*map(str, paths))
