"""The Custom SMTP Settings form with its provider picker. It checks formats; validation.py checks the values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext
from wtforms import Form, HiddenField, PasswordField, RadioField, SelectField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import Optional, StopValidation, ValidationError

from ..smtp.network.dial import takes_mail_without_login
from ..smtp.network.pasted_host import take_apart
from ..smtp.network.targets import is_port
from ..smtp.providers.model import ProviderKind
from ..smtp.server import Mechanism, Security
from ..state import current_config
from ..web.fields import PortalForm, mailbox_field, max_length, required, stripped, text_field
from ..web.translations import translated
from . import advanced, provider_values, providers
from .models import DETECT, SmtpSettings
from .validation import SettingsInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..smtp.probe.autoconfig import Suggestion
    from ..smtp.providers.model import Port, Provider

_SECURITY = [
    SelectChoice(Security.STARTTLS.value, lazy_gettext("Off: STARTTLS, port 587 (most common)")),
    SelectChoice(Security.IMPLICIT_TLS.value, lazy_gettext("On: SSL/TLS, port 465")),
    SelectChoice(DETECT, lazy_gettext("Detect for me")),
]
_PLAINTEXT = SelectChoice(
    Security.PLAINTEXT.value, lazy_gettext("None: unencrypted, only for servers that the operator allows")
)
_MECHANISMS = [
    SelectChoice(Mechanism.AUTOMATIC.value, lazy_gettext("Automatic")),
    *(SelectChoice(one.value) for one in (Mechanism.PLAIN, Mechanism.LOGIN, Mechanism.CRAM_MD5)),
]


_ADVANCED = (
    "wrapped_user",
    "from_name",
    "ehlo_name",
    "envelope_sender",
    "messages_per_connection",
    "reply_seconds",
    "headers",
)
_IMPLICIT_TLS_PORTS = {465, 2465}  # by convention, RFC 8314 section 7.3
_USUAL_PROVIDERS = {"mailgun", "gmail", *providers.REHEARSALS}  # the first two are named in the form's hints
_PROVIDER_GROUPS = (
    lazy_gettext("Most common"),
    lazy_gettext("For automated emails"),
    lazy_gettext("Mailboxes"),
    lazy_gettext("Other"),
)
_MAX_REGIONS_IN_LABEL = 3


def port_number(_form: Form, field: Any) -> None:
    """Accept a whole number from 1 to 65535, or nothing."""
    if field.data and not is_port(field.data):
        raise ValidationError(_("Enter a port number, such as 587, or leave this empty."))


def no_control_characters(_form: Form, field: Any) -> None:
    """Reject control characters: NUL separates the values of AUTH PLAIN (RFC 4616), and line breaks come from pasting."""
    if any(ord(c) < 32 or ord(c) == 127 for c in field.data or ""):
        raise ValidationError(
            _("The password contains a line break or another control character. Paste it again.")
        )


def required_for_login(form: Form, field: Any) -> None:
    """Require a username unless there is no log-in, which is named where the server may do without."""
    if field.data or form["mechanism"].data == Mechanism.NONE.value:
        return
    if takes_mail_without_login(form["host"].data or "", current_config().policy):
        raise StopValidation(
            _(
                "Enter the SMTP username. If the server accepts this portal by its IP address, choose None under SMTP "
                "Authentication instead."
            )
        )
    raise StopValidation(_("Enter the SMTP username."))


class SmtpForm(PortalForm):
    """The fields of Custom SMTP Settings."""

    provider = SelectField(lazy_gettext("Provider"), validators=[Optional()], validate_choice=False)
    host = text_field(
        lazy_gettext("SMTP Server"),
        required(lazy_gettext("Enter the SMTP server, such as smtp.mailgun.org.")),
        limit=253,
    )
    username = text_field(lazy_gettext("SMTP Username"), required_for_login, limit=254)
    password = PasswordField(
        lazy_gettext("SMTP Password"), validators=[no_control_characters, max_length(500)]
    )
    domain = text_field(lazy_gettext("Domain"), limit=253)
    security = RadioField(
        lazy_gettext("Enable SSL"),
        choices=_SECURITY,
        default=Security.STARTTLS.value,
        validate_choice=False,
        validators=[Optional()],
    )
    port = text_field(lazy_gettext("SMTP Port"), Optional(), port_number, limit=12)
    mechanism = SelectField(
        lazy_gettext("SMTP Authentication"), choices=_MECHANISMS, default=Mechanism.AUTOMATIC.value
    )
    wrapped_user = text_field(lazy_gettext("Affiliate Wrapped User"), limit=64)
    from_name = text_field(lazy_gettext("From name"), limit=100)
    reply_to = mailbox_field(lazy_gettext("Reply-To"), Optional())
    ehlo_name = text_field(lazy_gettext("EHLO name"), limit=253)
    envelope_sender = mailbox_field(lazy_gettext("Return address"), Optional())
    messages_per_connection = text_field(lazy_gettext("Messages per connection"), limit=12)
    reply_seconds = text_field(lazy_gettext("Server timeout"), limit=12)
    headers = TextAreaField(
        lazy_gettext("Additional headers"), validators=[max_length(2000)], filters=[stripped]
    )
    based_on = HiddenField(
        validators=[Optional(), max_length(6)]
    )  # number of the version that filled the form
    _pasted_port: int | None = None  # that was pasted into the field of the server
    # The typed password, sealed by credentials.seal_typed, while the form comes back unsaved.
    typed_password = HiddenField(validators=[Optional(), max_length(8000)])
    address = text_field(
        lazy_gettext("Your email address or domain"), limit=254
    )  # only for Find my settings, never saved

    def prepare(self) -> Provider:
        """Set the choices of the fields. Return the chosen provider, whose hints the page shows."""
        config = current_config()
        self.provider.choices = provider_choices()
        no_login = SelectChoice(
            Mechanism.NONE.value, _("None: the server accepts this portal by its IP address")
        )
        self.mechanism.choices = [*_MECHANISMS, no_login]
        if any(target.plaintext for target in config.policy.private_targets):
            self.security.choices = [*_SECURITY, _PLAINTEXT]
        return providers.by_id(self.provider.data)

    def validate_security(self, field: Any) -> None:
        if field.data not in {choice.value for choice in field.choices}:
            raise ValidationError(_("Choose how the connection is encrypted."))

    def validate_port(self, field: Any) -> None:
        if self._pasted_port and field.data not in ("", str(self._pasted_port)):
            raise ValidationError(
                _(
                    "You pasted port %(pasted)d with the server, but this field contains %(entered)s. Enter the right port.",
                    pasted=self._pasted_port,
                    entered=field.data,
                )
            )

    @property
    def has_advanced_errors(self) -> bool:
        """Whether a field of the part *Advanced* has an error, so that the part has to be open."""
        return any(self[name].errors for name in _ADVANCED)

    def take_host_apart(self) -> str:
        """Take a pasted address or line apart into server and port. Return what was done, as a sentence, or nothing."""
        pasted = take_apart(self.host.data or "")
        if pasted is None:
            return ""
        self._pasted_port = pasted.port
        _fill(self.host, pasted.host)
        parts = [self.host]
        if pasted.port and not self.port.data:
            _fill(self.port, str(pasted.port))
            parts.append(self.port)
            if pasted.port in _IMPLICIT_TLS_PORTS and self.security.data == Security.STARTTLS.value:
                self.security.data = Security.IMPLICIT_TLS.value
                parts.append(self.security)
        return str(_("We split what you pasted. %(parts)s.", parts="; ".join(map(_described, parts))))

    def values(self) -> dict[str, str]:
        """Return the present values of the fields that an offer may change."""
        return {name: (self[name].data or "").strip() for name in provider_values.FIELDS}

    def as_input(self) -> SettingsInput:
        """Return the values of the fields, as they are saved."""
        return SettingsInput(**{name: self[name].data or "" for name in SettingsInput.__dataclass_fields__})

    def apply(self, values: Mapping[str, str]) -> None:
        """Replace values, as *Use its values* offers them."""
        for name, value in values.items():
            self[name].data, self[name].raw_data = value, [value]

    def fill_from_provider(self, card: Provider) -> list[str]:
        """Fill empty fields with the provider's values. Return one phrase for each filled field."""
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

    def fill_sender(self, card: Provider) -> None:
        """Take the mailbox of the username as sender, where none was entered and the provider replaces any other one."""
        local, at, domain = (self.username.data or "").rpartition("@")
        if card.replaces_from and at and not (self.wrapped_user.data or self.domain.data):
            _fill(self.wrapped_user, local.lower())
            _fill(self.domain, domain)

    def log_in_with_username(self) -> None:
        """Log in where a username was entered. The guide has no field for the choice of no log-in."""
        if self.username.data and self.mechanism.data == Mechanism.NONE.value:
            self.mechanism.data = Mechanism.AUTOMATIC.value

    def fill_from_suggestion(self, suggestion: Suggestion) -> list[str]:
        """Fill empty fields with the suggested values. Return one phrase for each filled field."""
        filled = []
        if not self.provider.data and suggestion.provider:
            self.provider.data = suggestion.provider.id
        if not self.host.data:
            filled.append(_fill(self.host, suggestion.host))
        if not self.port.data and self.host.data == suggestion.host:
            self.security.data = suggestion.security.value
            filled.append(_fill(self.port, str(suggestion.port)))
        if not self.username.data and suggestion.username:
            filled.append(_fill(self.username, suggestion.username))
        return filled

    def validate_address_only(self) -> bool:
        """Run the filters of all fields, but keep only the errors of the address: the other fields may still be empty."""
        self.filter_only(self.address)
        return not self.address.errors

    def _port_of(self, card: Provider) -> Port | None:
        """Return the provider's port for the chosen encryption, else the one it recommends."""
        if card.id == "other" or self.security.data == DETECT:
            return None  # DETECT: leave the port open
        ports = sorted(card.ports, key=lambda port: not port.recommended)
        matching = (port for port in ports if port.security.value == self.security.data)
        return next(matching, card.recommended_port)


class RecipientForm(PortalForm):
    """Where a test email goes. Without own live settings, only the owner's mailbox gets one, and nothing is asked."""

    recipient = mailbox_field(lazy_gettext("To"), Optional())


def initial_values(version: SmtpSettings) -> dict[str, Any]:
    """Return the values of a saved version for the form, without the password."""
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
        "based_on": str(version.number),
        **advanced.form_values(version),
    }


def _fill(field: Any, value: str) -> str:
    """Set the value of an empty field as if it had been submitted. Return a phrase that names field and value."""
    field.data, field.raw_data = value, [value]
    return _("%(setting)s with %(other_setting)s", setting=field.label.text, other_setting=value)


def _described(field: Any) -> str:
    """Return a phrase of the label and the value of a field, of a choice its first word: ``Enable SSL: On``."""
    value = {Security.IMPLICIT_TLS.value: _("On: SSL/TLS")}.get(field.data, field.data)
    return str(_("%(label)s: %(value)s", label=field.label.text, value=value))


def provider_choices() -> list[SelectChoice]:
    """Return the options of the provider picker in their groups, preceded by an empty option."""
    options = [
        SelectChoice(card.id, _provider_label(card), _fill_attributes(card), _provider_group(card))
        for card in providers.available()
    ]
    options.sort(key=lambda option: _PROVIDER_GROUPS.index(option.optgroup or ""))
    return [SelectChoice("", _("Choose a provider…")), *options]


def _provider_group(card: Provider) -> str:
    usual, automated, mailboxes, other = _PROVIDER_GROUPS
    if card.id in _USUAL_PROVIDERS:
        return usual
    return {ProviderKind.TRANSACTIONAL: automated, ProviderKind.MAILBOX: mailboxes}.get(card.kind, other)


def _provider_label(card: Provider) -> str:
    if card.id == "other":
        return _("Other provider")
    regions = [translated(host.label) for host in card.hosts]
    return f"{card.name} ({', '.join(regions)})" if 1 < len(regions) <= _MAX_REGIONS_IN_LABEL else card.name


def _fill_attributes(card: Provider) -> dict[str, str]:
    """Return the data attributes from which the page's script fills empty fields.

    An empty value removes what the previously chosen provider had filled in.
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
