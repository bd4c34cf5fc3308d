"""Certificates: only a subjectAltName counts, and a refused certificate becomes evidence."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from portal.smtp.diagnosis.diagnose import diagnose
from portal.smtp.failure import Reason, Stage, SubmissionFailure
from portal.smtp.protocol.session import Session

from ..badserver import BadServer, Peer, authority, serve_correctly, server_at


def issue(folder: Path, subject: str, *names: x509.GeneralName) -> ssl.SSLContext:
    """Return a server's TLS context whose certificate the tests' authority signed; no names: no extension."""
    ca_certificate = x509.load_pem_x509_certificate(authority().cert_pem.bytes())
    ca_key = serialization.load_pem_private_key(authority().private_key_pem.bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(ca_certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(dt.datetime(2051, 3, 4, tzinfo=dt.UTC))  # a GeneralizedTime, as all from 2050 on
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(ca_key, hashes.SHA256())
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def refusal(context: ssl.SSLContext) -> SubmissionFailure:
    """Return the failure of a session with a server that uses ``context``."""

    def starttls(peer: Peer, _line: bytes) -> None:
        peer.send(b"220 2.0.0 go ahead\r\n")
        peer.encrypt(context)

    with BadServer(lambda peer: serve_correctly(peer, {"STARTTLS": starttls})) as bad:
        with pytest.raises(SubmissionFailure) as raised:
            Session(server_at(bad.port)).open()
        assert not bad.received_secret()
    return raised.value


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_with_the_server_as_common_name_only_is_refused(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    context = issue(tmp_path, "localhost")
    context.minimum_version = context.maximum_version = version
    failure = refusal(context)
    assert (failure.stage, failure.reason) == (Stage.TLS, Reason.CERTIFICATE_NAME)
    assert failure.evidence["alternative_names"] == "none"
    assert failure.evidence["common_name"] == "localhost"
    assert failure.evidence["until"] == "2051-03-04"


def test_the_common_name_is_ignored_beside_names_of_other_servers(tmp_path: Path) -> None:
    failure = refusal(issue(tmp_path, "localhost", x509.DNSName("smtp.other.example")))
    assert failure.reason is Reason.CERTIFICATE_NAME
    assert failure.evidence["names"] == "smtp.other.example"
    assert "common_name" not in failure.evidence


def test_the_owner_reads_that_a_common_name_does_not_count(tmp_path: Path) -> None:
    diagnosis = diagnose(refusal(issue(tmp_path, "localhost")), server_at(587))
    assert diagnosis.code == "certificate-common-name-only"
    assert diagnosis.whose_move == "provider"
    assert "subjectAltName" in diagnosis.cause
    assert "renew its certificate with localhost as subjectAltName" in diagnosis.fix
