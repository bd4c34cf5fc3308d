"""Forms of the public sign-up and of the owner's pages about affiliates."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from flask_babel import gettext
from flask_babel import lazy_gettext as _
from wtforms import BooleanField, Form, StringField, TextAreaField
from wtforms.validators import StopValidation, ValidationError

from ..affiliates import address_questions, codes, names
from ..affiliates.address_questions import Doubt
from ..affiliates.names import normalize_name
from ..shop_links import LIMIT_CHARS, InvalidShopAddress, clean_address
from ..smtp.mailbox import MailboxError, parse_mailbox
from ..web.fields import (
    PortalForm,
    address_field,
    mailbox_field,
    mailbox_sentence,
    max_length,
    one_line,
    required,
    stripped,
    text_field,
    without_address_field,
)
from .changing.editing import EXTERNAL_ID_LIMIT_CHARS, NOTES_LIMIT_CHARS, Changes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..affiliates.models import Affiliate

_MESSAGE_MAX_CHARS = 1000
_REASON_MAX_CHARS = 300


def validate_name(_form: Form, field: Any) -> None:
    """Refuse text that is not a name, because the portal would send it to an address that a stranger entered."""
    why = names.why_refused(field.data or "")
    if why:
        raise ValidationError(why)


def validate_mailbox_syntax(_form: Form, field: Any) -> None:
    """Refuse an address that cannot be the recipient of an SMTP envelope."""
    try:
        parse_mailbox(field.data or "")
    except MailboxError as error:
        raise ValidationError(mailbox_sentence(error)) from None


def _sentence_of(question: address_questions.Question) -> str:
    match question.doubt:
        case Doubt.TYPING:
            text = gettext(
                "Did you mean %(address)s? If not, send the form again.", address=question.suggestion
            )
        case Doubt.ROLE:
            text = gettext(
                "Often, no one reads emails to addresses like this one. If you read them, send the form again."
            )
        case Doubt.TEXT_MESSAGES:
            text = gettext(
                "This address turns emails into text messages without links. If that is what you want, send the "
                "form again."
            )
    return str(text)


class AskingForm(PortalForm):
    """A form that asks once about an address that is probably mistyped. ``checked`` is the address that was asked about."""

    checked = ""

    def process(self, formdata: Any = None, *more: Any, **options: Any) -> None:
        """Read the fields, and the hidden inputs."""
        sent = self.meta.wrap_formdata(self, formdata)
        super().process(sent, *more, **options)
        self.read_hidden(sent or {})

    def read_hidden(self, sent: Mapping[str, str]) -> None:
        """Read the inputs that have no rules and no label. As fields they would cost a sign-up as much as the others do."""
        self.checked = sent.get("checked", "")

    def question(
        self, *, suggested: str = "", only_typing: bool = False
    ) -> address_questions.Question | None:
        """Return what to ask about the field ``mailbox``, once: the same address is kept when it is sent again.

        ``suggested``: the address of the pressed button, which is put into the field if it is what was suggested.
        ``only_typing``: the person who typed it does not read the mailbox, so nothing else is asked.
        """
        mailbox = self["mailbox"]
        typed = mailbox.data or ""
        found = address_questions.question_about(typed)
        if found is None or (only_typing and found.doubt is not Doubt.TYPING):
            return None
        if found.suggestion and suggested == found.suggestion:
            mailbox.data = found.suggestion
            return None
        if typed == self.checked:
            return None
        self.checked, mailbox.errors = typed, [_sentence_of(found)]
        return found


class JoinForm(AskingForm):
    """The public sign-up form. Bots fill in ``website``, which people do not see; a person's own website is ``site``.

    ``take`` is the button with the suggested address. ``started`` is the signed time at which the form was served, see
    min_fill_time.
    """

    name = StringField(
        _("Your name"),
        validators=[required(_("Enter your name.")), one_line, max_length(names.LIMIT_CHARS), validate_name],
        filters=[normalize_name],
    )
    mailbox = mailbox_field(_("Your email address"), required(_("Enter your email address.")))
    consent = BooleanField(_("I agree to receive emails about my affiliate account."))
    site = text_field(_("Your website"), limit=LIMIT_CHARS)
    website = take = started = ""

    def read_hidden(self, sent: Mapping[str, str]) -> None:
        super().read_hidden(sent)
        self.website, self.take, self.started = (
            sent.get(name, "") for name in ("website", "take", "started")
        )

    def validate_mailbox(self, field: Any) -> None:
        validate_mailbox_syntax(self, field)

    def validate_site(self, field: Any) -> None:
        try:
            field.data = clean_address(field.data or "")
        except InvalidShopAddress as error:
            raise ValidationError(str(error)) from None

    def validate_consent(self, field: Any) -> None:
        if not field.data:
            raise StopValidation(
                _("Tick this box to sign up. The programme needs your consent to email you.")
            )


class ResendConfirmationForm(PortalForm):
    """The form that sends the confirmation again."""

    mailbox = mailbox_field(_("Your email address"), required(_("Enter your email address.")))

    def validate_mailbox(self, field: Any) -> None:
        validate_mailbox_syntax(self, field)


class FindPageForm(ResendConfirmationForm):
    """The form that sends the address of the private page again."""


class AgreeForm(PortalForm):
    """The consent of an invited person."""

    consent = BooleanField(_("I agree to receive emails about my affiliate account."))

    def validate_consent(self, field: Any) -> None:
        if not field.data:
            raise StopValidation(_("Tick this box to join. The programme needs your consent to email you."))


def reject_invisible(_form: Form, field: Any) -> None:
    """Refuse invisible characters except line breaks and tabs, and remove them for the next attempt."""
    entered = field.data or ""
    kept = "".join(
        c for c in entered if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cs", "Zl", "Zp"}
    )
    if kept != entered:
        field.data = kept
        raise ValidationError(
            _(
                "This field contained invisible characters. We have removed them. Check it and send the form "
                "again."
            )
        )


def normalize_newlines(value: str | None) -> str | None:
    """Return the text with line feeds as line ends. Browsers send CRLF."""
    return value.replace("\r\n", "\n").replace("\r", "\n").strip() if isinstance(value, str) else value


class InviteForm(AskingForm):
    """An invitation with the owner's personal message."""

    name = StringField(
        _("Their name"),
        validators=[required(_("Enter the name.")), one_line, max_length(names.LIMIT_CHARS), validate_name],
        filters=[normalize_name],
    )
    mailbox = mailbox_field(_("Their email address"), required(_("Enter the email address.")))
    message = TextAreaField(
        _("Your personal message"),
        description=_("It appears in the email. One sentence about how you know each other is enough."),
        validators=[reject_invisible, max_length(_MESSAGE_MAX_CHARS)],
        filters=[normalize_newlines],
    )

    def validate_mailbox(self, field: Any) -> None:
        validate_mailbox_syntax(self, field)


class FirstInviteForm(InviteForm):
    """An invitation of an account whose postal address is not settled yet."""

    address = address_field(_("Your postal address"), normalize_newlines)
    without_address = without_address_field()

    def validate_address(self, field: Any) -> None:
        if not (field.data or "").strip() and not self.without_address.data:
            raise StopValidation(_("Enter your postal address, or tick the box below it."))


def validate_code(_form: Form, field: Any) -> None:
    """Refuse a code that a link cannot contain, unless it is the stored one: an import accepts codes of one character."""
    why = codes.why_refused(field.data or "")
    if why and field.data != field.object_data:
        raise ValidationError(why)


class EditForm(AskingForm):
    """What the owner may change of an affiliate."""

    name = StringField(
        _("Name"),
        validators=[required(_("Enter the name.")), one_line, max_length(names.LIMIT_CHARS)],
        filters=[normalize_name],
    )
    mailbox = mailbox_field(
        _("Email address"),
        required(_("Enter the email address.")),
        description=_(
            "If you change it, we ask the new address to confirm and notify the current one. Until it is "
            "confirmed, emails go to the current one."
        ),
    )
    code = text_field(
        _("Code"),
        required(_("Enter the code.")),
        validate_code,
        limit=32,
        description=_(
            "It is part of the link. Links with the old code keep working and count for this affiliate. No "
            "other affiliate can get the old code."
        ),
    )
    external_id = text_field(
        _("Your own ID"),
        limit=EXTERNAL_ID_LIMIT_CHARS,
        description=_(
            "The ID of this person in your shop or another system. Events can use it to name the affiliate."
        ),
    )
    notes = TextAreaField(
        _("Notes"),
        description=_("Only your team sees them. The CSV file contains them."),
        validators=[reject_invisible, max_length(NOTES_LIMIT_CHARS)],
        filters=[normalize_newlines],
    )

    def validate_name(self, field: Any) -> None:
        if field.data != field.object_data:  # one of before that today's rule refuses may stay
            validate_name(self, field)

    def validate_mailbox(self, field: Any) -> None:
        if not field.errors:  # one sentence for one fault
            validate_mailbox_syntax(self, field)

    def changes(self, affiliate: Affiliate) -> Changes:
        """Return the entered values; an unchanged name is left out."""
        return Changes(
            name=self.name.data if self.name.data != affiliate.name else None,
            mailbox=self.mailbox.data,
            code=self.code.data,
            external_id=self.external_id.data or "",
            notes=self.notes.data or "",
        )

    def add_errors(self, by_field: Mapping[str, str]) -> None:
        """Add each error to the field that it is about."""
        for name, message in by_field.items():
            self[name].errors = [*self[name].errors, message]


class DeclineForm(PortalForm):
    """The reason for declining an application."""

    reason = StringField(
        _("Reason"), validators=[one_line, max_length(_REASON_MAX_CHARS)], filters=[stripped]
    )


class RulesForm(PortalForm):
    """The sign-up rules of an account."""

    confirm = BooleanField(
        _("Ask new affiliates to confirm their email address"),
        description=_(
            "They get an email with a link first. This keeps out misspelt addresses and people who were "
            "signed up by someone else."
        ),
    )
    auto_approve = BooleanField(
        _("Approve new affiliates at once"),
        description=_("If this is off, each application waits in your list until you approve or decline it."),
    )


class SuppressForm(PortalForm):
    """A mailbox that the owner suppresses."""

    mailbox = mailbox_field(_("Email address"), required(_("Enter the email address.")))
    note = text_field(_("Note for yourself"), limit=200)

    def validate_mailbox(self, field: Any) -> None:
        validate_mailbox_syntax(self, field)


class LiftForm(PortalForm):
    """The reason for ending a suppression."""

    why = text_field(_("Reason for unblocking"), required(_("Enter a reason for unblocking.")), limit=200)
