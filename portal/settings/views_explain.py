"""The page Explain a reply: the diagnosis of a pasted SMTP reply. Nothing is stored."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from flask import Blueprint, render_template
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_login import current_user
from wtforms import SelectField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import Length

from ..clock import utcnow
from ..smtp.diagnosis.explain_cli import explain_reply
from ..smtp.failure import Stage
from ..web import owner_limits
from ..web.fields import PortalForm, required, text_field
from ..web.labels import STAGE_LABELS, diagnosis_view

if TYPE_CHECKING:
    from ..smtp.diagnosis.diagnose import Diagnosis

blueprint = Blueprint("explain", __name__)
PATH = "/settings/explain"
_MAX_REPLY_CHARS = 8000  # a real reply has a few hundred

_STAGE_COMMANDS = {
    Stage.CONSENT: "OAuth",
    Stage.CONNECT: "",
    Stage.GREETING: "220",
    Stage.EHLO: "EHLO",
    Stage.TLS: "STARTTLS",
    Stage.AUTH: "AUTH",
    Stage.MAIL: "MAIL FROM",
    Stage.RCPT: "RCPT TO",
    Stage.DATA: "DATA",
}
_KIND_LABELS = {
    "credentials": lazy_gettext("Username or password"),
    "app_password": lazy_gettext("You need an app password"),
    "consent": lazy_gettext("The permission to log in without a password"),
    "login_disabled": lazy_gettext("Logging in is turned off"),
    "login_required": lazy_gettext("Sending without a log-in"),
    "mechanism": lazy_gettext("The log-in method"),
    "account": lazy_gettext("Your account at the provider"),
    "sender_identity": lazy_gettext("The From address"),
    "domain": lazy_gettext("The sending domain"),
    "recipient": lazy_gettext("This one recipient"),
    "rate": lazy_gettext("Too many emails at once"),
    "greylisted": lazy_gettext("Try again later"),
    "content": lazy_gettext("The content of the message"),
    "security": lazy_gettext("Encryption"),
    "ehlo_name": lazy_gettext("The name of this portal’s server"),
    "network": lazy_gettext("The connection to the server"),
    "server_fault": lazy_gettext("The server itself"),
    "not_smtp": lazy_gettext("Not a mail server"),
    "protocol": lazy_gettext("The exchange with the server"),
}
_RETRY_LABELS = {
    "settings": lazy_gettext("No. Emails wait until you fix the settings."),
    "recipient": lazy_gettext("No. Signet does not retry this email."),
    "message": lazy_gettext("No. Signet does not retry this email."),
    "later": lazy_gettext("Yes. Signet retries this email automatically."),
    "server": lazy_gettext("Yes. Signet retries automatically, less and less often."),
    "rate": lazy_gettext("Yes. Signet slows down automatically."),
}


def _stage_choices() -> list[SelectChoice]:
    """Return the stages in the language of the page, each with the command that it is known by."""
    labels = {stage: str(STAGE_LABELS[stage]) for stage in _STAGE_COMMANDS}
    return [SelectChoice("", _("I do not know"))] + [
        SelectChoice(stage.value, f"{labels[stage]} ({command})" if command else labels[stage])
        for stage, command in _STAGE_COMMANDS.items()
    ]


def strip_invisible(value: str | None) -> str | None:
    """Remove invisible characters, such as terminal escape codes, which HTML cannot contain."""
    if not isinstance(value, str):
        return value
    return "".join(c for c in value if c in "\r\n\t" or unicodedata.category(c)[0] != "C").strip()


class ExplainForm(PortalForm):
    """A reply pasted from a log or a bounce."""

    server = text_field(lazy_gettext("SMTP Server"), limit=253)
    stage = SelectField(
        lazy_gettext("When did you get this reply?"),
        choices=_stage_choices,
        default="",
        invalid_choice_message=lazy_gettext("Choose when you got the reply."),
    )
    reply = TextAreaField(
        lazy_gettext("Reply"),
        filters=[strip_invisible],
        validators=[
            required(lazy_gettext("Paste the server’s reply.")),
            Length(
                max=_MAX_REPLY_CHARS,
                message=lazy_gettext(
                    "Paste %(limit)s characters or fewer: the lines that begin with a number.",
                    limit=f"{_MAX_REPLY_CHARS:,}",
                ),
            ),
        ],
    )


@blueprint.get(PATH)
def show() -> str:
    return _page(ExplainForm(formdata=None))


@blueprint.post(PATH)
def answer() -> Any:
    # POST although nothing is changed, and no redirect: a reply contains email addresses, which must not appear in
    # URLs and access logs.
    form = ExplainForm()
    if not form.validate():
        return _page(form), 422
    try:
        owner_limits.count(owner_limits.EXPLANATIONS, current_user.account_id, now=utcnow())
    except owner_limits.LimitReached as error:
        form.reply.errors = [str(error)]
        return _page(form), 429
    return _page(form, explain_reply(form.server.data or "", form.stage.data, form.reply.data))


def _page(form: ExplainForm, diagnosis: Diagnosis | None = None) -> str:
    return render_template(
        "settings/explain.html",
        form=form,
        form_errors=bool(form.errors),
        view=diagnosis_view(diagnosis.as_dict()) if diagnosis else None,
        facts=_facts(diagnosis) if diagnosis else {},
    )


def _facts(diagnosis: Diagnosis) -> dict[str, str]:
    stage = diagnosis.evidence["stage"]
    return {
        _("Kind of problem"): _KIND_LABELS[diagnosis.kind],
        _("Step"): STAGE_LABELS.get(stage, stage),
        _("Does waiting help?"): _RETRY_LABELS[diagnosis.retry_class],
        _("Diagnosis"): diagnosis.code,
    }
