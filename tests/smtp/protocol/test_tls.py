"""Certificates: only a subjectAltName counts, and a refused certificate becomes evidence."""

from __future__ import annotations

import datetime as dt
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dh, ec, rsa
from cryptography.x509.oid import NameOID

from portal.smtp.diagnosis.diagnose import diagnose
from portal.smtp.failure import Reason, Stage, SubmissionFailure
from portal.smtp.protocol import tls
from portal.smtp.protocol.session import Session
from portal.smtp.server import Security

from ..badserver import BadServer, Peer, authority, ca_file, serve_correctly, server_at


def issue(
    folder: Path,
    subject: str,
    *names: x509.GeneralName,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
) -> ssl.SSLContext:
    """Return a server's TLS context whose certificate the tests' authority signed; no names: no extension."""
    ca_certificate = x509.load_pem_x509_certificate(authority().cert_pem.bytes())
    ca_key = serialization.load_pem_private_key(authority().private_key_pem.bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key, now = key or ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
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
    context.set_ciphers("ALL:@SECLEVEL=0")
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


LOCALHOST = x509.DNSName("localhost")
OAKLEY_GROUP_2 = int(  # the 1024-bit group of RFC 2409 section 6.2
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF",
    16,
)
TROUBLES = {
    "old-protocol": ("tls-old-protocol", "TLS 1.2 or newer"),
    "weak-key": ("tls-weak-key", "stronger keys"),
    "legacy-renegotiation": ("tls-legacy-renegotiation", "up to date"),
    "client-certificate": ("tls-client-certificate", "username and password only"),
}


def assert_trouble(failure: SubmissionFailure, trouble: str) -> None:
    assert failure.evidence["trouble"] == trouble
    code, advice = TROUBLES[trouble]
    diagnosis = diagnose(failure, server_at(587))
    assert (diagnosis.code, diagnosis.retry_class) == (code, "settings")
    assert advice in diagnosis.cause + diagnosis.fix


def test_a_server_with_old_protocols_only_is_distinguished(tmp_path: Path) -> None:
    context = issue(tmp_path, "localhost", LOCALHOST)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    failure = refusal(context)
    assert failure.reason is Reason.TLS_FAILED
    assert_trouble(failure, "old-protocol")


def test_a_certificate_with_a_short_key_is_distinguished(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 1024)
    failure = refusal(issue(tmp_path, "localhost", LOCALHOST, key=key))
    assert failure.reason is Reason.TLS_FAILED
    assert_trouble(failure, "weak-key")


def test_a_short_diffie_hellman_key_is_distinguished(tmp_path: Path) -> None:
    group = dh.DHParameterNumbers(OAKLEY_GROUP_2, 2).parameters()
    path = tmp_path / "dh.pem"
    path.write_bytes(group.parameter_bytes(serialization.Encoding.PEM, serialization.ParameterFormat.PKCS3))
    context = issue(tmp_path, "localhost", LOCALHOST, key=rsa.generate_private_key(65537, 2048))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("DHE:@SECLEVEL=0")
    context.load_dh_params(path)
    assert_trouble(refusal(context), "weak-key")


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.IMPLICIT_TLS])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_demands_a_client_certificate_is_distinguished(
    tmp_path: Path, version: ssl.TLSVersion, security: Security
) -> None:
    context = issue(tmp_path, "localhost", LOCALHOST)
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(ca_file())

    def starttls(peer: Peer, _line: bytes) -> None:
        peer.send(b"220 2.0.0 go ahead\r\n")
        peer.encrypt(context)

    def script(peer: Peer) -> None:
        if security is Security.IMPLICIT_TLS:
            peer.encrypt(context)
        serve_correctly(peer, {"STARTTLS": starttls})

    with BadServer(script) as bad:
        with pytest.raises(SubmissionFailure) as raised:
            Session(server_at(bad.port, security)).open()
        assert not bad.received_secret()
    assert_trouble(raised.value, "client-certificate")


def test_a_server_that_only_asks_for_a_client_certificate_is_used(tmp_path: Path) -> None:
    context = issue(tmp_path, "localhost", LOCALHOST)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(ca_file())

    def starttls(peer: Peer, _line: bytes) -> None:
        peer.send(b"220 2.0.0 go ahead\r\n")
        peer.encrypt(context)

    with (
        BadServer(lambda peer: serve_correctly(peer, {"STARTTLS": starttls})) as bad,
        Session(server_at(bad.port, username=None)) as session,
    ):
        assert session.stage_results[-1].stage is Stage.AUTH


@pytest.mark.parametrize(
    ("reason", "trouble"),
    [
        ("DH_KEY_TOO_SMALL", "weak-key"),
        ("EE_KEY_TOO_SMALL", "weak-key"),
        ("CA_MD_TOO_WEAK", "weak-key"),
        ("UNSAFE_LEGACY_RENEGOTIATION_DISABLED", "legacy-renegotiation"),
        ("UNSUPPORTED_PROTOCOL", "old-protocol"),
        ("TLSV1_ALERT_PROTOCOL_VERSION", "old-protocol"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "client-certificate"),
    ],
)
def test_openssl_s_reasons_are_distinguished(reason: str, trouble: str) -> None:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    assert_trouble(tls._failure(error, tls._CertificateObserver()), trouble)


def test_tls_trouble_without_a_known_reason_names_what_openssl_said() -> None:
    error = ssl.SSLError(1, "x")
    error.reason = "SSLV3_ALERT_HANDSHAKE_FAILURE"
    diagnosis = diagnose(tls._failure(error, tls._CertificateObserver()), server_at(587))
    assert diagnosis.code == "tls-failed"
    assert "handshake failure" in diagnosis.cause


def test_a_wildcard_is_not_a_name_to_enter(tmp_path: Path) -> None:
    failure = refusal(issue(tmp_path, "x", x509.DNSName("*.hoster.example")))
    diagnosis = diagnose(failure, server_at(587, host="mail.shop.example"))
    assert diagnosis.code == "certificate-name-wildcard"
    assert "*" not in diagnosis.cause + "".join(diagnosis.fixes)
    assert diagnosis.fix.startswith("Ask the provider for the server's name under hoster.example")


def test_of_several_names_only_those_that_can_be_entered_are_named(tmp_path: Path) -> None:
    names = (x509.DNSName("*.hoster.example"), x509.DNSName("smtp.hoster.example"))
    diagnosis = diagnose(refusal(issue(tmp_path, "x", *names)), server_at(587))
    assert diagnosis.code == "certificate-name"
    assert "(smtp.hoster.example)" in diagnosis.fix


def test_an_own_certificate_of_a_private_server_names_the_file_of_authorities() -> None:
    with (
        BadServer(lambda peer: serve_correctly(peer, certificate="untrusted")) as bad,
        pytest.raises(SubmissionFailure) as raised,
    ):
        Session(server_at(bad.port)).open()
    diagnosis = diagnose(raised.value, server_at(bad.port))
    assert (diagnosis.code, diagnosis.whose_move) == ("certificate-untrusted-private", "operator")
    assert "SIGNET_SMTP_CA_FILE" in diagnosis.fix


def test_the_authorities_are_read_once_for_many_connections() -> None:
    with BadServer(serve_correctly) as bad:
        with Session(server_at(bad.port)):
            before = tls._load_context.cache_info().misses
        for _ in range(3):
            with Session(server_at(bad.port)):
                pass
        assert tls._load_context.cache_info().misses == before
        assert bad.connections == 4


def test_a_replaced_ca_file_counts_from_the_next_connection(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    with BadServer(serve_correctly) as bad:
        server = server_at(bad.port)
        server = replace(server, policy=replace(server.policy, ca_file=str(ca_file)))
        for _ in range(2):
            trustme.CA().cert_pem.write_to_path(str(ca_file))
            with pytest.raises(SubmissionFailure) as raised:
                Session(server).open()
            assert raised.value.reason is Reason.CERTIFICATE_UNTRUSTED
            authority().cert_pem.write_to_path(str(ca_file))
            with Session(server):
                pass


def test_handshakes_at_the_same_time_keep_their_own_certificates(tmp_path: Path) -> None:
    names = [f"smtp{number}.other.example" for number in range(8)]
    contexts = []
    for name in names:
        (tmp_path / name).mkdir()
        contexts.append(issue(tmp_path / name, "localhost", x509.DNSName(name)))
    with ThreadPoolExecutor(len(names)) as threads:
        failures = list(threads.map(refusal, contexts))
    assert [failure.evidence["names"] for failure in failures] == names


def test_the_contexts_of_several_private_authorities_are_kept(tmp_path: Path) -> None:
    files = [str(tmp_path / f"{number}.pem") for number in range(10)]
    for file in files:
        authority().cert_pem.write_to_path(file)
    first = [tls._context(file) for file in files]
    assert [tls._context(file) for file in files] == first
