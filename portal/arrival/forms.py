"""The form for the headers of a received test email."""

from __future__ import annotations

from flask_babel import lazy_gettext
from wtforms import TextAreaField

from ..web.fields import PortalForm, max_length, required, stripped
from .headers import MAX_CHARS


def _without_control_characters(text: str | None) -> str | None:
    return text and "".join(char for char in text if char.isprintable() or char in "\r\n\t")


class HeadersForm(PortalForm):
    """``headers`` is the source of an email, or the headers of it."""

    headers = TextAreaField(
        lazy_gettext("Headers of the test email"),
        validators=[required(lazy_gettext("Paste the headers of the test email.")), max_length(MAX_CHARS)],
        filters=[stripped, _without_control_characters],
    )
