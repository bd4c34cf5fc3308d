"""Settings are found from an address alone: by what is known, by what the domain says, by who receives its mail."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from portal.smtp.network.dns import Nameserver, parse_nameservers, resolve_all
from portal.smtp.probe import autoconfig as engine
from portal.smtp.probe.autoconfig import SettingsNotFound, Suggestion, suggest_settings
from portal.smtp.providers import load_catalogue
from portal.smtp.server import Security
from tests.smtp.nameserver import BROKEN, GARBAGE, MUTE, NO_SUCH_NAME, NameServer

pytestmark = pytest.mark.thorough

ZONE = {
    ("google.example", "MX"): ["10 alt1.aspmx.l.google.com.", "1 aspmx.l.google.com."],
    ("microsoft.example", "MX"): ["0 microsoft-example.mail.protection.outlook.com."],
    ("mailgun.example", "MX"): ["10 mxa.eu.mailgun.org.", "10 mxb.eu.mailgun.org."],
    ("zoho.example", "MX"): ["10 mx.zoho.eu."],
    ("pretender.example", "MX"): ["10 notgoogle.com.", "20 google.com.evil.example."],
    ("null.example", "MX"): ["0 ."],
    ("backup.example", "MX"): ["10 mail.backup.example.", "20 mx1.emailsrvr.com."],
    ("_submissions._tcp.says.example", "SRV"): [
        "20 1 465 second.says.example.",
        "10 1 465 first.says.example.",
    ],
    ("_submission._tcp.says.example", "SRV"): ["0 1 587 plain.says.example."],
    ("says.example", "MX"): ["1 aspmx.l.google.com."],
    ("_submissions._tcp.only587.example", "SRV"): ["0 0 0 ."],
    ("_submission._tcp.only587.example", "SRV"): [
        "0 1 587 light.only587.example.",
        "0 9 2525 heavy.only587.example.",
    ],
    ("_submissions._tcp.known.example", "SRV"): ["0 1 465 smtp.sendgrid.net."],
    ("_submissions._tcp.odd.example", "SRV"): ["0 1 465 under_score.odd.example.", "1 1 0 zero.odd.example."],
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


def found(server: NameServer, typed: str, seconds: float = engine.DNS_TIMEOUT_S) -> Suggestion:
    return suggest_settings(typed, [server.at], seconds)


def test_a_public_mail_domain_is_known_without_asking(server: NameServer) -> None:
    before = len(server.asked)
    guess = found(server, "ada@gmail.com")
    assert (guess.host, guess.port, guess.security) == ("smtp.gmail.com", 587, Security.STARTTLS)
    assert guess.username == "ada@gmail.com"
    assert guess.source == "gmail.com belongs to Google (Gmail and Workspace)."
    assert len(server.asked) == before


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
def test_whoever_receives_the_mail_takes_it_too(
    server: NameServer, typed: str, host: str, port: int, username: str
) -> None:
    guess = found(server, typed)
    assert (guess.host, guess.port, guess.username) == (host, port, username)
    assert "is received by" in guess.source


def test_a_log_in_that_a_provider_makes_up_is_not_guessed(server: NameServer) -> None:
    guess = found(server, "ada@mailgun.example")
    assert (guess.host, guess.username) == ("smtp.eu.mailgun.org", "")


@pytest.mark.parametrize(
    ("domain", "host", "port", "security"),
    [
        ("says.example", "first.says.example", 465, Security.IMPLICIT_TLS),
        ("only587.example", "heavy.only587.example", 2525, Security.STARTTLS),
        ("slow-mx.example", "smtp.slow-mx.example", 587, Security.STARTTLS),
    ],
)
def test_what_a_domain_says_itself_counts_first(
    server: NameServer, domain: str, host: str, port: int, security: Security
) -> None:
    guess = found(server, f"ada@{domain}")
    assert (guess.host, guess.port, guess.security, guess.provider) == (host, port, security, None)
    assert guess.username == f"ada@{domain}"
    assert guess.source == f"{domain} itself names this server for sending mail."


def test_a_named_server_of_the_catalogue_brings_its_provider_and_its_fixed_username(
    server: NameServer,
) -> None:
    guess = found(server, "ada@known.example")
    assert guess.provider is load_catalogue().get("sendgrid")
    assert guess.username == "apikey"


@pytest.mark.parametrize(
    ("domain", "sentence"),
    [
        ("pretender.example", "received by notgoogle.com, which we do not know"),
        ("null.example", "does not say who receives its mail"),
        ("empty.example", "does not say who receives its mail"),
        ("odd.example", "does not say who receives its mail"),
        ("nowhere.example", "There is no domain nowhere.example."),
        ("broken.example", "Nobody could tell us"),
    ],
)
def test_where_nothing_is_found_a_sentence_says_why(server: NameServer, domain: str, sentence: str) -> None:
    with pytest.raises(SettingsNotFound, match=sentence):
        found(server, f"ada@{domain}", seconds=1)


@pytest.mark.parametrize("domain", ["mute.example", "garbage.example"])
def test_a_resolver_that_does_not_answer_costs_no_more_than_its_time(server: NameServer, domain: str) -> None:
    started = time.monotonic()
    with pytest.raises(SettingsNotFound, match="Nobody could tell us"):
        found(server, f"ada@{domain}")
    assert time.monotonic() - started < engine.DNS_TIMEOUT_S + 0.5


def test_where_nobody_listens_nothing_is_found_in_time() -> None:
    started = time.monotonic()
    with pytest.raises(SettingsNotFound, match="Nobody could tell us"):
        suggest_settings("ada@example.org", [Nameserver("127.0.0.1", 9)], 0.5)
    assert time.monotonic() - started < 1.0


def test_a_second_resolver_has_its_turn_when_the_first_is_mute(server: NameServer) -> None:
    with NameServer({}, {"": MUTE}) as mute:
        assert suggest_settings("ada@google.example", [mute.at, server.at]).host == "smtp.gmail.com"


@pytest.mark.parametrize(
    "typed",
    [
        "", " ", "@", "ada@", "ada@@example.org", "ada", "a b@example.org", "ada@exam\x00ple.org",
        "ada@127.0.0.1", "localhost",
        "http://example.org", "ada@[127.0.0.1]", "x" * 300 + ".example", "ada@" + "x" * 64 + ".example", "127.0.0.1",
        "a..example",
    ],
)  # fmt: skip
def test_what_is_neither_address_nor_domain_is_refused_before_anybody_is_asked(
    server: NameServer, typed: str
) -> None:
    before = len(server.asked)
    with pytest.raises(ValueError, match=r"[a-z]+\.$"):
        found(server, typed)
    assert len(server.asked) == before


def test_a_provider_without_passwords_is_found_with_a_caution() -> None:
    guess = suggest_settings("ada@hotmail.com")
    assert "takes no passwords" in guess.warning
    assert suggest_settings("ada@gmail.com").warning == ""


def test_every_row_of_the_exchangers_belongs_to_a_card() -> None:
    rows = engine._exchangers()
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
def test_resolvers_are_read_as_operators_write_them(written: str, read: tuple[Nameserver, ...]) -> None:
    assert parse_nameservers(written) == read


@pytest.mark.parametrize(
    "written",
    ["dns.example", "10.0.0.53:0", "10.0.0.53:65536", "10.0.0:53", "10.0.0.53:x", "[::1", "10.0.0.53:²"],
)
def test_what_is_no_resolver_is_named(written: str) -> None:
    with pytest.raises(ValueError, match=r".+") as refused:
        parse_nameservers(f"10.0.0.1, {written}")
    assert written in str(refused.value)


def test_a_name_too_long_for_any_question_is_an_answer_nobody_gave(server: NameServer) -> None:
    assert not resolve_all([(f"{'x' * 64}.example", "MX"), ("a." * 130, "MX")], [server.at], 0.5)[0].answered
