"""The context: what is offered to clients, and the errors of files that cannot be used."""

import os
import ssl
from pathlib import Path

import pytest

from appserve.errors import ExitCode, TlsError
from appserve.net.tls_context import TlsFiles, make_context
from tests.certificates import PASSWORD, Pair, certificates, openssl
from tests.net.tls_visit import Visit, serving


def refusal(files: TlsFiles) -> str:
    with pytest.raises(TlsError) as caught:
        make_context(files)
    assert caught.value.exit_code is ExitCode.CONFIG
    return caught.value.message


def warnings(pair: Pair, **settings: str) -> list[str]:
    reported: list[str] = []
    make_context(TlsFiles(pair.both, **settings), reported.append)
    return reported


# ── what is spoken ──


def test_alpn_says_http_1_1():
    client = certificates().client_context()
    client.set_alpn_protocols(["h2", "http/1.1"])
    visit = Visit(client=client).shake()

    assert visit.client.selected_alpn_protocol() == "http/1.1"


def test_a_client_that_offers_nothing_of_ours_is_served_all_the_same():
    client = certificates().client_context()
    client.set_alpn_protocols(["h2"])
    visit = Visit(client=client).shake()

    assert visit.client.selected_alpn_protocol() is None


@pytest.mark.parametrize(("version", "lowest"), [("1.2", "TLSv1_2"), ("1.3", "TLSv1_3")])
def test_the_lowest_version_is_the_one_that_was_set(version, lowest):
    context = serving(version=version)

    assert context.minimum_version is ssl.TLSVersion[lowest]


def test_the_ciphers_of_tls_1_2_are_those_that_were_set():
    client = certificates().client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    visit = Visit(serving(ciphers="ECDHE-ECDSA-AES128-GCM-SHA256"), client=client).shake()

    assert visit.server.facts()["SSL_CIPHER"] == "ECDHE-ECDSA-AES128-GCM-SHA256"


def test_clients_cannot_renegotiate_and_nothing_is_compressed():
    options = serving().options

    assert options & ssl.OP_NO_RENEGOTIATION
    assert options & ssl.OP_NO_COMPRESSION


def test_the_chain_in_a_certfile_is_sent():
    """Without it a client could not get from the certificate to an authority that it knows."""
    visit = Visit(serving(certificates().depot), name="depot.example").shake()

    assert visit.client.getpeercert()


# ── files ──


def test_a_key_may_stand_in_the_file_of_its_certificate():
    make_context(TlsFiles(certificates().shop.both))


def test_an_encrypted_key_is_opened_with_its_password():
    shop = certificates().shop

    make_context(TlsFiles(shop.certfile, shop.locked_keyfile, PASSWORD))


def test_a_password_that_is_not_needed_does_no_harm():
    shop = certificates().shop

    make_context(TlsFiles(shop.certfile, shop.keyfile, PASSWORD))


def test_an_encrypted_key_without_a_password_is_refused_without_a_prompt():
    shop = certificates().shop

    reported = refusal(TlsFiles(shop.certfile, shop.locked_keyfile))

    seen = "the private key is encrypted: give its password with keyfile_password"
    assert reported == f'keyfile "{shop.locked_keyfile}": {seen}'


@pytest.mark.parametrize("password", ["open says me", "x" * 2000])
def test_the_error_of_a_wrong_password_does_not_contain_it(password):
    shop = certificates().shop

    reported = refusal(TlsFiles(shop.certfile, shop.locked_keyfile, password))

    assert f'keyfile "{shop.locked_keyfile}"' in reported
    assert "password" in reported
    assert password not in reported


def test_a_key_of_another_certificate_is_refused():
    made = certificates()

    reported = refusal(TlsFiles(made.shop.certfile, made.market.keyfile))

    assert reported == (
        f'keyfile "{made.market.keyfile}": the private key is not that of certfile "{made.shop.certfile}"'
    )


def test_a_key_of_another_type_than_the_certificate_is_the_same_error(tmp_path):
    made = certificates()
    keyfile = str(tmp_path / "rsa.key")
    openssl(tmp_path, "genrsa", "-out", keyfile, "2048")

    reported = refusal(TlsFiles(made.shop.certfile, keyfile))

    assert reported == f'keyfile "{keyfile}": the private key is not that of certfile "{made.shop.certfile}"'


def test_a_certificate_that_was_cut_is_refused(tmp_path):
    made = certificates()
    cut = tmp_path / "cut.pem"
    cut.write_text(Path(made.shop.certfile).read_text()[:300])

    reported = refusal(TlsFiles(str(cut), made.shop.keyfile))

    assert reported.startswith(
        f'certfile "{cut}" with keyfile "{made.shop.keyfile}": OpenSSL refuses it: it is damaged'
    )


def test_a_chain_in_the_wrong_order_is_refused(tmp_path):
    made = certificates()
    wrong = tmp_path / "wrong.pem"
    wrong.write_text(Path(made.authority).read_text() + Path(made.shop.both).read_text())

    assert "is not that of the first certificate in the file" in refusal(TlsFiles(str(wrong)))


@pytest.mark.parametrize("setting", ["certfile", "keyfile", "ca_certs"])
@pytest.mark.parametrize(
    ("make", "seen"),
    [
        (lambda path: None, "cannot be read: No such file or directory"),
        (lambda path: path.mkdir(), "is not a file"),
        (os.mkfifo, "is not a file"),
        (lambda path: path.write_bytes(b""), "holds no "),
        (lambda path: path.write_bytes(b"\x30\x82\x01\x0a" + bytes(300)), "PEM was expected"),
    ],
    ids=["missing", "folder", "pipe", "empty", "DER"],
)
def test_a_file_that_cannot_be_used_is_named_with_its_setting(tmp_path, setting, make, seen):
    shop = certificates().shop
    path = tmp_path / "a.pem"
    make(path)
    paths = {"certfile": shop.certfile, "keyfile": shop.keyfile, "ca_certs": certificates().authority}
    paths[setting] = str(path)

    reported = refusal(
        TlsFiles(paths["certfile"], paths["keyfile"], cert_reqs="optional", ca_certs=paths["ca_certs"])
    )

    assert reported.startswith(f'{setting} "{path}"')
    assert seen in reported


def test_a_file_without_read_permission_is_an_error(tmp_path):
    shop = certificates().shop
    path = tmp_path / "a.key"
    path.write_bytes(Path(shop.keyfile).read_bytes())
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root may read everything")

    assert "cannot be read: Permission denied" in refusal(TlsFiles(shop.certfile, str(path)))


@pytest.mark.parametrize("setting", ["certfile", "keyfile", "ca_certs"])
def test_damaged_pem_is_refused(tmp_path, setting):
    shop, authority = certificates().shop, certificates().authority
    paths = {"certfile": shop.certfile, "keyfile": shop.keyfile, "ca_certs": authority}
    text = Path(paths[setting]).read_text().splitlines()
    path = tmp_path / "a.pem"
    path.write_text("\n".join([text[0], text[1][:20], *text[2:]]))
    paths[setting] = str(path)

    reported = refusal(
        TlsFiles(paths["certfile"], paths["keyfile"], cert_reqs="required", ca_certs=paths["ca_certs"])
    )

    assert f'"{path}"' in reported


def test_a_certificate_without_a_key_says_where_it_is_looked_for():
    shop = certificates().shop

    reported = refusal(TlsFiles(shop.certfile))

    assert reported.startswith(f'certfile "{shop.certfile}" holds no private key')
    assert "keyfile" in reported


def test_ciphers_that_are_none_are_refused():
    reported = refusal(TlsFiles(certificates().shop.both, ciphers="ROT13"))

    assert reported.startswith('ciphers "ROT13": OpenSSL supports none')


@pytest.mark.parametrize("demand", ["optional", "required"])
def test_client_certificates_need_a_certificate_authority(demand):
    reported = refusal(TlsFiles(certificates().shop.both, cert_reqs=demand))

    assert reported.startswith(f'cert_reqs "{demand}" needs ca_certs')


# ── what works and is odd ──


def test_nothing_is_said_of_what_is_right():
    made = certificates()

    assert warnings(made.shop, cert_reqs="required", ca_certs=made.authority) == []


def test_wrong_dates_are_a_warning_and_the_certificate_is_used():
    made = certificates()

    (expired,) = warnings(made.expired)
    (early,) = warnings(made.early)

    assert expired.startswith(f'certfile "{made.expired.both}" expired on 2002-01-01')
    assert early.startswith(f'certfile "{made.early.both}" is not valid before 2090-01-01')


def test_ciphers_without_effect_are_a_warning():
    (reported,) = warnings(certificates().shop, ciphers="ECDHE+AESGCM", version="1.3")

    assert "ciphers has no effect" in reported


def test_unused_certificate_authorities_are_a_warning():
    (reported,) = warnings(certificates().shop, ca_certs=certificates().authority)

    assert "ca_certs has no effect" in reported
