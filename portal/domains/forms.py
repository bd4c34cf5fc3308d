"""The form for a DKIM selector, or for the headers of an email that name it."""

from __future__ import annotations

from flask_babel import gettext as _
from flask_babel import lazy_gettext
from wtforms import TextAreaField
from wtforms.validators import ValidationError

from ..arrival.headers import find_signatures, holds_signature
from ..web.fields import PortalForm, max_length, required, stripped
from .dkim import SELECTOR

_MAX_CHARS = 20_000  # the headers of an email have a few thousand
_MAX_SELECTOR_CHARS = 63


def _without_control_characters(text: str | None) -> str | None:
    return text and "".join(char for char in text if char.isprintable() or char in "\r\n\t")


class SelectorForm(PortalForm):
    """``selectors`` are those of a valid form, and ``domain`` is the one whose signatures count."""

    selector = TextAreaField(
        lazy_gettext("DKIM selector"),
        validators=[
            required(lazy_gettext("Enter a selector: the part before ._domainkey.")),
            max_length(_MAX_CHARS),
        ],
        filters=[stripped, _without_control_characters],
    )
    domain = ""
    selectors: tuple[str, ...] = ()

    def validate_selector(self, field: TextAreaField) -> None:
        """Accept a selector, also as a full name with ._domainkey, which is how DNS panels show it, or pasted headers."""
        text = str(field.data)
        if holds_signature(text):
            self.selectors = self._from_headers(text)
            return
        selector = text.rstrip(".").lower().partition("._domainkey")[0]
        if not _is_selector(selector):
            raise ValidationError(
                _("Enter the part of the name before ._domainkey, such as s1 or 20260301pm.")
            )
        self.selectors = (selector,)

    def _from_headers(self, text: str) -> tuple[str, ...]:
        signatures = [one for one in find_signatures(text) if _is_selector(one.selector)]
        found = tuple(one.selector for one in signatures if one.domain == self.domain)
        if found:
            return found
        others = ", ".join(dict.fromkeys(one.domain[:100] for one in signatures[:5]))
        if others:
            raise ValidationError(
                _(
                    "These headers do not contain a signature of %(domain)s, only of %(others)s. A "
                    "signature of %(domain)s has d=%(domain)s.",
                    domain=self.domain,
                    others=others,
                )
            )
        raise ValidationError(
            _(
                "These headers do not contain a complete DKIM-Signature. Paste the header with s= and d= to its end."
            )
        )


def _is_selector(text: str) -> bool:
    return len(text) <= _MAX_SELECTOR_CHARS and SELECTOR.fullmatch(text) is not None
