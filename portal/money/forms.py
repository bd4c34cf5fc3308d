"""Forms of the page of commissions: decisions about chosen ones, and the rule that approves them."""

from __future__ import annotations

from typing import Any

from flask_babel import gettext
from flask_babel import lazy_gettext as _
from wtforms import BooleanField, StringField
from wtforms.validators import StopValidation

from ..web.fields import PortalForm, max_length, one_line, stripped
from .approval_rule import MAX_DAYS

_REASON_MAX_CHARS = 300


class DecisionForm(PortalForm):
    """The reason for declining the chosen commissions."""

    reason = StringField(
        _("Reason"),
        description=_("The email shows it. Leave it empty to give no reason."),
        validators=[one_line, max_length(_REASON_MAX_CHARS)],
        filters=[stripped],
    )


class RuleForm(PortalForm):
    """After how many days commissions are approved without a decision."""

    active = BooleanField(_("Approve commissions automatically"))
    days = StringField(
        _("Days after the purchase"),
        description=_("Take the days in which an order can be returned, for example 30."),
        filters=[stripped],
    )

    def validate_days(self, field: Any) -> None:
        """Require a whole number of days while the rule is on."""
        entered = field.data or ""
        is_number = entered.isascii() and entered.isdigit() and len(entered) <= len(str(MAX_DAYS))
        if self.active.data and not (is_number and 1 <= int(entered) <= MAX_DAYS):
            raise StopValidation(gettext("Enter a number of days from 1 to %(most)s.", most=MAX_DAYS))

    @property
    def chosen(self) -> int | None:
        """The number of days; None if the rule is off."""
        return int(self.days.data) if self.active.data else None
