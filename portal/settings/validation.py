"""Validation of submitted settings: rules for host, port, domain and sender, and warnings about likely mistakes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flask_babel import gettext as _

from ..smtp.mailbox import MailboxError, parse_mailbox
from ..smtp.network.guard import HostError, canonical_host
from ..smtp.providers import check_credentials
from ..smtp.server import Mechanism, Security
from ..state import current_config
from . import provider_values, providers
from .models import DETECT, SmtpSettings

_DEFAULT_PORTS = {Security.STARTTLS: 587, Security.IMPLICIT_TLS: 465, Security.PLAINTEXT: 25}
if TYPE_CHECKING:
    from ..smtp.providers.model import Provider

_BLOCKING_CODES = {
    "app-password-spaces",
    "outer-space",
}  # the owner confirms or corrects these before a login is tried
_NO_DOMAIN = "Enter a domain such as example.com, without http:// and without the part before @."
_NO_LOCAL_PART = (
    "Enter only the part before the @, such as info or support: letters (a–z), digits, dots and hyphens."
)

Warnings = list[dict[str, object]]


@dataclass(frozen=True)
class SettingsInput:
    """Submitted values, stripped but not validated. An empty ``password`` keeps the saved one."""

    provider: str
    host: str
    username: str
    password: str = field(repr=False)
    domain: str
    security: str
    port: str
    mechanism: str
    wrapped_user: str
    from_name: str
    reply_to: str

    based_on: str = ""  # number of the version that filled the form

class InvalidSettings(Exception):
    """The values cannot be saved. ``errors`` maps a field name to the sentence shown beside it."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__(", ".join(errors))
        self.errors = errors


def validate(values: SettingsInput) -> SmtpSettings:
    """Apply the rules and return a version without number and password. Raises InvalidSettings."""
    errors: dict[str, str] = {}
    host = _host(values.host, errors)
    security = values.security or Security.STARTTLS.value
    port = _port(values, security, errors)
    domain = _domain(values, errors)
    wrapped_user = _wrapped_user(values.wrapped_user, errors)
    if not errors:
        _check_sender(wrapped_user, domain, errors)
        _check_from_domain(host, values.username, domain, errors)
    if errors:
        raise InvalidSettings(errors)
    recognised = providers.by_host(host)  # takes precedence over the provider chosen in the form
    use_chosen = recognised.id == "other" and values.provider
    provider_id = providers.by_id(values.provider).id if use_chosen else recognised.id
    return SmtpSettings(
        provider=provider_id,
        host=host,
        port=port,
        security=security,
        mechanism=values.mechanism,
        username=values.username,
        domain=domain,
        wrapped_user=wrapped_user,
        from_name=values.from_name,
        reply_to=values.reply_to,
    )


def warnings(version: SmtpSettings, password: str) -> Warnings:
    """Return warnings about a version before its first login. An empty password is not examined."""
    provider = providers.by_host(version.host)
    known = provider if provider.id not in {"other", providers.REHEARSAL} else None
    found = check_credentials(version.host, version.username, password, version.domain, known)
    rows: Warnings = [
        {
            "field": one.field,
            "code": one.code,
            "sentence": one.sentence,
            "blocking": one.blocking or one.code in _BLOCKING_CODES,
        }
        for one in found
    ]
    username_domain = _username_domain(version.username)
    if (
        username_domain
        and username_domain != version.domain
        and not any(row["field"] == "domain" for row in rows)
    ):
        sentence = (
            f"Emails will leave as {version.sender} although the username is at {username_domain}. "
            f"That works only if {version.domain} is verified at your provider."
        )
        rows.append({"field": "domain", "code": "other-domain", "sentence": sentence, "blocking": False})
    return rows


def _host(text: str, errors: dict[str, str]) -> str:
    try:
        return canonical_host(text)
    except HostError as error:
        errors["host"] = str(error)
        return ""


def _port(values: SettingsInput, security: str, errors: dict[str, str]) -> int:
    if not values.port:
        return 0 if security == DETECT else _DEFAULT_PORTS[Security(security)]
    port = int(values.port)
    allowed = current_config().policy.ports
    if port not in allowed:
        listed = ", ".join(map(str, sorted(allowed)))
        errors["port"] = f"Port {port} is not one that mail is handed in through here. Use one of {listed}."
    return port


def _domain(values: SettingsInput, errors: dict[str, str]) -> str:
    domain = values.domain.strip("@") or values.username.rpartition("@")[2] * ("@" in values.username)
    if not domain:
        errors["domain"] = "Enter the domain your emails should come from, such as example.com."
        return ""
    try:
        return parse_mailbox(f"info@{domain}").domain
    except MailboxError:
        errors["domain"] = _NO_DOMAIN
        return ""


def _wrapped_user(text: str, errors: dict[str, str]) -> str:
    try:
        found = parse_mailbox(f"{text or 'info'}@example.com")
    except MailboxError:
        found = None
    if (
        found is None or not found.is_ascii
    ):  # few servers and fewer receivers accept a local part beyond ASCII
        errors["wrapped_user"] = _NO_LOCAL_PART
        return ""
    return found.local


def _check_sender(wrapped_user: str, domain: str, errors: dict[str, str]) -> None:
    try:
        parse_mailbox(f"{wrapped_user}@{domain}")
    except MailboxError as error:
        errors["domain"] = f"{error} It would be {wrapped_user}@ and this domain."


def _check_from_domain(host: str, username: str, domain: str, errors: dict[str, str]) -> None:
    """Reject a From domain other than the username's where the provider requires them to match."""
    provider, username_domain = providers.by_host(host), _username_domain(username)
    if provider.from_domain_must_match_username and username_domain and username_domain != domain:
        errors["domain"] = (
            f"{provider.name} sends only for the domain of the username, which is {username_domain}. "
            f"Enter {username_domain} here, or use the SMTP username of {domain}."
        )


def _username_domain(username: str) -> str:
    """Return the canonical domain of a username that is an email address, else an empty string."""
    _, at, domain = username.rpartition("@")
    try:
        return canonical_host(domain) if at else ""
    except HostError:
        return domain.lower()
