"""How well-known providers refuse a log-in, as one table: the rehearsal server plays it under their names.

Which name a client means is known from TLS (SNI, RFC 6066 section 3); the operator sends the names here with
SIGNET_REHEARSAL_PLAYS. The replies are the providers' own words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from .listeners import PASSWORD

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

APP_PASSWORD = "abcdefghijklmnop"  # Google's 16 letters; no secret, it is printed on the page
_EU = "smtp.eu.mailgun.org"
_LETTERS = 16


@dataclass(frozen=True)
class Login:
    """A log-in as it was said. ``host`` is the server's name the client meant, in small letters."""

    host: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Refusal:
    """What is said to a log-in; several lines are separated by CRLF."""

    when: Callable[[Login], bool]
    reply: str


@dataclass(frozen=True)
class Impression:
    """One provider. ``accepts`` tells on the page what gets in; the first refusal that fits is said."""

    provider: str
    hosts: tuple[str, ...]
    accepts: str
    refusals: tuple[Refusal, ...]


def _wrong_password(login: Login) -> bool:
    return not login.username or login.password != PASSWORD


def _always(_login: Login) -> bool:
    return True


def _not_the_word_apikey(login: Login) -> bool:
    return login.username != "apikey"


def _of_the_other_region(login: Login) -> bool:
    return login.username.rpartition("@")[2].lower().startswith("eu.") != (login.host == _EU)


def _no_app_password(login: Login) -> bool:
    bare = "".join(login.password.split())
    return not (len(bare) == _LETTERS and bare.isascii() and bare.isalpha())


def _another_app_password(login: Login) -> bool:
    return not login.username or login.password != APP_PASSWORD


_MAILGUN_REFUSES = "535 5.7.0 Authentication failed"
_SENDGRID_REFUSES = "535 Authentication failed: Bad username / password"
_MICROSOFT_REFUSES = "535 5.7.139 Authentication unsuccessful,"
_MICROSOFT_MACHINE = "[AM0PR01CA0101.eurprd01.prod.exchangelabs.com]"

IMPRESSIONS: tuple[Impression, ...] = (
    Impression(
        "SendGrid",
        ("smtp.sendgrid.net",),
        f"The username apikey with the password {PASSWORD}.",
        (Refusal(_not_the_word_apikey, _SENDGRID_REFUSES), Refusal(_wrong_password, _SENDGRID_REFUSES)),
    ),
    Impression(
        "Mailgun",
        ("smtp.mailgun.org", _EU),
        f"The password {PASSWORD}. A username whose domain begins with eu. is known at {_EU} only, "
        "any other at smtp.mailgun.org only.",
        (Refusal(_of_the_other_region, _MAILGUN_REFUSES), Refusal(_wrong_password, _MAILGUN_REFUSES)),
    ),
    Impression(
        "Google",
        ("smtp.gmail.com",),
        f"The app password {APP_PASSWORD}, without spaces.",
        (
            Refusal(
                _no_app_password,
                "534-5.7.9 Application-specific password required. For more information, go to\r\n"
                "534 5.7.9  https://support.google.com/mail/?p=InvalidSecondFactor rehearsal - gsmtp",
            ),
            Refusal(
                _another_app_password,
                "535-5.7.8 Username and Password not accepted. For more information, go to\r\n"
                "535 5.7.8  https://support.google.com/mail/?p=BadCredentials rehearsal - gsmtp",
            ),
        ),
    ),
    Impression(
        "Microsoft 365",
        ("smtp.office365.com",),
        f"Nothing: with the password {PASSWORD} log-ins for sending are switched off.",
        (
            Refusal(
                _wrong_password,
                f"{_MICROSOFT_REFUSES} the user credentials were incorrect. {_MICROSOFT_MACHINE}",
            ),
            Refusal(
                _always,
                f"{_MICROSOFT_REFUSES} SmtpClientAuthentication is disabled for the Tenant. "
                f"Visit https://aka.ms/smtp_auth_disabled for more information. {_MICROSOFT_MACHINE}",
            ),
        ),
    ),
)

# Under any other name, localhost above all.
_NOBODY = Impression(
    "",
    (),
    f"Any username with the password {PASSWORD}.",
    (Refusal(_wrong_password, "535 5.7.8 Username and password not accepted"),),
)


def refusal(login: Login) -> str | None:
    """Return what the meant server says to a log-in, None where it consents."""
    found = next((one for one in IMPRESSIONS if login.host in one.hosts), _NOBODY)
    return next((refusal.reply for refusal in found.refusals if refusal.when(login)), None)


def played(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return each played name with the sentence that tells what it accepts."""
    accepts = {host: one.accepts for one in IMPRESSIONS for host in one.hosts}
    return [(name, accepts.get(name, _NOBODY.accepts)) for name in names]


class Addressees:
    """Remembers by which name each encrypted connection was addressed."""

    def __init__(self) -> None:
        self._names: WeakKeyDictionary[ssl.SSLObject, str] = WeakKeyDictionary()

    def listen(self, context: ssl.SSLContext) -> None:
        """Note the names said to this context from now on."""
        context.sni_callback = self._note

    def name(self, tls: ssl.SSLObject | None) -> str:
        """Return the name in small letters; empty where none was said."""
        return self._names.get(tls, "") if tls is not None else ""

    def _note(self, tls: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        if name:
            self._names[tls] = name.lower()
