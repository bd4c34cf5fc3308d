"""What the owner entered, judged: the rules of host, port, domain and sender, and what its shape betrays."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..smtp.mailbox import MailboxError, parse_mailbox
from ..smtp.network.guard import HostError, canonical_host
from ..smtp.providers import check_credentials
from ..smtp.server import Security
from ..state import current_config
from . import providers
from .models import DETECT, SmtpSettings

_DEFAULT_PORT = {Security.STARTTLS: 587, Security.IMPLICIT_TLS: 465, Security.PLAINTEXT: 25}
_QUESTIONS = {"app-password-spaces", "outer-space"}  # asked before a log-in is wasted on them
_NO_DOMAIN = "Enter a domain such as example.com, without http:// and without the part before @."
_NO_LOCAL_PART = (
    "Enter only the part before the @, such as info or support: letters (a–z), digits, dots and hyphens."
)

Advice = list[dict[str, object]]


@dataclass(frozen=True)
class Typed:
    """What the owner entered, stripped but not yet judged. ``password`` empty: keep the saved one."""

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


class SettingsRefused(Exception):
    """The values cannot be saved; ``errors`` maps a field to the sentence beside it."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__(", ".join(errors))
        self.errors = errors


def judge(typed: Typed) -> SmtpSettings:
    """Apply the rules; return a version still without number and password. Raises SettingsRefused."""
    errors: dict[str, str] = {}
    host = _host(typed.host, errors)
    security = typed.security or Security.STARTTLS.value
    port = _port(typed, security, errors)
    domain = _domain(typed, errors)
    wrapped_user = _wrapped_user(typed.wrapped_user, errors)
    if not errors:
        _sender_rule(wrapped_user, domain, errors)
        _from_rule(host, typed.username, domain, errors)
    if errors:
        raise SettingsRefused(errors)
    known = providers.provider_of(host)  # the host tells better than the list, where it is known at all
    chosen = providers.find(typed.provider).id if known.id == "other" and typed.provider else known.id
    return SmtpSettings(
        provider=chosen,
        host=host,
        port=port,
        security=security,
        mechanism=typed.mechanism,
        username=typed.username,
        domain=domain,
        wrapped_user=wrapped_user,
        from_name=typed.from_name,
        reply_to=typed.reply_to,
    )


def advise(version: SmtpSettings, password: str) -> Advice:
    """Return what can be said about a version before the first try. An empty password is not judged."""
    provider = providers.provider_of(version.host)
    known = provider if provider.id not in {"other", providers.REHEARSAL} else None
    found = check_credentials(version.host, version.username, password, version.domain, known)
    rows: Advice = [
        {
            "field": one.field,
            "code": one.code,
            "sentence": one.sentence,
            "blocking": one.blocking or one.code in _QUESTIONS,
        }
        for one in found
    ]
    behind = _domain_of(version.username)
    if behind and behind != version.domain and not any(row["field"] == "domain" for row in rows):
        sentence = (
            f"Emails will leave as {version.sender} although the username is at {behind}. "
            f"That works only if {version.domain} is verified at your provider."
        )
        rows.append({"field": "domain", "code": "other-domain", "sentence": sentence, "blocking": False})
    return rows


def _host(typed: str, errors: dict[str, str]) -> str:
    try:
        return canonical_host(typed)
    except HostError as error:
        errors["host"] = str(error)
        return ""


def _port(typed: Typed, security: str, errors: dict[str, str]) -> int:
    if not typed.port:
        return 0 if security == DETECT else _DEFAULT_PORT[Security(security)]
    port = int(typed.port)
    allowed = current_config().policy.ports
    if port not in allowed:
        listed = ", ".join(map(str, sorted(allowed)))
        errors["port"] = f"Port {port} is not one that mail is handed in through here. Use one of {listed}."
    return port


def _domain(typed: Typed, errors: dict[str, str]) -> str:
    domain = typed.domain.strip("@") or typed.username.rpartition("@")[2] * ("@" in typed.username)
    if not domain:
        errors["domain"] = "Enter the domain your emails should come from, such as example.com."
        return ""
    try:
        return parse_mailbox(f"info@{domain}").domain
    except MailboxError:
        errors["domain"] = _NO_DOMAIN
        return ""


def _wrapped_user(typed: str, errors: dict[str, str]) -> str:
    try:
        found = parse_mailbox(f"{typed or 'info'}@example.com")
    except MailboxError:
        found = None
    if found is None or not found.is_ascii:  # beyond ASCII few servers take it, and fewer receivers
        errors["wrapped_user"] = _NO_LOCAL_PART
        return ""
    return found.local


def _sender_rule(wrapped_user: str, domain: str, errors: dict[str, str]) -> None:
    try:
        parse_mailbox(f"{wrapped_user}@{domain}")
    except MailboxError as error:
        errors["domain"] = f"{error} It would be {wrapped_user}@ and this domain."


def _from_rule(host: str, username: str, domain: str, errors: dict[str, str]) -> None:
    """Refuse a domain these providers would refuse: theirs must be that of the username."""
    provider, behind = providers.provider_of(host), _domain_of(username)
    if provider.from_domain_must_match_username and behind and behind != domain:
        errors["domain"] = (
            f"{provider.name} sends only for the domain of the username, which is {behind}. "
            f"Enter {behind} here, or use the SMTP username of {domain}."
        )


def _domain_of(username: str) -> str:
    """Return the canonical domain of a username that is an address, else nothing."""
    _, at, behind = username.rpartition("@")
    try:
        return canonical_host(behind) if at else ""
    except HostError:
        return behind.lower()
