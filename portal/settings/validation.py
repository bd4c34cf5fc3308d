"""Validation of submitted settings: rules for host, port, domain and sender, and warnings about likely mistakes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flask_babel import force_locale, lazy_gettext
from flask_babel import gettext as _

from ..smtp.mailbox import MailboxError, parse_mailbox
from ..smtp.network.dial import takes_mail_without_login, with_own_ports
from ..smtp.network.guard import HostError, canonical_host
from ..smtp.providers import check_credentials
from ..smtp.server import Mechanism, Security
from ..state import current_config
from ..web.translations import translated
from . import advanced, provider_values, providers
from .models import DETECT, SmtpSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..smtp.providers.model import Provider

_DEFAULT_PORTS = {Security.STARTTLS: 587, Security.IMPLICIT_TLS: 465, Security.PLAINTEXT: 25}
_MAX_LISTED_PORTS = 12
_BLOCKING_CODES = {
    "app-password-spaces",
    "outer-space",
}  # the owner confirms or corrects these before a login is tried
_NO_DOMAIN = lazy_gettext(
    "Enter a domain such as example.com, without http:// and without the part before @."
)
_NO_LOCAL_PART = lazy_gettext(
    "Enter only the part before the @, such as info or support: letters (a–z), digits, dots and hyphens."
)

_OTHER_DOMAIN, _OTHER_PROVIDER = "other-domain", "other-provider"
_PASSWORDS_END = ("password-login-ended", "password-login-ends")

Warnings = list[dict[str, object]]


@dataclass(frozen=True, kw_only=True)
class SettingsInput(advanced.AdvancedInput):
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
    port = _port(values, host, security, errors)
    domain = _domain(values, errors)
    wrapped_user = _wrapped_user(values.wrapped_user, errors)
    logs_in = values.mechanism != Mechanism.NONE.value
    if not errors and not logs_in:
        _check_needs_no_login(host, port, errors)
    if not errors:
        _check_sender(wrapped_user, domain, errors)
    version = SmtpSettings()
    advanced.apply(values, version, errors)
    if errors:
        raise InvalidSettings(errors)
    recognised = providers.by_host(host)  # takes precedence over the provider chosen in the form
    use_chosen = recognised.id == "other" and values.provider
    provider_id = providers.by_id(values.provider).id if use_chosen else recognised.id
    version.provider = provider_id
    version.host = host
    version.port = port
    version.security = security
    version.mechanism = values.mechanism
    version.username = values.username if logs_in else ""
    version.domain = domain
    version.wrapped_user = wrapped_user
    version.from_name = values.from_name
    version.reply_to = values.reply_to
    return version


def warnings(version: SmtpSettings, password: str) -> Warnings:
    """Return warnings about a version before its first login, in English. An empty password is not examined."""
    provider = providers.by_host(version.host)
    known = provider if provider.id not in {"other", *providers.REHEARSALS} else None
    found = check_credentials(version.host, version.username, password, version.domain, known)
    if version.mechanism == Mechanism.NONE.value:
        found = [one for one in found if one.field not in ("username", "password")]
    rows: Warnings = [
        {
            "field": one.field,
            "code": one.code,
            "sentence": one.sentence,
            "blocking": one.blocking or one.code in _BLOCKING_CODES,
        }
        for one in found
    ]
    with force_locale("en"):
        sentence = "" if any(row["field"] == "domain" for row in rows) else _sender_warning(version, provider)
    if sentence:
        rows.append({"field": "domain", "code": _OTHER_DOMAIN, "sentence": sentence, "blocking": False})
    return rows


def sentence_of(version: SmtpSettings, warning: Mapping[str, object]) -> str:
    """Return the sentence of a stored warning, which is English, in the language of the page."""
    sentence = ""
    if warning["code"] == _OTHER_DOMAIN:
        sentence = _sender_warning(version, providers.by_host(version.host))
    elif warning["code"] == _OTHER_PROVIDER and "chosen" in warning:
        sentence = provider_values.mismatch(providers.by_id(str(warning["chosen"])), version.host)
    elif warning["code"] in _PASSWORDS_END:
        sentence = _passwords_end(providers.by_host(version.host))
    return sentence or translated(str(warning["sentence"]))


def _passwords_end(provider: Provider) -> str:
    start = _("%(provider)s is giving up passwords for SMTP.", provider=provider.name)
    return " ".join((start, *(f"{translated(one.text)}." for one in provider.deprecations)))


def _sender_warning(version: SmtpSettings, provider: Provider) -> str:
    """Return what is doubtful about a sender at another domain than the username's; empty if it is the same.

    The check decides, because many such senders are right: a "Send mail as" address, a second verified domain.
    """
    if mailbox := replacing_mailbox(version):
        return replacement_sentence(version, mailbox)
    username_domain = _username_domain(version.username)
    if not username_domain or username_domain == version.domain:
        return ""
    start = _(
        "Emails will be sent as %(sender)s, but the username is at %(domain)s.",
        sender=version.sender,
        domain=username_domain,
    )
    if provider.from_domain_must_match_username:
        return f"{start} {provider.name}: {translated(provider.from_rule)}"
    condition = _("This works only if you have verified %(domain)s at your provider.", domain=version.domain)
    return f"{start} {condition}"


def replacing_mailbox(version: SmtpSettings) -> str:
    """Return the mailbox that the provider may silently put in place of the sender; empty if it does not do that."""
    if not providers.by_host(version.host).replaces_from or "@" not in version.username:
        return ""
    local = version.username.rpartition("@")[0].lower()
    try:
        mailbox = parse_mailbox(f"{local}@{_username_domain(version.username)}")
    except MailboxError:
        return ""
    return str(mailbox) if mailbox.is_ascii and str(mailbox) != version.sender.lower() else ""


def replacement_sentence(version: SmtpSettings, mailbox: str) -> str:
    """Return what the owner has to know about a sender that the provider may replace."""
    return str(
        _(
            "%(provider)s accepts the email either way, but sends it as %(mailbox)s unless %(sender)s is one of the "
            "“Send mail as” addresses of that mailbox.",
            provider=providers.by_host(version.host).name,
            mailbox=mailbox,
            sender=version.sender,
        )
    )


def pair_warnings(chosen: str, host: str) -> Warnings:
    """Return a blocking warning, in English, if the chosen provider and the host do not belong together."""
    with force_locale("en"):
        sentence = provider_values.mismatch(providers.by_id(chosen), host)
    warning = {"field": "host", "code": _OTHER_PROVIDER, "sentence": sentence, "blocking": True}
    return [warning | {"chosen": chosen}] if sentence else []


def _host(text: str, errors: dict[str, str]) -> str:
    try:
        return canonical_host(text)
    except HostError as error:
        errors["host"] = translated(str(error))
        return ""


def _check_needs_no_login(host: str, port: int, errors: dict[str, str]) -> None:
    """Reject a server that certainly takes no mail without a log-in.

    Whether a name leads to a private target, which may do without, only the check finds out.
    """
    policy = current_config().policy
    may_be_private = policy.overrides_for(host) or any(t.port in (port, 0) for t in policy.private_targets)
    if not may_be_private and not takes_mail_without_login(host, policy):
        errors["mechanism"] = _(
            "The operator of this portal has not allowed %(host)s for sending without a log-in. Choose "
            "Automatic, or ask the operator to allow it.",
            host=host,
        )


def _port(values: SettingsInput, host: str, security: str, errors: dict[str, str]) -> int:
    if not values.port:
        return 0 if security == DETECT else _DEFAULT_PORTS[Security(security)]
    port = int(values.port)
    policy = current_config().policy
    allowed = with_own_ports(policy, host).ports
    if port not in allowed and all(target.port != port for target in policy.private_targets):
        errors["port"] = _(
            "Port %(port)d is not allowed here. Use one of %(listed)s, or ask the operator of this portal to allow it.",
            port=port,
            listed=_listed(allowed),
        )
    return port


def _listed(ports: frozenset[int]) -> str:
    """Return the ports as text, shortened where an operator allows very many."""
    shown = sorted(ports)[:_MAX_LISTED_PORTS]
    return ", ".join(map(str, shown)) + (", …" if len(shown) < len(ports) else "")


def _domain(values: SettingsInput, errors: dict[str, str]) -> str:
    of_username = values.username.rpartition("@")[2] if "@" in values.username else ""
    domain = values.domain.strip("@") or of_username * (values.mechanism != Mechanism.NONE.value)
    if not domain:
        errors["domain"] = _("Enter the domain your emails should come from, such as example.com.")
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
        errors["domain"] = _(
            "%(error)s The From address would be %(user)s@ and this domain.", error=error, user=wrapped_user
        )


def _username_domain(username: str) -> str:
    """Return the canonical domain of a username that is an email address, else an empty string."""
    _, at, domain = username.rpartition("@")
    try:
        return canonical_host(domain) if at else ""
    except HostError:
        return domain.lower()
