"""The owner's pages about affiliates: list, one affiliate, decisions, invitations, sign-up rules and suppressions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_login import current_user

from .. import audit
from ..accounts.standing import is_limited, may_send
from ..affiliates import codes, directory, same_mailbox
from ..affiliates import suppressions as suppression_list
from ..affiliates.links import public_url
from ..affiliates.models import Affiliate, AffiliateState
from ..clock import utcnow
from ..events import event_log, presenter
from ..events.event_log import EventFilters
from ..events.models import EmailDecision
from ..languages import language_of
from ..money import balances
from ..notices import branding, recipients
from ..notices.catalogue import NEW_SIGN_UP
from ..programme import counts
from ..smtp.mailbox import parse_mailbox
from ..state import current_config
from ..web.charts import share
from ..web.csv import csv_download
from ..web.labels import STATUS_LABELS
from ..web.pagination import is_fragment, key_argument, search_argument, searched_live
from . import csv_export, history, invitations, listing, moderation, signup_rules
from .changing import address_change
from .forms import DeclineForm, FirstInviteForm, InviteForm, LiftForm, RulesForm, SuppressForm
from .listing import AffiliateFilters
from .views import blueprint

_ID = "<int(max=999999999999):id_>"
# The function of each decision, and the sentence that reports it.
_DECISIONS = {
    "approve": (moderation.approve, lazy_gettext("%(name)s is approved.")),
    "suspend": (moderation.suspend, lazy_gettext("%(name)s is suspended.")),
    "unsuspend": (moderation.unsuspend, lazy_gettext("%(name)s is active again.")),
}


@blueprint.get("/affiliates")
@searched_live
def index() -> Any:
    status, search = request.args.get("status", ""), search_argument(request.args.get("q"))
    chosen = AffiliateFilters(
        search=search,
        state=AffiliateState(status) if status in set(AffiliateState) else None,
    )
    before, after = key_argument(request.args.get("before")), key_argument(request.args.get("after"))
    page = listing.list_affiliates(current_user.account, chosen, before=before, after=after)
    return render_template(
        "affiliates/index.html",
        page=page,
        funnel=None if is_fragment() else listing.funnel(current_user.account_id, now=utcnow()),
        funnel_days=listing.FUNNEL_DAYS,
        share=share,
        filters={"q": chosen.search or None, "status": chosen.state.value if chosen.state else None},
        chosen=chosen.state,
        tabs=listing.TABS,
        state_labels=listing.STATE_LABELS,
        join_url=f"{current_config().base_url}{url_for('.join', slug=current_user.account.slug)}",
        status_labels=STATUS_LABELS,
        not_sent=presenter.NOT_SENT_REASONS,
        is_open=may_send(current_user.account_id),
        emails_on=recipients.is_enabled(current_user.account_id, NEW_SIGN_UP),
        paged=before is not None or after is not None,
    )


@blueprint.post("/affiliates.csv")
def export() -> Any:
    audit.record_alone(audit.Activity.AFFILIATES_EXPORTED, current_user.account_id)
    lines = csv_export.stream_csv(current_user.account, current_config())
    return csv_download(f"affiliates-{utcnow():%Y-%m-%d}.csv", lines)


@blueprint.get(f"/affiliates/{_ID}")
def show(id_: int) -> Any:
    return _affiliate_page(_affiliate_or_404(id_))


@blueprint.get("/affiliates/by-code/<code>")
def by_code(code: str) -> Any:
    """Redirect from the link in the owner's emails to the affiliate's page."""
    affiliate = directory.find_by_code(current_user.account_id, code) or abort(404)
    return redirect(url_for(".show", id_=affiliate.id), 303)


@blueprint.post(f"/affiliates/{_ID}/<any({', '.join(_DECISIONS)}):decision>")
def decide(id_: int, decision: str) -> Any:
    run, result = _DECISIONS[decision]
    return _report_change(run(current_user.account, id_, now=utcnow()), result)


@blueprint.post(f"/affiliates/{_ID}/decline")
def decline(id_: int) -> Any:
    affiliate, form = _affiliate_or_404(id_), DeclineForm()
    if not form.validate():
        return _affiliate_page(affiliate, form=form, form_errors=True), 422
    change = moderation.decline(current_user.account, id_, form.reason.data or "", now=utcnow())
    return _report_change(change, lazy_gettext("%(name)s is declined."))


@blueprint.route("/affiliates/invite", methods=["GET", "POST"])
def invite() -> Any:
    settled = branding.is_address_settled(current_user.account_id)
    form: InviteForm = InviteForm() if settled else FirstInviteForm()
    if not form.is_submitted():
        return render_template("affiliates/invite.html", form=form)
    if not form.validate() or (isinstance(form, FirstInviteForm) and not _save_address(form)):
        return render_template("affiliates/invite.html", form=form, form_errors=True), 422
    if form.question(only_typing=True) is not None:
        return render_template("affiliates/invite.html", form=form, form_errors=True), 422
    invitation = invitations.Invitation(
        form.name.data, form.mailbox.data, form.message.data or "", current_user.name
    )
    try:
        decision = invitations.invite(current_user.account, invitation, now=utcnow())
    except invitations.InvitationRefused as error:
        code = 429 if isinstance(error, invitations.TooManyInvitations) else 422
        page = render_template("affiliates/invite.html", form=form, form_errors=True, problem=str(error))
        return page, code
    if decision is EmailDecision.QUEUED:
        flash(_("The invitation to %(mailbox)s is on its way.", mailbox=invitation.mailbox), "success")
    else:
        reason = presenter.NOT_SENT_REASONS[decision].sentence
        flash(
            _(
                "%(name)s is on your list, but no email was sent. %(reason)s",
                name=invitation.name,
                reason=reason,
            ),
            "warning",
        )
    return redirect(url_for(".index", status="invited"), 303)


def _save_address(form: FirstInviteForm) -> bool:
    """Save the postal address, or show why it is refused and return False."""
    address, without = (form.address.data or "").strip(), bool(form.without_address.data)
    try:
        branding.save_address(current_user.account, address, without=without, now=utcnow())
    except branding.InvalidBranding as error:
        form.address.errors = [error.by_field["address"]]
        return False
    return True


@blueprint.route("/affiliates/rules", methods=["GET", "POST"])
def sign_up_rules() -> Any:
    form = RulesForm()
    if not form.is_submitted():
        saved = asdict(signup_rules.get_rules(current_user.account_id))
        return render_template(
            "affiliates/rules.html",
            form=RulesForm(formdata=None, data=saved),
            must_confirm=is_limited(current_user.account),
        )
    form.validate()
    rules = signup_rules.Rules(auto_approve=bool(form.auto_approve.data), confirm=bool(form.confirm.data))
    signup_rules.save_rules(current_user.account_id, rules)
    flash(_("The sign-up rules are saved. They apply to all new sign-ups."), "success")
    return redirect(url_for(".sign_up_rules"), 303)


@blueprint.get("/affiliates/not-written-to")
@searched_live
def suppressions() -> Any:
    return _suppressions_page(SuppressForm(formdata=None))


@blueprint.post("/affiliates/not-written-to")
def suppress() -> Any:
    form = SuppressForm()
    if not form.validate():
        return _suppressions_page(form, form_errors=True), 422
    mailbox = str(parse_mailbox(form.mailbox.data))  # as affiliates' are stored: the domain in A-labels
    suppression_list.add(current_user.account_id, mailbox, form.note.data or "", now=utcnow())
    flash(_("%(mailbox)s is blocked and gets no more emails.", mailbox=form.mailbox.data), "success")
    return redirect(url_for(".suppressions"), 303)


@blueprint.post(f"/affiliates/not-written-to/{_ID}/remove")
def unsuppress(id_: int) -> Any:
    suppression = suppression_list.find_by_id(current_user.account_id, id_) or abort(404)
    form = LiftForm()
    if not form.validate():
        page = render_template(
            "affiliates/lift.html",
            form=form,
            suppression=suppression,
            suppression_labels=history.SUPPRESSION_LABELS,
            form_errors=True,
        )
        return page, 422
    why, by = form.why.data or "", current_user.name
    mailbox = suppression_list.lift(current_user.account_id, id_, why=why, by=by, now=utcnow()) or abort(404)
    flash(_("%(mailbox)s is unblocked and gets emails again.", mailbox=mailbox), "success")
    affiliate_id = key_argument(request.args.get("back"))
    return redirect(url_for(".show", id_=affiliate_id) if affiliate_id else url_for(".suppressions"), 303)


def _affiliate_or_404(affiliate_id: int) -> Affiliate:
    return directory.find_affiliate(current_user.account_id, affiliate_id) or abort(404)


def _report_change(change: moderation.StateChange | None, result: str) -> Any:
    """Redirect to the affiliate with ``result``, whose ``name`` is filled in. A second click shows the present state instead."""
    if change is None:
        abort(404)
    name = change.affiliate.name
    state = listing.STATE_LABELS[change.affiliate.state]
    flash(
        str(result) % {"name": name}
        if change.changed
        else _("Nothing was changed. The status of %(name)s is “%(state)s”.", name=name, state=state),
        "success",
    )
    return redirect(url_for(".show", id_=change.affiliate.id), 303)


def _affiliate_page(affiliate: Affiliate, *, form: DeclineForm | None = None, **more: object) -> str:
    before, after = key_argument(request.args.get("before")), key_argument(request.args.get("after"))
    page = event_log.list_events(
        current_user.account_id, EventFilters(affiliate_id=affiliate.id), before=before, after=after
    )
    return render_template(
        "affiliates/show.html",
        affiliate=affiliate,
        others=same_mailbox.find_others(affiliate),
        history=history.load_history(affiliate),
        link=public_url(affiliate, current_user.account, current_config()),
        visits=counts.totals_of(affiliate.account_id, affiliate.id, now=utcnow()),
        events=presenter.describe_events(page.rows),
        page=page,
        form=form or DeclineForm(formdata=None),
        chosen_language=language_of(affiliate.language).name if affiliate.language else "",
        former_codes=codes.former_codes(affiliate.id),
        pending_address=address_change.pending(affiliate.id, now=utcnow()),
        balances=balances.balances_of(affiliate.id),
        status_labels=STATUS_LABELS,
        state_labels=listing.STATE_LABELS,
        suppression_labels=history.SUPPRESSION_LABELS,
        **more,
    )


def _suppressions_page(form: SuppressForm, **more: object) -> str:
    before, after = key_argument(request.args.get("before")), key_argument(request.args.get("after"))
    search, account_id = search_argument(request.args.get("q")), current_user.account_id
    return render_template(
        "affiliates/suppressions.html",
        form=form,
        q=search,
        page=suppression_list.list_suppressions(account_id, before=before, after=after, search=search),
        suppression_labels=history.SUPPRESSION_LABELS,
        **more,
    )
