"""The forms of the automated emails. They check lengths and formats; validation.py checks the content of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_babel import lazy_gettext
from flask_wtf.file import FileField
from wtforms import BooleanField, IntegerField, StringField, TextAreaField
from wtforms.validators import NumberRange, Optional
from wtforms.widgets import HiddenInput

from ..web.fields import (
    PortalForm,
    address_field,
    mailbox_field,
    max_length,
    required,
    text_field,
    without_address_field,
)
from .rendering import clean_lines
from .texts import Text

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_VERSION_NUMBER = 10**9


def _clean(value: str | None) -> str | None:
    """Replace the CRLF that browsers send by LF, and control characters by spaces."""
    return clean_lines(value) if value else value


class TextForm(PortalForm):
    """The editor of one notice's text."""

    subject = StringField(lazy_gettext("Subject"), filters=[_clean])
    format = StringField(widget=HiddenInput())  # of the message: "markdown" or "html"
    markdown = TextAreaField(lazy_gettext("Message"), filters=[_clean])
    html = TextAreaField(lazy_gettext("Message"), filters=[_clean])
    text = TextAreaField(lazy_gettext("Text version"), filters=[_clean])
    based_on = IntegerField(
        widget=HiddenInput(), validators=[Optional(), NumberRange(0, _MAX_VERSION_NUMBER)]
    )

    def entered_text(self) -> Text:
        """Return the text as it was entered, not validated."""
        subject, text = self.subject.data or "", self.text.data or ""
        if self.is_markdown:
            return Text(subject, "", text, self.markdown.data or "")
        return Text(subject, self.html.data or "", text)

    def fill(self, text: Text) -> None:
        """Show a text."""
        self.subject.data, self.html.data, self.text.data = text.subject, text.html, text.text
        self.markdown.data = text.markdown
        self.format.data = "html" if text.markdown is None else "markdown"

    @property
    def is_markdown(self) -> bool:
        """Whether the message is written in Markdown."""
        return bool(self.format.data == "markdown")

    @property
    def based_on_number(self) -> int:
        """The number of the version that was edited; 0, for the default text, if the field is missing or invalid."""
        return max(0, min(self.based_on.data or 0, _MAX_VERSION_NUMBER))

    def show_errors(self, by_field: Mapping[str, list[str]]) -> None:
        """Show sentences beside their fields."""
        for name, sentences in by_field.items():
            self[name].errors = list(sentences)


class BrandingForm(PortalForm):
    """Branding of the account's emails."""

    accent = text_field(
        lazy_gettext("Accent colour"), required(lazy_gettext("Enter a colour, such as #1f3f5c.")), limit=7
    )
    logo = FileField(lazy_gettext("Logo"))
    remove_logo = BooleanField(lazy_gettext("Remove the current logo"))
    address = address_field(lazy_gettext("Postal address"), _clean)
    without_address = without_address_field()
    footer = TextAreaField(lazy_gettext("Footer"), filters=[_clean], validators=[max_length(1000)])


class OwnerMailboxForm(PortalForm):
    """A further mailbox for the notices to the owner."""

    mailbox = mailbox_field(
        lazy_gettext("Email address"), required(lazy_gettext("Enter an email address like name@example.com."))
    )
