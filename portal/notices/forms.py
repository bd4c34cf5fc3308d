"""The forms of the automated emails. They check shapes; what a text means is judged in judging.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_wtf.file import FileField
from wtforms import BooleanField, IntegerField, StringField, TextAreaField
from wtforms.validators import NumberRange, Optional
from wtforms.widgets import HiddenInput

from ..web.fields import PortalForm, at_most, mailbox_field, required, text_field
from .rendering import clean_lines
from .texts import Text

if TYPE_CHECKING:
    from collections.abc import Mapping


def _readable(value: str | None) -> str | None:
    """Drop what no page can show again; browsers send CRLF."""
    return clean_lines(value) if value else value


class TextForm(PortalForm):
    """The editor of one email."""

    subject = StringField("Subject", filters=[_readable])
    html = TextAreaField("Message", filters=[_readable])
    text = TextAreaField("Text version", filters=[_readable])
    based_on = IntegerField(widget=HiddenInput(), validators=[Optional(), NumberRange(0, 10**9)])

    def typed(self) -> Text:
        """Return the words as they were entered."""
        return Text(self.subject.data or "", self.html.data or "", self.text.data or "")

    @property
    def begun_with(self) -> int:
        """The number of the version the words began with; a garbled one counts as the shipped text."""
        return max(0, min(self.based_on.data or 0, 10**9))

    def refuse(self, by_field: Mapping[str, list[str]]) -> None:
        """Put sentences beside their fields."""
        for name, sentences in by_field.items():
            self[name].errors = list(sentences)


class LookForm(PortalForm):
    """Look of your emails."""

    accent = text_field("Accent colour", required("Enter a colour, such as #1f3f5c."), limit=7)
    logo = FileField("Logo")
    remove_logo = BooleanField("Remove the present logo")
    address = TextAreaField("Postal address", filters=[_readable], validators=[at_most(500)])
    footer = TextAreaField("Footer", filters=[_readable], validators=[at_most(1000)])


class MailboxForm(PortalForm):
    """One more mailbox for the notices to the owner."""

    mailbox = mailbox_field("Email address", required("Enter an email address like name@example.com."))
