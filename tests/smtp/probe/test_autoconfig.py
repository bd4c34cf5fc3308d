"""Settings are suggested from an address: by the catalogue, by SRV records, by the mail exchangers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from portal.smtp.network.dns import Nameserver, parse_nameservers, resolve_all
from portal.smtp.probe import autoconfig
from portal.smtp.probe.autoconfig import SettingsNotFound, Suggestion, suggest_settings
from portal.smtp.probe.exchangers import load_exchangers
from portal.smtp.providers import load_catalogue
from portal.smtp.server import Security
from tests.smtp.badserver import THREAD_TIMEOUT_S
from tests.smtp.nameserver import BROKEN, GARBAGE, MUTE, NO_SUCH_NAME, NameServer

pytestmark = pytest.mark.thorough

ZONE = {
    ("google.example", "MX"): ["10 alt1.aspmx.l.google.com.", "1 aspmx.l.google.com."],
    ("microsoft.example", "MX"): ["0 microsoft-example.mail.protection.outlook.com."],
    ("mailgun.example", "MX"): ["10 mxa.eu.mailgun.org.", "10 mxb.eu.mailgun.org."],
    ("zoho.example", "MX"): ["10 mx.zoho.eu."],
    ("similar.example", "MX"): ["10 notgoogle.com.", "20 google.com.evil.example."],
    ("null.example", "MX"): ["0 ."],
    ("backup.example", "MX"): ["10 mail.backup.example.", "20 mx1.emailsrvr.com."],
    ("_submissions._tcp.declared.example", "SRV"): [
        "20 1 465 second.declared.example.",
        "10 1 465 first.declared.example.",
    ],
    ("_submission._tcp.declared.example", "SRV"): ["0 1 587 plain.declared.example."],
    ("declared.example", "MX"): ["1 aspmx.l.google.com."],
    ("_submissions._tcp.only587.example", "SRV"): ["0 0 0 ."],
    ("_submission._tcp.only587.example", "SRV"): [
        "0 1 587 light.only587.example.",
        "0 9 2525 heavy.only587.example.",
    ],
    ("_submissions._tcp.known.example", "SRV"): ["0 1 465 smtp.sendgrid.net."],
    ("_submissions._tcp.invalid.example", "SRV"): [
        "0 1 465 under_score.invalid.example.",
        "1 1 0 zero.invalid.example.",
    ],
    ("_submission._tcp.slow-mx.example", "SRV"): ["0 1 587 smtp.slow-mx.example."],
    ("xn--bcher-kva.example", "MX"): ["1 in1-smtp.messagingengine.com."],
}
FAULTS = {
    "mute.example": MUTE,
    "garbage.example": GARBAGE,
    "broken.example": BROKEN,
    "nowhere.example": NO_SUCH_NAME,
}


@pytest.fixture(scope="module")
def server() -> Iterator[NameServer]:
    with NameServer(ZONE, FAULTS) as running:
        yield running


def suggest(server: NameServer, typed: str, timeout_s: float = THREAD_TIMEOUT_S) -> Suggestion:
    return suggest_settings(typed, [server.at], timeout_s)


def test_a_public_mail_domain_needs_no_query(server: NameServer) -> None:
    before = len(server.queries)
    suggestion = suggest(server, "ada@gmail.com")
    assert (suggestion.host, suggestion.port, suggestion.security) == (
        "smtp.gmail.com",
        587,
        Security.STARTTLS,
    )
    assert suggestion.username == "ada@gmail.com"
    assert suggestion.source == "gmail.com is a mail domain of Google (Gmail and Workspace)."
    assert len(server.queries) == before


@pytest.mark.parametrize(
    ("typed", "host", "port", "username"),
    [
        ("ada@google.example", "smtp.gmail.com", 587, "ada@google.example"),
        ("google.example", "smtp.gmail.com", 587, ""),
        (" @google.example ", "smtp.gmail.com", 587, ""),
        ("ada@microsoft.example", "smtp.office365.com", 587, "ada@microsoft.example"),
        ("ada@zoho.example", "smtppro.zoho.eu", 465, "ada@zoho.example"),
        ("ada@backup.example", "secure.emailsrvr.com", 465, "ada@backup.example"),
        ("ada@bücher.example", "smtp.fastmail.com", 465, "ada@xn--bcher-kva.example"),
        ("ADA@GOOGLE.EXAMPLE", "smtp.gmail.com", 587, "ADA@google.example"),
    ],
)
def test_the_provider_of_the_mail_exchanger_is_suggested(
    server: NameServer, typed: str, host: str, port: int, username: str
) -> None:
    suggestion = suggest(server, typed)
    assert (suggestion.host, suggestion.port, suggestion.username) == (host, port, username)
    assert "are received by" in suggestion.source


def test_a_generated_username_is_left_empty(server: NameServer) -> None:
    suggestion = suggest(server, "ada@mailgun.example")
    assert (suggestion.host, suggestion.username) == ("smtp.eu.mailgun.org", "")


@pytest.mark.parametrize(
    ("domain", "host", "port", "security"),
    [
        ("declared.example", "first.declared.example", 465, Security.IMPLICIT_TLS),
        ("only587.example", "heavy.only587.example", 2525, Security.STARTTLS),
        ("slow-mx.example", "smtp.slow-mx.example", 587, Security.STARTTLS),
    ],
)
def test_srv_records_take_precedence(
    server: NameServer, domain: str, host: str, port: int, security: Security
) -> None:
    suggestion = suggest(server, f"ada@{domain}")
    assert (suggestion.host, suggestion.port, suggestion.security, suggestion.provider) == (
        host,
        port,
        security,
        None,
    )
    assert suggestion.username == f"ada@{domain}"
    assert suggestion.source == f"The DNS of {domain} names this server for sending emails."


def test_an_srv_record_of_a_known_provider_sets_its_fixed_username(
    server: NameServer,
) -> None:
    suggestion = suggest(server, "ada@known.example")
    assert suggestion.provider is load_catalogue().get("sendgrid")
    assert suggestion.username == "apikey"


@pytest.mark.parametrize(
    ("domain", "sentence"),
    [
        ("similar.example", "received by notgoogle.com, whose provider we do not know"),
        ("null.example", "does not name a server that receives emails"),
        ("empty.example", "does not name a server that receives emails"),
        ("invalid.example", "does not name a server that receives emails"),
        ("nowhere.example", "There is no domain nowhere.example."),
        ("broken.example", "The DNS did not answer"),
    ],
)
def test_without_a_suggestion_a_sentence_gives_the_reason(
    server: NameServer, domain: str, sentence: str
) -> None:
    with pytest.raises(SettingsNotFound, match=sentence):
        suggest(server, f"ada@{domain}")


@pytest.mark.parametrize("domain", ["mute.example", "garbage.example"])
def test_the_timeout_ends_the_wait_for_a_silent_resolver(server: NameServer, domain: str) -> None:
    with pytest.raises(SettingsNotFound, match="The DNS did not answer"):
        suggest(server, f"ada@{domain}", autoconfig.DNS_TIMEOUT_S)


def test_the_timeout_ends_the_wait_for_an_unreachable_resolver() -> None:
    with pytest.raises(SettingsNotFound, match="The DNS did not answer"):
        suggest_settings("ada@example.org", [Nameserver("127.0.0.1", 9)], 0.5)


def test_the_second_resolver_is_queried_if_the_first_is_silent(server: NameServer) -> None:
    with NameServer({}, {"": MUTE}) as mute:
        assert suggest_settings("ada@google.example", [mute.at, server.at], 8.0).host == "smtp.gmail.com"


@pytest.mark.parametrize(
    "typed",
    [
        "", " ", "@", "ada@", "ada@@example.org", "ada", "a b@example.org", "ada@exam\x00ple.org",
        "ada@127.0.0.1", "localhost",
        "http://example.org", "ada@[127.0.0.1]", "x" * 300 + ".example", "ada@" + "x" * 64 + ".example", "127.0.0.1",
        "a..example",
    ],
)  # fmt: skip
def test_invalid_input_is_rejected_without_a_query(server: NameServer, typed: str) -> None:
    before = len(server.queries)
    with pytest.raises(ValueError, match=r"[a-z]+\.$"):
        suggest(server, typed)
    assert len(server.queries) == before


def test_a_provider_without_password_login_is_suggested_with_a_warning() -> None:
    suggestion = suggest_settings("ada@hotmail.com")
    assert "accepts no passwords" in suggestion.warning
    assert suggest_settings("ada@gmail.com").warning == ""


def test_every_exchanger_belongs_to_a_card() -> None:
    rows = load_exchangers()
    assert len(rows) > 20
    assert all(suffix == suffix.lower() and not suffix.startswith(".") for suffix, _, _ in rows)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("", ()),
        (" , ", ()),
        ("10.0.0.53", (Nameserver("10.0.0.53"),)),
        ("10.0.0.53:5353, 10.0.0.54", (Nameserver("10.0.0.53", 5353), Nameserver("10.0.0.54"))),
        ("[2001:db8::53]:5353,2001:db8::54", (Nameserver("2001:db8::53", 5353), Nameserver("2001:db8::54"))),
        ("[::1]", (Nameserver("::1"),)),
    ],
)  # fmt: skip
def test_resolver_addresses_are_parsed(written: str, read: tuple[Nameserver, ...]) -> None:
    assert parse_nameservers(written) == read


@pytest.mark.parametrize(
    "written",
    [
        "dns.example",
        "10.0.0.53:0",
        "10.0.0.53:65536",
        "10.0.0:53",
        "10.0.0.53:x",
        "[::1",
        "10.0.0.53:²",
        "10.0.0.53:0005300",
    ],
)
def test_an_invalid_resolver_address_is_named_in_the_error(written: str) -> None:
    with pytest.raises(ValueError, match=r".+") as raised:
        parse_nameservers(f"10.0.0.1, {written}")
    assert written in str(raised.value)


def test_a_name_too_long_for_dns_is_unanswered(server: NameServer) -> None:
    assert not resolve_all([(f"{'x' * 64}.example", "MX"), ("a." * 130, "MX")], [server.at], 0.5)[0].answered
