"""The owner's pages: the list, one affiliate's story, and what the owner decides."""

from __future__ import annotations

from typing import Any

from flask import Response, abort, flash, redirect, render_template, request, stream_with_context, url_for
from flask_login import current_user, login_required

from ..affiliates import directory
from ..affiliates import suppressions as suppression_list
from ..affiliates.links import public_url
from ..affiliates.models import Affiliate, AffiliateState
from ..clock import utcnow
from ..events import event_log, presenter
from ..events.event_log import EventFilters
from ..events.models import EmailDecision
from ..notices import recipients
from ..notices.catalogue import NEW_SIGN_UP
from ..state import current_config
from ..web.labels import STATUS_LABELS
from ..web.pagination import key_argument
from . import csv_export, history, invitations, listing, moderation, signup_rules
from .forms import DeclineForm, InviteForm, RulesForm, SuppressForm
from .views import blueprint

_IDENT = "<int(max=999999999999):ident>"
_SEARCH_LIMIT = 100  # characters
_DEEDS = {
    "approve": (moderation.approve, "is approved"),
    "suspend": (moderation.suspend, "is suspended"),
    "unsuspend": (moderation.unsuspend, "takes part again"),
}


@blueprint.get("/affiliates")
@login_required
def index() -> Any:
    asked, search = request.args.get("status", ""), request.args.get("q", "").replace("\x00", "").strip()
    state = AffiliateState(asked) if asked in set(AffiliateState) else None
    before, after = key_argument(request.args.get("before")), key_argument(request.args.get("after"))
    search = search[:_SEARCH_LIMIT]
    page = listing.list_affiliates(
        current_user.account, current_config(), search=search, state=state, before=before, after=after
    )
    return render_template(
        "affiliates/index.html",
        page=page,
        filters={"q": search or None, "status": state.value if state else None},
        chosen=state,
        tabs=listing.TABS,
        state_words=listing.STATE_LABELS,
        join_url=f"{current_config().base_url}{url_for('.join', slug=current_user.account.slug)}",
        words=STATUS_LABELS,
        reasons=presenter.NOT_SENT_REASONS,
        emails_on=recipients.is_enabled(current_user.account_id, NEW_SIGN_UP),
        paged=before is not None or after is not None,
    )


@blueprint.get("/affiliates.csv")
@login_required
def export() -> Any:
    lines = csv_export.stream_csv(current_user.account, current_config())
    response = Response(stream_with_context(lines), mimetype="text/csv")
    response.headers["Content-Disposition"] = f'attachment; filename="affiliates-{utcnow():%Y-%m-%d}.csv"'
    return response


@blueprint.get(f"/affiliates/{_IDENT}")
@login_required
def show(ident: int) -> Any:
    return _page(_affiliate(ident))


@blueprint.get("/affiliates/by-code/<code>")
@login_required
def by_code(code: str) -> Any:
    """Where the owner's emails lead."""
    affiliate = directory.find_by_code(current_user.account_id, code) or abort(404)
    return redirect(url_for(".show", ident=affiliate.id), 303)


@blueprint.post(f"/affiliates/{_IDENT}/<any({', '.join(_DEEDS)}):deed>")
@login_required
def decide(ident: int, deed: str) -> Any:
    do, words = _DEEDS[deed]
    return _decided(do(current_user.account, ident, now=utcnow()), words)


@blueprint.post(f"/affiliates/{_IDENT}/decline")
@login_required
def decline(ident: int) -> Any:
    affiliate, form = _affiliate(ident), DeclineForm()
    if not form.validate():
        return _page(affiliate, form=form, form_errors=True), 422
    reason = form.reason.data or ""
    return _decided(moderation.decline(current_user.account, ident, reason, now=utcnow()), "is declined")


@blueprint.route("/affiliates/invite", methods=["GET", "POST"])
@login_required
def invite() -> Any:
    form = InviteForm()
    if not form.is_submitted():
        return render_template("affiliates/invite.html", form=form)
    if not form.validate():
        return render_template("affiliates/invite.html", form=form, form_errors=True), 422
    wish = invitations.Invitation(
        form.name.data, form.mailbox.data, form.message.data or "", current_user.name
    )
    try:
        why = invitations.invite(current_user.account, wish, now=utcnow())
    except invitations.InvitationRefused as refusal:
        code = 429 if isinstance(refusal, invitations.TooManyInvitations) else 422
        page = render_template("affiliates/invite.html", form=form, form_errors=True, problem=str(refusal))
        return page, code
    if why is EmailDecision.QUEUED:
        flash(f"The invitation to {wish.mailbox} is on its way.", "success")
    else:
        flash(
            f"{wish.name} is on your list, but no email was sent. {presenter.NOT_SENT_REASONS[why][0]}",
            "warning",
        )
    return redirect(url_for(".index", status="invited"), 303)


@blueprint.route("/affiliates/rules", methods=["GET", "POST"])
@login_required
def sign_up_rules() -> Any:
    present = signup_rules.get_rules(current_user.account_id)
    if request.method == "GET":
        saved = {"confirm": present.confirm, "auto_approve": present.auto_approve}
        return render_template("affiliates/rules.html", form=RulesForm(formdata=None, data=saved))
    form = RulesForm()
    form.validate()
    wish = signup_rules.Rules(auto_approve=bool(form.auto_approve.data), confirm=bool(form.confirm.data))
    signup_rules.save_rules(current_user.account_id, wish)
    flash("The sign-up rules are saved. They hold for everybody who signs up from now on.", "success")
    return redirect(url_for(".sign_up_rules"), 303)


@blueprint.get("/affiliates/not-written-to")
@login_required
def suppressions() -> Any:
    return _suppressions_page(SuppressForm(formdata=None))


@blueprint.post("/affiliates/not-written-to")
@login_required
def suppress() -> Any:
    form = SuppressForm()
    if not form.validate():
        return _suppressions_page(form, form_errors=True), 422
    suppression_list.add(current_user.account_id, form.mailbox.data, form.note.data or "", now=utcnow())
    flash(f"{form.mailbox.data} is not written to from now on.", "success")
    return redirect(url_for(".suppressions"), 303)


@blueprint.post(f"/affiliates/not-written-to/{_IDENT}/remove")
@login_required
def unsuppress(ident: int) -> Any:
    mailbox = suppression_list.remove(current_user.account_id, ident) or abort(404)
    flash(f"{mailbox} may be written to again.", "success")
    back = key_argument(request.args.get("back"))
    return redirect(url_for(".show", ident=back) if back else url_for(".suppressions"), 303)


def _affiliate(ident: int) -> Affiliate:
    return directory.find_affiliate(current_user.account_id, ident) or abort(404)


def _decided(done: moderation.StateChange | None, words: str) -> Any:
    """Go back to the affiliate; a second click finds the deed done and says how things stand."""
    if done is None:
        abort(404)
    name = done.affiliate.name
    state = listing.STATE_LABELS[done.affiliate.state].lower()
    flash(f"{name} {words}." if done.changed else f"Nothing was changed: {name} is {state}.", "success")
    return redirect(url_for(".show", ident=done.affiliate.id), 303)


def _page(affiliate: Affiliate, *, form: DeclineForm | None = None, **more: object) -> str:
    before, after = key_argument(request.args.get("before")), key_argument(request.args.get("after"))
    page = event_log.list_events(
        current_user.account_id, EventFilters(affiliate_id=affiliate.id), before=before, after=after
    )
    return render_template(
        "affiliates/show.html",
        affiliate=affiliate,
        history=history.load_history(affiliate),
        link=public_url(affiliate, current_user.account, current_config()),
        events=presenter.describe_events(page.rows),
        page=page,
        form=form or DeclineForm(formdata=None),
        words=STATUS_LABELS,
        state_words=listing.STATE_LABELS,
        reason_words=history.SUPPRESSION_LABELS,
        **more,
    )


def _suppressions_page(form: SuppressForm, **more: object) -> str:
    before, after = key_argument(request.args.get("before")), key_argument(request.args.get("after"))
    return render_template(
        "affiliates/suppressions.html",
        form=form,
        page=suppression_list.list_suppressions(current_user.account_id, before=before, after=after),
        words=history.SUPPRESSION_LABELS,
        **more,
    )
