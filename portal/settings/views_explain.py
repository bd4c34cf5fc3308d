"""The page Explain a reply: the diagnosis of a pasted SMTP reply. Nothing is stored."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from flask import Blueprint, render_template
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

_STAGE_CHOICES = [SelectChoice("", "I do not know")] + [
    SelectChoice(stage.value, f"{STAGE_LABELS[stage]} ({command})" if command else STAGE_LABELS[stage])
    for stage, command in {
        Stage.CONSENT: "OAuth",
        Stage.CONNECT: "",
        Stage.GREETING: "220",
        Stage.EHLO: "EHLO",
        Stage.TLS: "STARTTLS",
        Stage.AUTH: "AUTH",
        Stage.MAIL: "MAIL FROM",
        Stage.RCPT: "RCPT TO",
        Stage.DATA: "DATA",
    }.items()
]
_KIND_LABELS = {
    "credentials": "Username or password",
    "app_password": "An app password is needed",
    "consent": "The consent to log in without a password",
    "login_disabled": "Logging in is switched off",
    "login_required": "Nobody logged in",
    "mechanism": "The way of logging in",
    "account": "Your account at the provider",
    "sender_identity": "The From address",
    "domain": "The sending domain",
    "recipient": "This one recipient",
    "rate": "Too much at once",
    "greylisted": "Asked to come again later",
    "content": "What the message holds",
    "security": "Encryption",
    "ehlo_name": "The portal’s own name",
    "network": "The way to the server",
    "server_fault": "The server itself",
    "not_smtp": "Not a mail server",
    "protocol": "The mail conversation",
}
_RETRY_LABELS = {
    "settings": "No. Mail waits until the settings are put right.",
    "recipient": "No. Only this message is given up.",
    "message": "No. Only this message is given up.",
    "later": "Yes. The portal tries this message again by itself.",
    "server": "Yes. The portal tries again by itself, less often.",
    "rate": "Yes. The portal slows down by itself.",
}


def strip_invisible(value: str | None) -> str | None:
    """Remove invisible characters, such as terminal escape codes, which HTML cannot contain."""
    if not isinstance(value, str):
        return value
    return "".join(c for c in value if c in "\r\n\t" or unicodedata.category(c)[0] != "C").strip()


class ExplainForm(PortalForm):
    """A reply pasted from a log or a bounce."""

    server = text_field("SMTP Server", limit=253)
    stage = SelectField(
        "When did it say this?",
        choices=_STAGE_CHOICES,
        default="",
        invalid_choice_message="Choose one of the moments.",
    )
    reply = TextAreaField(
        "Reply",
        filters=[strip_invisible],
        validators=[
            required("Paste what the server said."),
            Length(
                max=_MAX_REPLY_CHARS,
                message=f"Paste {_MAX_REPLY_CHARS:,} characters or fewer: the lines that begin with a number.",
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
        "Kind of trouble": _KIND_LABELS[diagnosis.kind],
        "Said at": STAGE_LABELS.get(stage, stage),
        "Does waiting help?": _RETRY_LABELS[diagnosis.retry_class],
        "Diagnosis": diagnosis.code,
    }
