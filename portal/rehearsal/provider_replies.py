"""Refused log-ins of well-known providers, as data: the rehearsal server simulates them under the real host names.

SIGNET_REHEARSAL_PLAYS directs the host names to this machine, and the server reads the requested name from
TLS (SNI, RFC 6066 section 3). The replies are quoted from the providers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from flask_babel import lazy_gettext

from .listeners import PASSWORD

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

APP_PASSWORD = "abcdefghijklmnop"  # 16 letters as at Google; not a secret, the page shows it
_EU = "smtp.eu.mailgun.org"
_APP_PASSWORD_CHARS = 16


@dataclass(frozen=True)
class Login:
    """One log-in attempt. ``host`` is the server name the client requested, in lower case."""

    host: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Refusal:
    """The reply to log-ins that meet a condition; lines are separated by CRLF."""

    when: Callable[[Login], bool]
    reply: str


@dataclass(frozen=True)
class ProviderReplies:
    """Replies of one provider. The first refusal whose condition is met applies.

    ``accepts`` describes on the page which log-in is accepted.
    """

    provider: str
    hosts: tuple[str, ...]
    accepts: str
    refusals: tuple[Refusal, ...]


def _wrong_password(login: Login) -> bool:
    return not login.username or login.password != PASSWORD


def _always(_login: Login) -> bool:
    return True


def _username_is_not_apikey(login: Login) -> bool:
    return login.username != "apikey"


def _belongs_to_other_region(login: Login) -> bool:
    return login.username.rpartition("@")[2].lower().startswith("eu.") != (login.host == _EU)


def _is_not_app_password(login: Login) -> bool:
    bare = "".join(login.password.split())
    return not (len(bare) == _APP_PASSWORD_CHARS and bare.isascii() and bare.isalpha())


def _wrong_app_password(login: Login) -> bool:
    return not login.username or login.password != APP_PASSWORD


_MAILGUN_REFUSAL = "535 5.7.0 Authentication failed"
_SENDGRID_REFUSAL = "535 Authentication failed: Bad username / password"
_MICROSOFT_REFUSAL = "535 5.7.139 Authentication unsuccessful,"
_MICROSOFT_MACHINE = "[AM0PR01CA0101.eurprd01.prod.exchangelabs.com]"

PROVIDERS: tuple[ProviderReplies, ...] = (
    ProviderReplies(
        "SendGrid",
        ("smtp.sendgrid.net",),
        lazy_gettext("The username apikey with the password %(password)s.", password=PASSWORD),
        (Refusal(_username_is_not_apikey, _SENDGRID_REFUSAL), Refusal(_wrong_password, _SENDGRID_REFUSAL)),
    ),
    ProviderReplies(
        "Mailgun",
        ("smtp.mailgun.org", _EU),
        lazy_gettext(
            "The password %(password)s. A username whose domain begins with eu. is known at %(eu)s only, any other at "
            "smtp.mailgun.org only.",
            password=PASSWORD,
            eu=_EU,
        ),
        (Refusal(_belongs_to_other_region, _MAILGUN_REFUSAL), Refusal(_wrong_password, _MAILGUN_REFUSAL)),
    ),
    ProviderReplies(
        "Google",
        ("smtp.gmail.com",),
        lazy_gettext("The app password %(app_password)s, without spaces.", app_password=APP_PASSWORD),
        (
            Refusal(
                _is_not_app_password,
                "534-5.7.9 Application-specific password required. For more information, go to\r\n"
                "534 5.7.9  https://support.google.com/mail/?p=InvalidSecondFactor rehearsal - gsmtp",
            ),
            Refusal(
                _wrong_app_password,
                "535-5.7.8 Username and Password not accepted. For more information, go to\r\n"
                "535 5.7.8  https://support.google.com/mail/?p=BadCredentials rehearsal - gsmtp",
            ),
        ),
    ),
    ProviderReplies(
        "Microsoft 365",
        ("smtp.office365.com",),
        lazy_gettext(
            "Nothing: with the password %(password)s log-ins for sending are switched off.", password=PASSWORD
        ),
        (
            Refusal(
                _wrong_password,
                f"{_MICROSOFT_REFUSAL} the user credentials were incorrect. {_MICROSOFT_MACHINE}",
            ),
            Refusal(
                _always,
                f"{_MICROSOFT_REFUSAL} SmtpClientAuthentication is disabled for the Tenant. "
                f"Visit https://aka.ms/smtp_auth_disabled for more information. {_MICROSOFT_MACHINE}",
            ),
        ),
    ),
)

# For every other name, such as localhost.
_DEFAULT = ProviderReplies(
    "",
    (),
    lazy_gettext("Any username with the password %(password)s.", password=PASSWORD),
    (Refusal(_wrong_password, "535 5.7.8 Username and password not accepted"),),
)


def refusal_for(login: Login) -> str | None:
    """Return the reply of the requested server to a refused log-in, None if it accepts the log-in."""
    provider = next((one for one in PROVIDERS if login.host in one.hosts), _DEFAULT)
    return next((refusal.reply for refusal in provider.refusals if refusal.when(login)), None)


def describe_hosts(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return each simulated host name with a sentence about the log-in it accepts."""
    accepts = {host: one.accepts for one in PROVIDERS for host in one.hosts}
    return [(name, accepts.get(name, _DEFAULT.accepts)) for name in names]


class SniNames:
    """Server names that clients requested by SNI, for each TLS connection."""

    def __init__(self) -> None:
        self._names: WeakKeyDictionary[ssl.SSLObject, str] = WeakKeyDictionary()

    def record_from(self, context: ssl.SSLContext) -> None:
        """Record the names requested in handshakes with this context."""
        context.sni_callback = self._record

    def name(self, tls: ssl.SSLObject | None) -> str:
        """Return the requested name in lower case, empty if there was none."""
        return self._names.get(tls, "") if tls is not None else ""

    def _record(self, tls: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        if name:
            self._names[tls] = name.lower()
