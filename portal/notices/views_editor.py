"""The editor of one notice: its text, preview, test email and versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_login import current_user, login_required

from ..accounts.standing import is_limited
from ..clock import utcnow
from ..web import owner_limits
from ..web.errors import ErrorPage, error_page
from ..web.headers import mail_page
from ..web.pagination import key_argument
from . import colours, preview, recipients, rendering, send_test, texts, validation
from .checks.replacing import replace_all
from .forms import TextForm
from .texts import Text
from .views import blueprint, current_sender, notice_or_404

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .catalogue import Notice
    from .models import NoticeDraft, TextVersion
    from .preview import PreviewRecipient

_NUMBER = "<int(max=999999999):number>"
_ARGUMENT_LIMIT_CHARS = 100  # of a search and an affiliate's id


@blueprint.get("/<kind>")
@login_required
def show(kind: str) -> Any:
    """Show the editor, with the stored draft if the address has ``draft``."""
    notice = notice_or_404(kind)
    draft = _requested_draft(notice)
    form = TextForm(formdata=None)
    _fill(form, notice)
    if draft is not None:
        form.subject.data, form.html.data, form.text.data = draft.subject, draft.html, draft.text
        form.based_on.data = draft.based_on
    return _editor(notice, form, draft=draft is not None)


@blueprint.get("/<kind>/html")
@login_required
def html(kind: str) -> Response:
    """Return the email alone, for a frame: the current text, the draft or an earlier version."""
    notice = notice_or_404(kind)
    text, values = _requested_text(notice), _values_of(_requested_recipient())
    rendered = preview.render_preview(notice, current_user.account, text, values)
    if rendered.mail is None:
        abort(404)
    return mail_page(colours.force_scheme(rendered.mail.html, dark=request.args.get("scheme") == "dark"))


@blueprint.post("/<kind>")
@login_required
def save(kind: str) -> Any:
    """Save the form, store it for a preview, or send it as a test email, depending on the button."""
    notice = _editable_or_400(kind)
    form = TextForm()
    operations = {"preview": _preview, "test": _send_test, "replace": _replace_all}
    operation = operations.get(request.form.get("operation", ""), _save)
    return operation(notice, form)


@blueprint.post("/<kind>/live-preview")
@login_required
def live_preview(kind: str) -> Any:
    """Store the draft and return its preview, for the script of the editor."""
    notice = _editable_or_400(kind)
    try:
        owner_limits.count(owner_limits.LIVE_PREVIEWS, current_user.account_id, now=utcnow())
    except owner_limits.LimitReached as error:
        return error_page(
            429, page=ErrorPage("Too many previews", str(error), "Your text is still in the editor.")
        )
    form = TextForm()
    _save_draft(notice, form)
    context = _preview_context(notice, form.entered_text(), draft=True)
    return render_template("notices/preview.html", **context)


@blueprint.post("/<kind>/reset")
@login_required
def reset(kind: str) -> Any:
    notice = _editable_or_400(kind)
    form = TextForm()
    try:
        version = texts.reset_to_default(current_user, notice, based_on=form.based_on_number, now=utcnow())
    except texts.EditConflict as conflict:
        flash(_describe_conflict(conflict) + " Nothing was reset.", "warning")
        return _redirect_to_editor(notice)
    preview.delete_draft(current_user, notice)
    flash(
        "The default text is sent from now on. Yours stays among the versions." + _state_of_sending(notice)
        if version
        else "This is the default text already.",
        "success",
    )
    return _redirect_to_editor(notice)


@blueprint.get(f"/<kind>/versions/{_NUMBER}")
@login_required
def version(kind: str, number: int) -> Any:
    notice = notice_or_404(kind)
    row = _version_or_404(notice, number)
    text = texts.text_of(row, notice)
    newest = texts.newest_version(current_user.account_id, notice)
    return render_template(
        "notices/version.html",
        row=row,
        text=text,
        is_newest=newest is not None and newest.number == number,
        **_preview_context(notice, text, version=number),
    )


@blueprint.post(f"/<kind>/versions/{_NUMBER}/restore")
@login_required
def restore(kind: str, number: int) -> Any:
    notice = _editable_or_400(kind)
    row = _version_or_404(notice, number)
    try:
        validation.validate(notice, current_user.account, texts.text_of(row, notice), with_trials=True)
    except validation.InvalidText as error:  # saved before the present rules
        return _open_invalid_version(notice, row, error)
    try:
        restored = texts.restore_version(current_user, notice, row, now=utcnow())
    except texts.EditConflict as conflict:
        flash(_describe_conflict(conflict) + " Nothing was restored.", "warning")
        return _redirect_to_editor(notice)
    preview.delete_draft(current_user, notice)
    flash(
        f"Version {number} is restored, as version {restored.number}." + _state_of_sending(notice)
        if restored
        else f"Version {number} says what is sent.",
        "success",
    )
    return _redirect_to_editor(notice)


def _open_invalid_version(notice: Notice, row: TextVersion, error: validation.InvalidText) -> Any:
    """Put a version that cannot be sent into the draft, for its owner to correct."""
    newest = texts.newest_version(current_user.account_id, notice)
    based_on = newest.number if newest else 0
    preview.save_draft(current_user, notice, texts.text_of(row, notice), based_on=based_on, now=utcnow())
    (first, *_others) = (one for sentences in error.by_field.values() for one in sentences)
    flash(
        _(
            "Version %(number)s is not restored, because it would not leave as it is. It is in the editor. %(reason)s",
            number=row.number,
            reason=first,
        ),
        "warning",
    )
    return _redirect_to_editor(notice, draft=1)


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
    return _redirect_to_editor(notice)


def _replace_all(notice: Notice, form: TextForm) -> Any:
    """Replace what other products and editors left in the text. The result is a draft, not saved yet."""
    replaced = replace_all(notice, form.entered_text())
    preview.save_draft(current_user, notice, replaced.text, based_on=form.based_on_number, now=utcnow())
    if replaced.conversions:
        pairs = ", ".join(map(str, replaced.conversions))
        flash(_("Replaced: %(pairs)s. Check it and save it; nothing is saved yet.", pairs=pairs), "success")
    else:
        flash(_("There was nothing to replace."), "info")
    return _redirect_to_editor(notice, draft=1)


def _preview(notice: Notice, form: TextForm) -> Any:
    _save_draft(notice, form)
    return _redirect_to_editor(notice, draft=1, anchor="preview")


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
                "No test was sent: the platform’s sender carries your own texts once your account is approved. "
                "Your words are kept."
            ),
            "warning",
        )
        return _redirect_to_editor(notice, draft=1)
    except rendering.UnrenderableText as error:
        flash(_("No test was sent. %(reason)s Your words are kept.", reason=str(error)), "warning")
        return _redirect_to_editor(notice, draft=1)
    except send_test.TooManyTests:
        flash("This hour’s test emails are used up. Your words are kept; try again later.", "warning")
        return _redirect_to_editor(notice, draft=1)
    return _redirect_to_editor(notice, draft=1, sent=message.id)


def _save_draft(notice: Notice, form: TextForm) -> None:
    text, based_on = form.entered_text(), form.based_on_number
    preview.save_draft(current_user, notice, text, based_on=based_on, now=utcnow())


def _flash_saved(notice: Notice, version: TextVersion | None, valid: validation.ValidText) -> None:
    if version is None:
        flash("Nothing had changed, so there is no new version.", "info")
    else:
        flash(_saved_sentence(notice, version), "success")
    if valid.converted:
        flash(f"Converted from LeadDyno’s spelling: {', '.join(map(str, valid.converted))}.", "info")
    if valid.repaired:
        pairs = ", ".join(map(str, valid.repaired))
        flash(_("Repaired placeholders that an editor had changed: %(pairs)s.", pairs=pairs), "info")


def _saved_sentence(notice: Notice, version: TextVersion) -> str:
    if is_limited(current_user.account):
        return str(
            _(
                "Saved as version %(number)s. It waits until your account is approved; the default text is sent.",
                number=version.number,
            )
        )
    state = _state_of_sending(notice)
    return f"Saved as version {version.number}.{state or ' It is sent from now on.'}"


def _state_of_sending(notice: Notice) -> str:
    """Return a sentence, with a space before it, if the notice is not sent now; an empty string if it is."""
    if not recipients.is_enabled(current_user.account_id, notice):
        return " " + str(_("This email is switched off: it is sent once you switch it on."))
    if not current_sender():
        return " " + str(_("No sender is set up: it is sent once there is one."))
    return ""


def _describe_conflict(conflict: texts.EditConflict) -> str:
    return f"{conflict.newest.owner_name} has saved version {conflict.newest.number} meanwhile."


# -- pages


def _redirect_to_editor(notice: Notice, anchor: str | None = None, **more: Any) -> Any:
    """Redirect to the editor. The affiliate shown and the search stay."""
    arguments = {name: _clean_argument(request.form.get(name, "")) for name in ("as", "q")}
    kept: dict[str, Any] = {name: value for name, value in arguments.items() if value}
    return redirect(url_for(".show", kind=notice.kind, _anchor=anchor, **kept, **more), 303)


def _editor_with_errors(notice: Notice, form: TextForm, error: validation.InvalidText) -> str:
    form.show_errors(error.by_field)
    return _editor(notice, form, form_errors=True)


def _fill(form: TextForm, notice: Notice) -> None:
    text = texts.current_text(current_user.account_id, notice)
    newest = texts.newest_version(current_user.account_id, notice)
    form.subject.data, form.html.data, form.text.data = text.subject, text.html, text.text
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
        **_preview_context(notice, form.entered_text(), draft=draft),
        **more,
    )


def _preview_context(
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


def _editable_or_400(kind: str) -> Notice:
    notice = notice_or_404(kind)
    return abort(400) if notice.locked else notice


def _version_or_404(notice: Notice, number: int) -> TextVersion:
    return texts.find_version(current_user.account_id, notice, number) or abort(404)


def _requested_draft(notice: Notice) -> NoticeDraft | None:
    return preview.find_draft(current_user, notice) if request.args.get("draft") else None


def _requested_text(notice: Notice) -> Text:
    """Return the text of the version or draft in the address, or the current text."""
    number = key_argument(request.args.get("version"))
    if number:
        return texts.text_of(_version_or_404(notice, number), notice)
    draft = _requested_draft(notice)
    if draft is not None:
        return Text(draft.subject, draft.html, draft.text)
    return texts.current_text(current_user.account_id, notice)


def _requested_recipient() -> PreviewRecipient | None:
    """Return the affiliate to preview for, by the id in the address or the form."""
    id_ = key_argument(request.values.get("as"))
    return None if id_ is None else preview.recipients().find(current_user.account, id_)


def _values_of(recipient: PreviewRecipient | None) -> Mapping[str, str] | None:
    return recipient.values if recipient else None


def _clean_argument(value: str) -> str:
    return rendering.clean_line(value)[:_ARGUMENT_LIMIT_CHARS]
