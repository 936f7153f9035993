"""`appserve --check-config` also tries the files of TLS."""

from pathlib import Path

import pytest

from appserve.cli.command import run
from tests.certificates import PASSWORD, certificates


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def check(*arguments: str) -> int:
    return run(["--check-config", "main:app", *arguments])


def test_files_that_can_be_used_are_good(capsys):
    shop = certificates().shop

    assert (
        check("--certfile", shop.certfile, "--keyfile", shop.locked_keyfile, "--keyfile-password", PASSWORD)
        == 0
    )
    assert "the settings are good" in capsys.readouterr().out


@pytest.mark.parametrize("password", [[], ["--keyfile-password", "wrong"]])
def test_files_that_cannot_be_used_are_reported(capsys, password):
    shop = certificates().shop

    assert check("--certfile", shop.certfile, "--keyfile", shop.locked_keyfile, *password) == 5

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f'appserve: keyfile "{shop.locked_keyfile}": the private key')
    assert "keyfile_password" in err


def test_what_is_odd_is_a_warning(capsys):
    assert check("--certfile", certificates().expired.both) == 0
    assert "appserve: warning: certfile" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--keyfile", "a.pem"],
        ["--keyfile-password", "x"],
        ["--tls-version", "1.3"],
        ["--ciphers", "ECDHE+AESGCM"],
        ["--cert-reqs", "required"],
        ["--ca-certs", "a.pem"],
    ],
)
def test_a_tls_setting_without_a_certificate_is_an_error(capsys, arguments):
    assert check(*arguments) == 5
    assert "without certfile: TLS needs a certificate" in capsys.readouterr().err


@pytest.mark.parametrize("setting", ["certfile", "keyfile"])
def test_a_second_certificate_is_refused_with_what_to_do(capsys, setting):
    shop = certificates().shop
    second = {"certfile": shop.certfile, "keyfile": shop.keyfile}[setting]

    assert check("--certfile", shop.certfile, "--keyfile", shop.keyfile, f"--{setting}", second) == 5
    assert f"{setting} has 2 files: one certificate is served" in capsys.readouterr().err


def test_files_are_looked_for_from_where_the_server_is_started(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "a.pem").write_bytes(Path(certificates().shop.both).read_bytes())

    assert check("--certfile", "a.pem", "--chdir", "site") == 0
    assert check("--certfile", "site/a.pem") == 5
