"""The editor of one notice: its text, preview and test email."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_login import current_user

from ..accounts.standing import is_limited
from ..clock import utcnow
from ..web import owner_limits
from ..web.errors import ErrorPage, error_page
from ..web.headers import mail_page
from ..web.pagination import key_argument
from . import colours, preview, recipients, rendering, send_test, texts, validation
from .checks import formats
from .checks.replacing import replace_all
from .forms import TextForm
from .texts import Text
from .views import blueprint, current_sender, notice_or_404

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .catalogue import Notice
    from .models import NoticeDraft, TextVersion
    from .preview import PreviewRecipient

_ARGUMENT_LIMIT_CHARS = 100  # of a search and an affiliate's id


@blueprint.get("/<kind>")
def show(kind: str) -> Any:
    """Show the editor, with the stored draft if the address has ``draft``."""
    notice = notice_or_404(kind)
    draft = _requested_draft(notice)
    form = TextForm(formdata=None)
    _fill(form, notice)
    if draft is not None:
        form.fill(_text_of_draft(draft))
        form.based_on.data = draft.based_on
    return _editor(notice, form, draft=draft is not None)


@blueprint.get("/<kind>/html")
def html(kind: str) -> Response:
    """Return the email alone, for a frame: the current text, the draft or an earlier version."""
    notice = notice_or_404(kind)
    text, values = _requested_text(notice), _values_of(_requested_recipient())
    rendered = preview.render_preview(notice, current_user.account, text, values)
    if rendered.mail is None:
        abort(404)
    return mail_page(colours.force_scheme(rendered.mail.html, dark=request.args.get("scheme") == "dark"))


@blueprint.post("/<kind>")
def save(kind: str) -> Any:
    """Save the form, store it for a preview, or send it as a test email, depending on the button."""
    notice = editable_or_400(kind)
    form = TextForm()
    operations = {"preview": _preview, "test": _send_test, "replace": _replace_all, "format": _change_format}
    operation = operations.get(request.form.get("operation", ""), _save)
    return operation(notice, form)


@blueprint.post("/<kind>/live-preview")
def live_preview(kind: str) -> Any:
    """Store the draft and return its preview, for the script of the editor."""
    notice = editable_or_400(kind)
    try:
        owner_limits.count(owner_limits.LIVE_PREVIEWS, current_user.account_id, now=utcnow())
    except owner_limits.LimitReached as error:
        return error_page(
            429,
            page=ErrorPage(_("Too many previews"), str(error), _("Your text is still in the editor.")),
        )
    form = TextForm()
    _save_draft(notice, form)
    context = preview_context(notice, form.entered_text(), draft=True)
    return render_template("notices/preview.html", **context)


# -- the operations of the editor's form


def _save(notice: Notice, form: TextForm) -> Any:
    """Save the text, or show what its owner has to correct or to accept before."""
    try:
        valid = validation.validate(notice, current_user.account, form.entered_text(), with_trials=True)
        if valid.questions and request.form.get("accepted") != valid.digest:
            return _editor(notice, form, questions=valid.questions, digest=valid.digest), 422
        version = texts.save_version(
            current_user, notice, valid.text, based_on=form.based_on_number, now=utcnow()
        )
    except validation.InvalidText as error:
        return _editor_with_errors(notice, form, error), 422
    except texts.EditConflict as conflict:
        form.based_on.data, form.based_on.raw_data = conflict.newest.number, None
        return _editor(notice, form, form_errors=True, meanwhile=conflict.newest), 409
    preview.delete_draft(current_user, notice)
    _flash_saved(notice, version, valid)
    return redirect_to_editor(notice)


def _replace_all(notice: Notice, form: TextForm) -> Any:
    """Replace what other products and editors left in the text. The result is a draft, not saved yet."""
    replaced = replace_all(notice, form.entered_text())
    preview.save_draft(current_user, notice, replaced.text, based_on=form.based_on_number, now=utcnow())
    if replaced.conversions:
        pairs = ", ".join(map(str, replaced.conversions))
        flash(_("Replaced: %(pairs)s. Check it and save it; nothing is saved yet.", pairs=pairs), "success")
    else:
        flash(_("There was nothing to replace."), "info")
    return redirect_to_editor(notice, draft=1)


def _change_format(notice: Notice, form: TextForm) -> Any:
    """Put the message into the draft in the other format. Nothing is saved, and versions keep theirs."""
    entered = form.entered_text()
    try:
        if form.is_markdown:
            changed = formats.to_html(notice, entered)
        else:
            changed = formats.to_markdown(validation.validate(notice, current_user.account, entered).text)
    except validation.InvalidText as error:
        return _editor_with_errors(notice, form, error), 422
    preview.save_draft(current_user, notice, changed, based_on=form.based_on_number, now=utcnow())
    flash(
        _("This is your message as HTML. Nothing is saved yet.")
        if form.is_markdown
        else _(
            "This is your message without HTML. Colours and boxes are left out. Compare the preview. Nothing "
            "is saved yet."
        ),
        "info",
    )
    return redirect_to_editor(notice, draft=1)


def _preview(notice: Notice, form: TextForm) -> Any:
    _save_draft(notice, form)
    return redirect_to_editor(notice, draft=1, anchor="preview")


def _send_test(notice: Notice, form: TextForm) -> Any:
    """Send the text in the form to the owner. It need not be saved."""
    _save_draft(notice, form)
    account, text = current_user.account, form.entered_text()
    try:
        validation.validate(notice, account, text)
    except validation.InvalidText as error:
        return _editor_with_errors(notice, form, error), 422
    values = _values_of(_requested_recipient())
    try:
        message = send_test.send(
            current_user,
            now=utcnow(),
            notice=notice,
            render=lambda url: preview.render_test(notice, account, text, values, arrival_url=url),
        )
    except send_test.OwnTextWaits:
        flash(
            _(
                "No test email was sent: until your account is approved, the platform’s sender does not send "
                "your own texts. Your text is kept."
            ),
            "warning",
        )
        return redirect_to_editor(notice, draft=1)
    except rendering.UnrenderableText as error:
        flash(_("No test email was sent. %(reason)s Your text is kept.", reason=str(error)), "warning")
        return redirect_to_editor(notice, draft=1)
    except send_test.TooManyTests:
        flash(_("You have used all test emails of this hour. Your text is kept. Try again later."), "warning")
        return redirect_to_editor(notice, draft=1)
    return redirect_to_editor(notice, draft=1, sent=message.id)


def _save_draft(notice: Notice, form: TextForm) -> None:
    text, based_on = form.entered_text(), form.based_on_number
    preview.save_draft(current_user, notice, text, based_on=based_on, now=utcnow())


def _flash_saved(notice: Notice, version: TextVersion | None, valid: validation.ValidText) -> None:
    if version is None:
        flash(_("Nothing had changed, so there is no new version."), "info")
    else:
        flash(_saved_sentence(notice, version), "success")
    if valid.converted:
        pairs = ", ".join(map(str, valid.converted))
        flash(_("Converted from LeadDyno’s spelling: %(pairs)s.", pairs=pairs), "info")
    if valid.repaired:
        pairs = ", ".join(map(str, valid.repaired))
        flash(_("Repaired placeholders that an editor had changed: %(pairs)s.", pairs=pairs), "info")


def _saved_sentence(notice: Notice, version: TextVersion) -> str:
    if is_limited(current_user.account):
        return str(
            _(
                "Saved as version %(number)s. Until your account is approved, the default text is sent.",
                number=version.number,
            )
        )
    state = state_of_sending(notice)
    saved = _("Saved as version %(number)s.", number=version.number)
    return f"{saved}{state}" if state else f"{saved} {_('It is sent from now on.')}"


def state_of_sending(notice: Notice) -> str:
    """Return a sentence, with a space before it, if the notice is not sent now; an empty string if it is."""
    if not recipients.is_enabled(current_user.account_id, notice):
        return " " + str(_("This email is switched off. Switch it on to send it."))
    if not current_sender():
        return " " + str(_("No sender is set up. Until there is one, it is not sent."))
    return ""


def describe_conflict(conflict: texts.EditConflict) -> str:
    """Return the sentence about another owner's save."""
    newest = conflict.newest
    return str(
        _(
            "%(name)s has saved version %(number)s since you opened this page.",
            name=newest.owner_name,
            number=newest.number,
        )
    )


# -- pages


def redirect_to_editor(notice: Notice, anchor: str | None = None, **more: Any) -> Any:
    """Redirect to the editor. The affiliate shown and the search stay."""
    arguments = {name: _clean_argument(request.form.get(name, "")) for name in ("as", "q")}
    kept: dict[str, Any] = {name: value for name, value in arguments.items() if value}
    return redirect(url_for(".show", kind=notice.kind, _anchor=anchor, **kept, **more), 303)


def _editor_with_errors(notice: Notice, form: TextForm, error: validation.InvalidText) -> str:
    form.show_errors(error.by_field)
    return _editor(notice, form, form_errors=True)


def _fill(form: TextForm, notice: Notice) -> None:
    newest = texts.newest_version(current_user.account_id, notice)
    form.fill(
        texts.text_of(newest, notice, current_user.account)
        if newest
        else texts.default_text(notice, texts.language_for(notice, current_user.account))
    )
    form.based_on.data = newest.number if newest else 0


def _editor(notice: Notice, form: TextForm, *, draft: bool = False, **more: object) -> str:
    if request.method == "POST" and not notice.locked:  # the frames load the unsaved text from the draft
        _save_draft(notice, form)
        draft = True
    return render_template(
        "notices/show.html",
        form=form,
        on=recipients.is_enabled(current_user.account_id, notice),
        versions=texts.list_versions(current_user.account_id, notice),
        values=rendering.sample_values(notice, current_user.account),
        sent=key_argument(request.args.get("sent")),
        replacements=() if notice.locked else replace_all(notice, form.entered_text()).conversions,
        own_text_waits=not notice.locked and is_limited(current_user.account),
        **preview_context(notice, form.entered_text(), draft=draft),
        **more,
    )


def preview_context(
    notice: Notice, text: Text, *, draft: bool = False, version: int = 0
) -> dict[str, object]:
    """Return the template context of the preview. ``draft`` and ``version`` select the text of the frames."""
    account, recipient = current_user.account, _requested_recipient()
    search = _clean_argument(request.values.get("q", ""))
    choices = preview.recipients().search(account, search)
    if recipient is not None and recipient not in choices:
        choices.insert(0, recipient)
    rendered = preview.render_preview(notice, account, text, _values_of(recipient))
    return {
        "notice": notice,
        "preview": rendered,
        "frame": {
            "kind": notice.kind,
            "as": recipient.id if recipient else None,
            "draft": 1 if draft else None,
            "version": version or None,
            "mark": rendered.digest,
        },
        "recipient": recipient,
        "choices": choices,
        "search": search,
        "sender": current_sender(),
    }


# -- arguments of the address and the form


def editable_or_400(kind: str) -> Notice:
    """Return the notice of this kind; abort with 404 if there is none, and with 400 if it cannot be edited."""
    notice = notice_or_404(kind)
    return abort(400) if notice.locked else notice


def version_or_404(notice: Notice, number: int) -> TextVersion:
    """Return a version of the own account; abort with 404 if there is none."""
    return texts.find_version(current_user.account_id, notice, number) or abort(404)


def _requested_draft(notice: Notice) -> NoticeDraft | None:
    return preview.find_draft(current_user, notice) if request.args.get("draft") else None


def _text_of_draft(draft: NoticeDraft) -> Text:
    return Text(draft.subject, draft.html, draft.text, draft.markdown)


def _requested_text(notice: Notice) -> Text:
    """Return the text of the version or draft in the address, or the current text."""
    number = key_argument(request.args.get("version"))
    if number:
        return texts.text_of(version_or_404(notice, number), notice, current_user.account)
    draft = _requested_draft(notice)
    if draft is not None:
        return _text_of_draft(draft)
    return texts.current_text(current_user.account, notice)


def _requested_recipient() -> PreviewRecipient | None:
    """Return the affiliate to preview for, by the id in the address or the form."""
    id_ = key_argument(request.values.get("as"))
    return None if id_ is None else preview.recipients().find(current_user.account, id_)


def _values_of(recipient: PreviewRecipient | None) -> Mapping[str, str] | None:
    return recipient.values if recipient else None


def _clean_argument(value: str) -> str:
    return rendering.clean_line(value)[:_ARGUMENT_LIMIT_CHARS]
