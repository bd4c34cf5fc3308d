"""The form of the programme settings. saving.py validates the addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_babel import lazy_gettext as _
from flask_wtf.file import FileField
from wtforms import BooleanField, Form, RadioField, SelectField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import ValidationError

from ..accounts.models import LinkForm
from ..languages import ENGLISH, LANGUAGES
from ..shop_links import LIMIT_CHARS
from ..web.fields import PortalForm, max_length, one_line, stripped, text_field
from .saving import DEFAULT_LIMIT, LIMITS, MAX_VISIT_DAYS, ProgrammeSettings

if TYPE_CHECKING:
    from collections.abc import Mapping


def validate_days(_form: Form, field: Any) -> None:
    """Refuse what is no whole number of days within the limit."""
    typed = field.data or ""
    if not (typed.isascii() and typed.isdigit() and len(typed) <= 4 and int(typed) <= MAX_VISIT_DAYS):
        raise ValidationError(_("Enter a whole number from 0 to %(most)s.", most=MAX_VISIT_DAYS))


def validate_count(_form: Form, field: Any) -> None:
    """Refuse what is no whole number within the bounds of a limit of sign-ups."""
    typed = field.data or ""
    least, most = LIMITS
    if not (typed.isascii() and typed.isdigit() and len(typed) <= 6 and least <= int(typed) <= most):
        raise ValidationError(_("Enter a whole number from %(least)s to %(most)s.", least=least, most=most))


class SettingsForm(PortalForm):
    """The settings of a programme."""

    language = SelectField(
        _("Language of your programme"),
        choices=[
            *(SelectChoice(one.code, one.name) for one in LANGUAGES.values() if one.is_complete),
            *(
                SelectChoice(one.code, _("%(language)s (own texts only)", language=one.name))
                for one in LANGUAGES.values()
                if not one.is_complete
            ),
        ],
        default=ENGLISH.code,
        description=_(
            "The language of emails to affiliates and of your public pages, including dates and amounts. "
            "Your own texts are not translated. With “own texts only”, Signet’s own sentences stay in "
            "English."
        ),
    )
    shop_url = text_field(
        _("Your shop’s address"),
        limit=LIMIT_CHARS,
        description=_("Where your affiliates’ links lead, such as https://shop.example/."),
    )
    link_form = RadioField(
        _("Your affiliates’ links"),
        choices=[
            SelectChoice(LinkForm.SHORT.value, _("Short link of this portal, which counts visits")),
            SelectChoice(LinkForm.PARAMETER.value, _("Your shop’s address with ?ref=CODE")),
            SelectChoice(LinkForm.PATTERN.value, _("A pattern of your own")),
        ],
        default=LinkForm.SHORT.value,
    )
    link_pattern = text_field(
        _("Pattern"),
        limit=LIMIT_CHARS,
        description=_(
            "Only for a pattern of your own: an address at your shop with {code} in it, such as /?partner={code}."
        ),
    )
    visit_days = text_field(
        _("Days that a visit counts"),
        validate_days,
        limit=4,
        description=_(
            "How long the shop’s script remembers the code after a visit, once the visitor has agreed. 0: until the visit ends."
        ),
    )
    commission = text_field(
        _("Commission in words"),
        limit=200,
        description=_("Shown on your sign-up page, such as “15 percent of each order, paid monthly”."),
    )
    description = TextAreaField(
        _("About the programme"),
        filters=[stripped],
        validators=[one_line, max_length(300)],
        description=_("One or two sentences for your sign-up page, and for the preview when it is shared."),
    )
    picture = FileField(_("Picture for link previews"))
    remove_picture = BooleanField(_("Remove the current picture"))
    terms_url = text_field(_("Link to your terms"), limit=LIMIT_CHARS)
    privacy_url = text_field(_("Link to your privacy policy"), limit=LIMIT_CHARS)

    asks_website = BooleanField(
        _("Ask new affiliates for their website"),
        description=_(
            "The sign-up form gets a field for it, which may stay empty. You see it on the affiliate’s page."
        ),
    )
    sign_ups_per_network = text_field(
        _("Sign-ups from one network in an hour"),
        validate_count,
        limit=6,
        description=_(
            "Raise this limit for a fair, a class or an office, where many people share one connection."
        ),
    )
    sign_ups_at_once = text_field(
        _("Sign-ups from different networks in ten minutes"),
        validate_count,
        limit=6,
        description=_(
            "If there are more, bots may be entering strangers’ addresses. The form then slows down for an "
            "hour, and an incident opens. Raise this limit before a launch."
        ),
    )

    def entered_settings(self) -> ProgrammeSettings:
        """Return what was entered."""
        return ProgrammeSettings(
            language=self.language.data,
            shop_url=self.shop_url.data or "",
            link_form=LinkForm(self.link_form.data),
            link_pattern=self.link_pattern.data or "",
            visit_days=int(self.visit_days.data or 0),
            commission=self.commission.data or "",
            description=self.description.data or "",
            terms_url=self.terms_url.data or "",
            privacy_url=self.privacy_url.data or "",
            picture=self.picture.data or None,
            remove_picture=bool(self.remove_picture.data),
            asks_website=bool(self.asks_website.data),
            sign_ups_per_network=int(self.sign_ups_per_network.data or DEFAULT_LIMIT),
            sign_ups_at_once=int(self.sign_ups_at_once.data or DEFAULT_LIMIT),
        )

    def show_errors(self, by_field: Mapping[str, str]) -> None:
        """Show sentences beside their fields."""
        for name, sentence in by_field.items():
            self[name].errors = [sentence]
