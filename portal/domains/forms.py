"""The form for a DKIM selector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wtforms.validators import ValidationError

from ..web.fields import PortalForm, required, text_field
from .dkim import SELECTOR

if TYPE_CHECKING:
    from wtforms import Form


def _selector(_form: Form, field: object) -> None:
    """Accept a selector, also as a full name with ._domainkey, which is how DNS panels show it."""
    text = str(getattr(field, "data", "") or "").rstrip(".").lower()
    selector = text.partition("._domainkey")[0]
    if not SELECTOR.fullmatch(selector) or len(selector) > 63:
        raise ValidationError("Enter the part before ._domainkey, such as s1 or 20260301pm.")
    field.data = selector  # type: ignore[attr-defined]


class SelectorForm(PortalForm):
    selector = text_field(
        "Selector", required("Enter a selector: the part before ._domainkey."), _selector, limit=200
    )
