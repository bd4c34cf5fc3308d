"""The editor of one automated email: its words, what they look like, its versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from ..clock import utcnow
from ..web.headers import mail_page
from ..web.pagination import key_argument
from . import colours, preview, recipients, rendering, send_test, texts, validation
from .forms import TextForm
from .texts import Text
from .views import blueprint, sender
from .views import notice as notice_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .catalogue import Notice
    from .models import TextVersion
    from .preview import PreviewRecipient

_NUMBER = "<int(max=999999999):number>"


@blueprint.get("/<kind>")
@login_required
def show(kind: str) -> Any:
    """Show the editor, with what the owner was writing where the address asks for it."""
    notice = notice_of(kind)
    draft = preview.find_draft(current_user, notice) if request.args.get("draft") else None
    form = TextForm(formdata=None)
    _fill(form, notice)
    if draft is not None:
        form.subject.data, form.html.data, form.text.data = draft.subject, draft.html, draft.text
        form.based_on.data = draft.based_on
    return _editor(notice, form, draft=draft is not None)


@blueprint.get("/<kind>/html")
@login_required
def html(kind: str) -> Response:
    """Answer with the mail alone, for a frame: as sent, as being written, or an earlier version."""
    notice = notice_of(kind)
    shown = preview.render_preview(notice, current_user.account, _words(notice), _values(_recipient()))
    if shown.mail is None:
        abort(404)
    return mail_page(colours.force_scheme(shown.mail.html, dark=request.args.get("scheme") == "dark"))


@blueprint.post("/<kind>")
@login_required
def save(kind: str) -> Any:
    notice = _editable(kind)
    form = TextForm()
    deed = {"preview": _preview, "test": _test}.get(request.form.get("deed", ""), _save)
    return deed(notice, form)


@blueprint.post("/<kind>/live-preview")
@login_required
def live_preview(kind: str) -> Any:
    """Keep what is being written and answer with its preview, for the script."""
    notice = _editable(kind)
    form = TextForm()
    preview.save_draft(current_user, notice, form.typed(), based_on=form.begun_with, now=utcnow())
    return render_template("notices/preview.html", **_shown(notice, form.typed(), draft=True))


@blueprint.post("/<kind>/reset")
@login_required
def reset(kind: str) -> Any:
    notice = _editable(kind)
    form = TextForm()
    try:
        version = texts.reset_to_default(current_user, notice, based_on=form.begun_with, now=utcnow())
    except texts.EditConflict as meanwhile:
        flash(_meanwhile(meanwhile) + " Nothing was reset.", "warning")
        return _back(notice)
    preview.delete_draft(current_user, notice)
    flash(
        "The default text is sent from now on. Yours stays among the versions."
        if version
        else "This is the default text already.",
        "success",
    )
    return _back(notice)


@blueprint.get(f"/<kind>/versions/{_NUMBER}")
@login_required
def version(kind: str, number: int) -> Any:
    notice = notice_of(kind)
    row = texts.find_version(current_user.account_id, notice, number) or abort(404)
    words = texts.text_of(row, notice)
    newest = texts.newest_version(current_user.account_id, notice)
    return render_template(
        "notices/version.html",
        row=row,
        words=words,
        is_newest=newest is not None and newest.number == number,
        **_shown(notice, words, version=number),
    )


@blueprint.post(f"/<kind>/versions/{_NUMBER}/restore")
@login_required
def restore(kind: str, number: int) -> Any:
    notice = _editable(kind)
    row = texts.find_version(current_user.account_id, notice, number) or abort(404)
    try:
        made = texts.restore_version(current_user, notice, row, now=utcnow())
    except texts.EditConflict as meanwhile:
        flash(_meanwhile(meanwhile) + " Nothing was restored.", "warning")
        return _back(notice)
    preview.delete_draft(current_user, notice)
    said = (
        f"Version {number} is restored, as version {made.number}."
        if made
        else f"Version {number} says what is sent."
    )
    flash(said, "success")
    return _back(notice)


# -- what a POST of the editor may ask for


def _save(notice: Notice, form: TextForm) -> Any:
    try:
        valid = validation.validate(notice, current_user.account, form.typed())
        version = texts.save_version(current_user, notice, valid.text, based_on=form.begun_with, now=utcnow())
    except validation.InvalidText as error:
        return _refused(notice, form, error), 422
    except texts.EditConflict as conflict:
        form.based_on.data, form.based_on.raw_data = conflict.newest.number, None
        return _editor(notice, form, form_errors=True, meanwhile=conflict.newest), 409
    preview.delete_draft(current_user, notice)
    _flash_saved(version, valid)
    return _back(notice)


def _preview(notice: Notice, form: TextForm) -> Any:
    preview.save_draft(current_user, notice, form.typed(), based_on=form.begun_with, now=utcnow())
    return _back(notice, draft=1, anchor="preview")


def _test(notice: Notice, form: TextForm) -> Any:
    """Send what stands in the form to the owner, saved or not."""
    preview.save_draft(current_user, notice, form.typed(), based_on=form.begun_with, now=utcnow())
    try:
        validation.validate(notice, current_user.account, form.typed())
    except validation.InvalidText as faults:
        return _refused(notice, form, faults), 422
    shown = preview.render_preview(notice, current_user.account, form.typed(), _values(_recipient()))
    try:
        message = send_test.send(current_user, now=utcnow(), notice=notice, mail=shown.mail)
    except send_test.TooManyTests:
        flash("This hour’s test emails are used up. Your words are kept; try again later.", "warning")
        return _back(notice, draft=1)
    return _back(notice, draft=1, sent=message.id)


def _flash_saved(version: TextVersion | None, valid: validation.ValidText) -> None:
    if version is None:
        flash("Nothing had changed, so there is no new version.", "info")
    else:
        flash(f"Saved as version {version.number}. It is sent from now on.", "success")
    if valid.converted:
        pairs = ", ".join(f"{one.old} became {one.new}" for one in valid.converted)
        flash(f"Converted from LeadDyno’s spelling: {pairs}.", "info")
    if valid.removed:
        flash(f"Removed, since mail programmes refuse it: {', '.join(valid.removed)}.", "warning")


# -- pages


def _editable(kind: str) -> Notice:
    notice = notice_of(kind)
    return abort(400) if notice.locked else notice


def _back(notice: Notice, anchor: str | None = None, **more: Any) -> Any:
    said = {name: rendering.clean_line(request.form.get(name, ""))[:100] for name in ("as", "q")}
    chosen: dict[str, Any] = {name: value for name, value in said.items() if value}
    return redirect(url_for(".show", kind=notice.kind, _anchor=anchor, **chosen, **more), 303)


def _refused(notice: Notice, form: TextForm, faults: validation.InvalidText) -> str:
    form.refuse(faults.by_field)
    return _editor(notice, form, form_errors=True)


def _fill(form: TextForm, notice: Notice) -> None:
    words, newest = (
        texts.current_text(current_user.account_id, notice),
        texts.newest_version(current_user.account_id, notice),
    )
    form.subject.data, form.html.data, form.text.data = words.subject, words.html, words.text
    form.based_on.data = newest.number if newest else 0


def _editor(notice: Notice, form: TextForm, *, draft: bool = False, **more: object) -> str:
    words = form.typed()
    if request.method == "POST" and not notice.locked:  # so that the frames can show what was not saved
        preview.save_draft(current_user, notice, words, based_on=form.begun_with, now=utcnow())
        draft = True
    return render_template(
        "notices/show.html",
        form=form,
        on=recipients.is_enabled(current_user.account_id, notice),
        versions=texts.list_versions(current_user.account_id, notice),
        values=rendering.sample_values(notice, current_user.account),
        sent=key_argument(request.args.get("sent")),
        **_shown(notice, words, draft=draft),
        **more,
    )


def _shown(notice: Notice, words: Text, *, draft: bool = False, version: int = 0) -> dict[str, object]:
    """Return what the preview needs to be drawn."""
    account, recipient = current_user.account, _recipient()
    search = rendering.clean_line(request.values.get("q", ""))[:100]
    choices = preview.recipients().search(account, search)
    if recipient is not None and recipient not in choices:
        choices.insert(0, recipient)
    shown = preview.render_preview(notice, account, words, _values(recipient))
    return {
        "notice": notice,
        "preview": shown,
        "frame": {
            "kind": notice.kind,
            "as": recipient.id if recipient else None,
            "draft": 1 if draft else None,
            "version": version or None,
            "mark": shown.mark,
        },
        "recipient": recipient,
        "choices": choices,
        "search": search,
        "sender": sender(),
    }


def _words(notice: Notice) -> Text:
    """Return the words that the address of a frame asks for."""
    number = key_argument(request.args.get("version"))
    if number:
        row = texts.find_version(current_user.account_id, notice, number) or abort(404)
        return texts.text_of(row, notice)
    draft = preview.find_draft(current_user, notice) if request.args.get("draft") else None
    if draft is not None:
        return Text(draft.subject, draft.html, draft.text)
    return texts.current_text(current_user.account_id, notice)


def _recipient() -> PreviewRecipient | None:
    """Return the affiliate that the address or the form asks to preview for."""
    id_ = key_argument(request.values.get("as"))
    return None if id_ is None else preview.recipients().find(current_user.account, id_)


def _values(recipient: PreviewRecipient | None) -> Mapping[str, str] | None:
    return recipient.values if recipient else None


def _meanwhile(meanwhile: texts.EditConflict) -> str:
    return f"{meanwhile.newest.owner_name} has saved version {meanwhile.newest.number} meanwhile."
