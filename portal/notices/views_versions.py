"""The versions of one notice's text: showing and restoring them, and returning to the default text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import flash, render_template
from flask_babel import gettext as _
from flask_login import current_user

from ..clock import utcnow
from . import preview, texts, validation
from .forms import TextForm
from .views import blueprint, notice_or_404
from .views_editor import (
    describe_conflict,
    editable_or_400,
    preview_context,
    redirect_to_editor,
    state_of_sending,
    version_or_404,
)

if TYPE_CHECKING:
    from .catalogue import Notice
    from .models import TextVersion

_NUMBER = "<int(max=999999999):number>"


@blueprint.post("/<kind>/reset")
def reset(kind: str) -> Any:
    notice = editable_or_400(kind)
    form = TextForm()
    try:
        version = texts.reset_to_default(current_user, notice, based_on=form.based_on_number, now=utcnow())
    except texts.EditConflict as conflict:
        flash(describe_conflict(conflict) + " Nothing was reset.", "warning")
        return redirect_to_editor(notice)
    preview.delete_draft(current_user, notice)
    flash(
        _("The default text is now sent. Your text stays among the versions.") + state_of_sending(notice)
        if version
        else _("This is the default text already."),
        "success",
    )
    return redirect_to_editor(notice)


@blueprint.get(f"/<kind>/versions/{_NUMBER}")
def version(kind: str, number: int) -> Any:
    notice = notice_or_404(kind)
    row = version_or_404(notice, number)
    text = texts.text_of(row, notice, current_user.account)
    newest = texts.newest_version(current_user.account_id, notice)
    return render_template(
        "notices/version.html",
        row=row,
        text=text,
        is_newest=newest is not None and newest.number == number,
        **preview_context(notice, text, version=number),
    )


@blueprint.post(f"/<kind>/versions/{_NUMBER}/restore")
def restore(kind: str, number: int) -> Any:
    notice = editable_or_400(kind)
    row = version_or_404(notice, number)
    try:
        validation.validate(
            notice, current_user.account, texts.text_of(row, notice, current_user.account), with_trials=True
        )
    except validation.InvalidText as error:  # saved before the present rules
        return _open_invalid_version(notice, row, error)
    try:
        restored = texts.restore_version(current_user, notice, row, now=utcnow())
    except texts.EditConflict as conflict:
        flash(describe_conflict(conflict) + " Nothing was restored.", "warning")
        return redirect_to_editor(notice)
    preview.delete_draft(current_user, notice)
    flash(
        _("Version %(old)s is restored as version %(new)s.", old=number, new=restored.number)
        + state_of_sending(notice)
        if restored
        else _("Version %(number)s is sent.", number=number),
        "success",
    )
    return redirect_to_editor(notice)


def _open_invalid_version(notice: Notice, row: TextVersion, error: validation.InvalidText) -> Any:
    """Put a version that cannot be sent into the draft, for its owner to correct."""
    newest = texts.newest_version(current_user.account_id, notice)
    based_on = newest.number if newest else 0
    preview.save_draft(
        current_user,
        notice,
        texts.text_of(row, notice, current_user.account),
        based_on=based_on,
        now=utcnow(),
    )
    (first, *_others) = (one for sentences in error.by_field.values() for one in sentences)
    flash(
        _(
            "Version %(number)s is not restored, because it cannot be sent as it is. It is open in the "
            "editor. %(reason)s",
            number=row.number,
            reason=first,
        ),
        "warning",
    )
    return redirect_to_editor(notice, draft=1)
