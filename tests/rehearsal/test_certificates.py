"""The rehearsal server's certificates: permissions, reuse and renewal."""

import ssl
import stat

import pytest
import time_machine

from portal.rehearsal import certificates


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_private_files_are_readable_by_this_user_only(tmp_path):
    files = certificates.ensure_certificates(tmp_path / "rehearsal")
    assert _mode(tmp_path / "rehearsal") == 0o700
    assert _mode(files.server) == _mode(files.expired) == 0o600


def test_the_private_key_of_the_authority_is_never_written(tmp_path):
    files = certificates.ensure_certificates(tmp_path)
    assert b"PRIVATE KEY" not in files.ca.read_bytes()
    keys = [path.name for path in tmp_path.iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert sorted(keys) == ["expired.pem", "localhost.pem"]


def test_certificates_are_issued_once(tmp_path):
    first = certificates.ensure_certificates(tmp_path).ca.read_bytes()
    assert certificates.ensure_certificates(tmp_path).ca.read_bytes() == first


@pytest.mark.parametrize("name", ["ca.pem", "localhost.pem", "expired.pem"])
@pytest.mark.parametrize("damage", ["missing", "empty", "garbage", "another authority's"])
def test_a_damaged_file_causes_all_files_to_be_issued_again(tmp_path, name, damage):
    first = certificates.ensure_certificates(tmp_path).ca.read_bytes()
    path = tmp_path / name
    path.unlink()
    if damage == "another authority's":
        certificates.ensure_certificates(tmp_path / "other")
        (tmp_path / "other" / name).replace(path)
    elif damage != "missing":
        path.write_bytes({"empty": b"", "garbage": b"\x00 -----BEGIN CERTIFICATE-----\nnonsense\n"}[damage])
    files = certificates.ensure_certificates(tmp_path)
    assert files.ca.read_bytes() != first
    ssl.create_default_context(cafile=str(files.ca))
    certificates.server_context(files.server)


def test_a_key_readable_by_others_is_replaced(tmp_path):
    files = certificates.ensure_certificates(tmp_path)
    first = files.server.read_bytes()
    files.server.chmod(0o644)
    assert certificates.ensure_certificates(tmp_path).server.read_bytes() != first
    assert _mode(files.server) == 0o600


def test_certificates_are_renewed_before_they_expire(tmp_path):
    first = certificates.ensure_certificates(tmp_path).ca.read_bytes()
    with time_machine.travel("2099-01-01", tick=False):
        assert certificates.ensure_certificates(tmp_path).ca.read_bytes() != first


def test_certificates_are_issued_again_when_the_names_change(tmp_path):
    first = certificates.ensure_certificates(tmp_path).ca.read_bytes()
    with_names = certificates.ensure_certificates(
        tmp_path, ["smtp.mailgun.org", "smtp.gmail.com"]
    ).ca.read_bytes()
    assert with_names != first
    assert (
        certificates.ensure_certificates(tmp_path, ["smtp.gmail.com", "smtp.mailgun.org"]).ca.read_bytes()
        == with_names
    )
    assert certificates.ensure_certificates(tmp_path, ["smtp.gmail.com"]).ca.read_bytes() != with_names
