"""The owner's pages that change affiliates: edit one, send a link again, decide about many."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flask import abort, current_app, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import ngettext
from flask_login import current_user

from ...affiliates import codes, directory
from ...affiliates.models import AffiliateState
from ...clock import utcnow
from ...events import presenter
from ...events.models import EmailDecision
from ...programme import short_links
from ...web.pagination import key_argument
from ..forms import DeclineForm, EditForm
from ..invitations import InvitationRefused, TooManyInvitations
from ..views import blueprint
from . import address_change, bulk_moderation, editing, resending
from .bulk_moderation import BulkDecision, Selection

if TYPE_CHECKING:
    from ...affiliates.models import Affiliate

_ID = "<int(max=999999999999):id_>"
_SEARCH_MAX_CHARS = 100


@blueprint.route(f"/affiliates/{_ID}/edit", methods=["GET", "POST"])
def edit(id_: int) -> Any:
    affiliate = directory.find_affiliate(current_user.account_id, id_) or abort(404)
    if affiliate.state is AffiliateState.ERASED:
        abort(404)
    form = EditForm(formdata=None if request.method == "GET" else request.form, obj=affiliate)
    if not form.is_submitted():
        return _edit_page(affiliate, form)
    is_new = form.mailbox.data != affiliate.mailbox
    if not form.validate() or (is_new and form.question(only_typing=True) is not None):
        return _edit_page(affiliate, form, form_errors=True), 422
    try:
        edited = editing.edit(current_user.account, id_, form.changes(affiliate), now=utcnow()) or abort(404)
    except address_change.InvalidChange as error:
        form.add_errors(error.by_field)
        return _edit_page(affiliate, form, form_errors=True), 422
    except address_change.AddressChangeLimit:
        form.mailbox.errors = [
            _(
                "You have reached today’s limit for such emails, or this person has already got too many today. "
                "Try again tomorrow."
            )
        ]
        return _edit_page(affiliate, form, form_errors=True), 429
    short_links.forget_targets(_app())
    flash(_("The changes are saved."), "success")
    if edited.asked:
        flash(
            _(
                "We have asked %(mailbox)s to confirm the new address. Until then, emails go to the current one.",
                mailbox=form.mailbox.data,
            ),
            "info",
        )
    return redirect(url_for(".show", id_=id_), 303)


@blueprint.post(f"/affiliates/{_ID}/keep-address")
def keep_address(id_: int) -> Any:
    """Withdraw a new address that waits for its confirmation."""
    affiliate = directory.find_affiliate(current_user.account_id, id_) or abort(404)
    address_change.keep_present(affiliate, now=utcnow())
    flash(_("The address was not changed. The link in the confirmation email no longer works."), "success")
    return redirect(url_for(".show", id_=id_), 303)


@blueprint.post(f"/affiliates/{_ID}/send-again")
def send_link_again(id_: int) -> Any:
    account, by = current_user.account, current_user.name
    try:
        decision = resending.send_again(account, id_, invited_by=by, now=utcnow())
    except TooManyInvitations as error:
        flash(str(error), "warning")
    except InvitationRefused as error:
        flash(str(error), "warning")
    else:
        if decision is None:
            abort(404)
        if decision is EmailDecision.QUEUED:
            flash(_("The email is on its way again."), "success")
        else:
            flash(
                _("No email was sent. %(reason)s", reason=presenter.NOT_SENT_REASONS[decision].sentence),
                "warning",
            )
    return redirect(url_for(".show", id_=id_), 303)


@blueprint.get("/affiliates/decide")
def new_decision() -> Any:
    return _decision_page(
        _decision(request.args.get("decision")), _selection(request.args), DeclineForm(formdata=None)
    )


@blueprint.post("/affiliates/decide")
def decide_many() -> Any:
    decision, form = _decision(request.form.get("decision")), DeclineForm()
    selection = replace(_chosen(request.form), is_of_all=bool(request.form.get("all")))
    if not form.validate():
        return _decision_page(decision, selection, form, form_errors=True), 422
    reason = form.reason.data or ""
    changed = bulk_moderation.decide(current_user.account, decision, selection, reason=reason, now=utcnow())
    if decision is BulkDecision.APPROVE:
        message = ngettext("One affiliate is approved.", "%(num)s affiliates are approved.", changed)
    else:
        message = ngettext("One application is declined.", "%(num)s applications are declined.", changed)
    flash(message if changed else _("Nothing was changed: none of them is waiting any more."), "success")
    waiting = bulk_moderation.count_waiting(current_user.account_id, selection.search)
    if selection.is_of_all and waiting:
        flash(
            ngettext(
                "One more application is waiting. Your decision did not include it.",
                "%(num)s more applications are waiting. Your decision did not include them.",
                waiting,
            ),
            "info",
        )
    return redirect(url_for(".index", status="pending", q=selection.search or None), 303)


def _edit_page(affiliate: Affiliate, form: EditForm, **more: object) -> str:
    return render_template(
        "affiliates/edit.html",
        affiliate=affiliate,
        form=form,
        former_codes=codes.former_codes(affiliate.id),
        pending=address_change.pending(affiliate.id, now=utcnow()),
        **more,
    )


def _decision_page(decision: BulkDecision, selection: Selection, form: DeclineForm, **more: object) -> str:
    return render_template(
        "affiliates/decide.html",
        decision=decision,
        selection=selection,
        preview=bulk_moderation.preview(current_user.account_id, decision, selection),
        form=form,
        **more,
    )


def _decision(text: str | None) -> BulkDecision:
    return BulkDecision(text) if text in set(BulkDecision) else abort(404)


def _selection(values: Any) -> Selection:
    """Return the affiliates that the list names: those ticked, or all that wait and match its search."""
    chosen = _chosen(values)
    return replace(chosen, ids=None) if values.get("all") else chosen


def _chosen(values: Any) -> Selection:
    search = values.get("q", "").replace("\x00", "").strip()[:_SEARCH_MAX_CHARS]
    ids = [key_argument(one) for one in values.getlist("id")[: bulk_moderation.MAX_AFFILIATES]]
    return Selection([one for one in ids if one is not None], search)


def _app() -> Any:
    return current_app._get_current_object()  # type: ignore[attr-defined]
