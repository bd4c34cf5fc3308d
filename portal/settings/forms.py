"""The Custom SMTP Settings form. It checks shapes; what the values mean is decided in versions.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wtforms import Form, PasswordField, RadioField, SelectField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import Optional, ValidationError

from ..smtp.providers.model import ProviderKind
from ..smtp.server import Mechanism, Security
from ..state import current_config
from ..web.fields import PortalForm, at_most, mailbox_field, required, text_field
from . import providers
from .models import DETECT, SmtpSettings

if TYPE_CHECKING:
    from ..smtp.probe.autoconfig import Suggestion
    from ..smtp.providers.model import Port, Provider

_SECURITY = [
    SelectChoice(Security.STARTTLS.value, "Off: STARTTLS, port 587 (usual)"),
    SelectChoice(Security.IMPLICIT_TLS.value, "On: SSL/TLS from the first byte, port 465"),
    SelectChoice(DETECT, "Detect for me"),
]
_PLAINTEXT = SelectChoice(
    Security.PLAINTEXT.value, "None: unencrypted, only towards servers the operator allowed"
)
_MECHANISMS = [
    SelectChoice(Mechanism.AUTOMATIC.value, "Automatic"),
    *(SelectChoice(one.value) for one in (Mechanism.PLAIN, Mechanism.LOGIN, Mechanism.CRAM_MD5)),
]


_USUAL = {"mailgun", "gmail", providers.REHEARSAL}  # the two the form's own help speaks of, and ours
_GROUPS = ("The usual ones", "Made for automated mail", "Mailboxes", "Other")
_FEW = 4  # with more regions than this, the first is hardly ever the right one


def a_port(form: Form, field: Any) -> None:
    """Accept a whole number from 1 to 65535."""
    if field.data and not (field.data.isascii() and field.data.isdigit() and 0 < int(field.data[:6]) < 65536):
        raise ValidationError("Enter a port number, such as 587, or leave this empty.")


def no_null(form: Form, field: Any) -> None:
    """Refuse what no log-in can carry (RFC 4616) or what a paste left behind."""
    if any(ord(c) < 32 or ord(c) == 127 for c in field.data or ""):
        raise ValidationError("The password holds a line break or another control character. Paste it again.")


class SmtpForm(PortalForm):
    """Custom SMTP Settings, in the words of the field's help pages."""

    provider = SelectField("Provider", validators=[Optional()], validate_choice=False)
    host = text_field("SMTP Server", required("Enter the SMTP server, such as smtp.mailgun.org."), limit=253)
    username = text_field("SMTP Username", required("Enter the SMTP username."), limit=254)
    password = PasswordField("SMTP Password", validators=[no_null, at_most(500)])
    domain = text_field("Domain", limit=253)
    security = RadioField(
        "Enable SSL",
        choices=_SECURITY,
        default=Security.STARTTLS.value,
        validate_choice=False,
        validators=[Optional()],
    )
    port = text_field("SMTP Port", Optional(), a_port, limit=12)
    mechanism = SelectField("SMTP Authentication", choices=_MECHANISMS, default=Mechanism.AUTOMATIC.value)
    wrapped_user = text_field("Affiliate Wrapped User", limit=64)
    from_name = text_field("From name", limit=100)
    reply_to = mailbox_field("Reply-To", Optional())
    address = text_field("Your email address or domain", limit=254)  # to find the settings by; never saved

    def prepare(self) -> Provider:
        """Fill the choices and return the chosen provider, whose tips are shown."""
        config = current_config()
        self.provider.choices = provider_choices()
        if any(target.plaintext for target in config.policy.private_targets):
            self.security.choices = [*_SECURITY, _PLAINTEXT]
        return providers.find(self.provider.data)

    def validate_security(self, field: Any) -> None:
        if field.data not in {choice.value for choice in field.choices}:
            raise ValidationError("Choose one of the ways to encrypt.")

    def fill_from_provider(self, card: Provider) -> list[str]:
        """Fill what is empty with the provider's values; return the labels of what was filled."""
        filled = []
        port, host = self._port_of(card), providers.first_host(card)
        literal = card.literal_usernames(self.host.data or (host.name if host else ""))
        if not self.host.data and host:
            filled.append(_fill(self.host, host.name))
        if not self.port.data and port is not None:
            self.security.data = port.security.value
            filled.append(_fill(self.port, str(port.number)))
        if not self.username.data and literal:
            filled.append(_fill(self.username, literal[0]))
        return filled

    def fill_from_guess(self, guess: Suggestion) -> list[str]:
        """Fill what is empty with what was found; return the labels of what was filled."""
        filled = []
        if not self.provider.data and guess.provider:
            self.provider.data = guess.provider.id
        if not self.host.data:
            filled.append(_fill(self.host, guess.host))
        if not self.port.data and self.host.data == guess.host:
            self.security.data = guess.security.value
            filled.append(_fill(self.port, str(guess.port)))
        if not self.username.data and guess.username:
            filled.append(_fill(self.username, guess.username))
        return filled

    def judge_address_alone(self) -> bool:
        """Clean every field, but complain about the address only: the rest is still to be filled in."""
        self.validate()
        for other in (other for other in self if other is not self.address):
            other.errors = []
        return not self.address.errors

    def _port_of(self, card: Provider) -> Port | None:
        """Return the provider's port for the chosen encryption, else the one it recommends."""
        if card.id == "other" or self.security.data == DETECT:
            return None  # "Detect for me" is a choice, too
        ports = sorted(card.ports, key=lambda port: not port.recommended)
        fitting = (port for port in ports if port.security.value == self.security.data)
        return next(fitting, card.recommended_port)


def shown_values(version: SmtpSettings) -> dict[str, Any]:
    """Return a saved version as the form shows it; never the password."""
    return {
        "provider": version.provider,
        "host": version.host,
        "username": version.username,
        "domain": version.domain,
        "security": version.security,
        "port": str(version.port) if version.port else "",
        "mechanism": version.mechanism,
        "wrapped_user": version.wrapped_user,
        "from_name": version.from_name,
        "reply_to": version.reply_to,
    }


def _fill(field: Any, value: str) -> str:
    """Put a value into an empty field as if it had been typed; return what to say about it."""
    field.data, field.raw_data = value, [value]
    return f"{field.label.text} with {value}"


def provider_choices() -> list[SelectChoice]:
    """Return the picker's options, group by group; the one for no choice stands before all groups."""
    options = [
        SelectChoice(card.id, _label(card), _fills(card), _group(card)) for card in providers.available()
    ]
    options.sort(key=lambda option: _GROUPS.index(option.optgroup or ""))
    return [SelectChoice("", "Choose a provider…"), *options]


def _group(card: Provider) -> str:
    usual, automated, mailboxes, other = _GROUPS
    if card.id in _USUAL:
        return usual
    return {ProviderKind.TRANSACTIONAL: automated, ProviderKind.MAILBOX: mailboxes}.get(card.kind, other)


def _label(card: Provider) -> str:
    if card.id == "other":
        return "Other provider"
    regions = [host.label for host in card.hosts]
    return f"{card.name} ({', '.join(regions)})" if 1 < len(regions) < _FEW else card.name


def _fills(card: Provider) -> dict[str, str]:
    """Return the data attributes from which the page's script fills empty fields.

    An empty value takes back what another provider's choice had filled in.
    """
    port, host = card.recommended_port, providers.first_host(card)
    if card.id == "other" or port is None:
        return {}
    literal = card.literal_usernames(card.hosts[0].name)
    return {
        "data-fill-host": host.name if host else "",
        "data-fill-port": str(port.number),
        "data-fill-security": port.security.value,
        "data-fill-username": literal[0] if literal else "",
    }
