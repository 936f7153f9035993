"""What is read out of certificates."""

import subprocess
from pathlib import Path

import pytest

from appserve.net.certificates import first_certificate, read_certificate
from tests.certificates import certificates, openssl


def read(path: str | Path) -> tuple[str, ...]:
    return read_certificate(first_certificate(Path(path).read_bytes())).names


def self_signed(folder: Path, subject: str, *more: str) -> Path:
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "a.key")
    openssl(folder, "req", "-x509", "-utf8", *key, "-out", "a.pem", "-subj", subject, *more)
    return folder / "a.pem"


def test_host_names_and_addresses_are_its_names():
    assert read(certificates().shop.certfile) == (
        "shop.example",
        "www.shop.example",
        "localhost",
        "127.0.0.1",
        "::1",
    )
    assert read(certificates().market.certfile) == ("market.example", "*.market.example")


def test_names_are_in_lower_case_and_other_kinds_are_passed_over(tmp_path):
    names = (
        "subjectAltName=critical,email:a@b.example,DNS:Shop.EXAMPLE,URI:https://x.example,DNS:*.Shop.example"
    )

    assert read(self_signed(tmp_path, "/CN=other", "-addext", names)) == ("shop.example", "*.shop.example")


def test_the_common_name_counts_where_there_is_no_other(tmp_path):
    assert read(self_signed(tmp_path, "/O=A & Sons/CN=Shop.example")) == ("shop.example",)
    assert read(self_signed(tmp_path, "/CN=*.shop.example", "-addext", "subjectAltName=IP:192.0.2.1")) == (
        "192.0.2.1",
        "*.shop.example",
    )


@pytest.mark.parametrize("name", ["Ann, of the shop", "ünïcode", "10.0.0.1", "-x", "a_b/c"])
def test_a_common_name_that_is_no_host_is_no_name(tmp_path, name):
    assert read(self_signed(tmp_path, f"/CN={name.replace('/', chr(92) + '/')}")) == ()


def test_a_subject_of_several_parts_in_one_is_read(tmp_path):
    assert read(self_signed(tmp_path, "/O=Shop+CN=shop.example+OU=web", "-multivalue-rdn")) == (
        "shop.example",
    )


def test_the_dates_are_read_in_both_forms():
    expired, early = (
        read_certificate(first_certificate(Path(pair.certfile).read_bytes()))
        for pair in (certificates().expired, certificates().early)
    )

    assert (expired.begins, expired.ends) == (978307200, 1009843200)  # 2001-01-01, 2002-01-01
    assert (early.begins, early.ends) == (3786912000, 3818448000)  # 2090-01-01, 2091-01-01: four digits


def test_the_first_certificate_of_a_file_is_the_servers():
    made = certificates()
    pem = b"Some words\n" + Path(made.shop.both).read_bytes() + Path(made.authority).read_bytes()

    assert read_certificate(first_certificate(pem)).names[0] == "shop.example"


@pytest.mark.parametrize("kind", [b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"])
def test_what_openssl_also_calls_a_certificate_is_one(tmp_path, kind):
    made = certificates()
    if kind == b"TRUSTED CERTIFICATE":
        arguments = ["-in", made.shop.certfile, "-trustout", "-addtrust", "serverAuth"]
        pem = subprocess.run(["openssl", "x509", *arguments], capture_output=True, check=True).stdout
    else:
        pem = Path(made.shop.certfile).read_bytes().replace(b"CERTIFICATE", kind)

    assert b"BEGIN " + kind in pem
    assert read_certificate(first_certificate(pem)).names[0] == "shop.example"


@pytest.mark.parametrize("text", [b"", b"-----BEGIN CERTIFICATE-----", b"-----BEGIN PRIVATE KEY-----\nAA=="])
def test_a_file_without_a_certificate_is_refused(text):
    with pytest.raises(ValueError, match="no certificate"):
        first_certificate(text)


def test_damage_anywhere_is_refused_or_harmless():
    """Whatever a byte of it is changed to, and wherever it is cut."""
    der = first_certificate(Path(certificates().shop.certfile).read_bytes())
    refused = 0
    for at in range(len(der)):
        for changed in (
            der[:at],
            *(der[:at] + bytes([value]) + der[at + 1 :] for value in (0, 0x30, 0x80, 0xFF)),
        ):
            try:
                read_certificate(changed)
            except ValueError:
                refused += 1
    assert refused > len(der)
