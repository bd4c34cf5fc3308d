"""Public pages: sign-up, confirmation, invitation and an affiliate's dashboard."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask_babel import gettext as _
from flask_babel import lazy_gettext, ngettext

from ..accounts import standing
from ..accounts.team.rights import Right, needed
from ..affiliates import directory, links, page_keys, page_language
from ..affiliates import preferences as email_preferences
from ..affiliates.consent import Agreement
from ..affiliates.greeting import first_name_of
from ..affiliates.models import AffiliateState, TokenPurpose
from ..clock import utcnow
from ..events import event_log, presenter
from ..events.types import EventType
from ..money import balances
from ..money import listing as commissions
from ..programme import counts, qr_codes, short_links
from ..state import current_config
from ..web.requests import network_of, read_only_view
from ..web.translations import current_language, show_in
from . import confirmation_links, dashboard_links, listing, min_fill_time, sign_up_brake, signup
from .forms import AgreeForm, JoinForm, ResendConfirmationForm

if TYPE_CHECKING:
    from ..affiliates.models import Affiliate

blueprint = Blueprint("affiliates", __name__)
page_language.remember_choices(blueprint)

_TOO_MANY = lazy_gettext(
    "There were too many sign-ups from your network, or too many emails to this address. Your "
    "entries are kept below. Send them again later, or tomorrow at the latest."
)
_TOO_FAST = lazy_gettext(
    "You filled in the form faster than most people type. To show that you are a person, press Sign "
    "up again. Your entries are kept."
)
# Shown above the button to people who have not agreed yet, because their owner brought them along.
_AGREED_BY_CONFIRMING = lazy_gettext(
    "With this button you agree to receive emails about your affiliate account."
)
_DASHBOARD_EVENTS = (
    EventType.LEAD,
    EventType.PURCHASE,
    EventType.COMMISSION_APPROVED,
    EventType.COMMISSION_DECLINED,
    EventType.REFUND,
    EventType.PAYOUT,
    EventType.CORRECTION,
)
_DASHBOARD_ROWS = 50  # the newest events and commissions


@blueprint.before_request
def answer_in_the_language_of_the_form() -> None:
    """Validate a form in the language of its page, and store consent in the words shown; it costs no look-up."""
    is_public = request.method == "POST" and needed(request.endpoint or "", "POST") is Right.PUBLIC
    if is_public and request.endpoint != "affiliates.find_pages":  # which belongs to no programme
        show_in(request.form.get("language"))


@blueprint.route("/join/<slug>", methods=["GET", "POST"])
@read_only_view
def join(slug: str) -> Any:
    form = JoinForm()
    if page_language.is_choosing():
        return _join_page(slug, form)
    if not form.is_submitted():
        code = request.args.get("ref", "")
        # Until there were short links, this page with a code was the affiliate's link, and it is still shared.
        if code and short_links.leads_to_shop(current_app, code, slug):
            return redirect(url_for("links.follow", code=code), 302)
        return _join_page(slug, form)
    if form.website:  # a bot: it sees success and stores nothing
        return redirect(url_for(".thanks", slug=slug), 303)
    open_s = min_fill_time.seconds_since(form.started, utcnow())
    refusal = _refused(form, open_s)
    if refusal is not None:
        return _join_page(slug, form, form_errors=True, **refusal), 422
    sentence = str(form.consent.label.text)
    website = form.site.data or ""
    opened = sign_up_brake.OpenForm(form.started, open_s or 0.0)
    entered = signup.SignUp(
        form.name.data,
        form.mailbox.data,
        network_of(request),
        sentence,
        website,
        form=opened,
        language=page_language.of_browser(),
    )
    try:
        account = signup.sign_up(slug, entered, now=utcnow()) or abort(404)
    except signup.ProgrammeClosed:
        return _join_page(slug, form)
    except signup.TooManySignUps:
        return _join_page(slug, form, form_errors=True, problem=_TOO_MANY), 429
    except sign_up_brake.FormSlowed as slowed:
        if slowed.renew:
            form.started = ""
        page = make_response(_join_page(slug, form, form_errors=True, problem=_slowed(slowed.wait)), 429)
        page.headers["Retry-After"] = str(_whole_seconds(slowed.wait))
        return page
    flash(_("You signed up as %(mailbox)s.", mailbox=entered.mailbox), "info")
    return redirect(url_for(".thanks", slug=account.slug), 303)


@blueprint.get("/join/<slug>/thanks")
def thanks(slug: str) -> Any:
    """Show the page after a sign-up. It is the same for known addresses, so it does not disclose them."""
    return _thanks_page(slug, ResendConfirmationForm(formdata=None))


@blueprint.post("/join/<slug>/send-again")
@read_only_view
def send_again(slug: str) -> Any:
    form = ResendConfirmationForm()
    if page_language.is_choosing():
        return _thanks_page(slug, form)
    if not form.validate():
        return _thanks_page(slug, form, form_errors=True), 422
    try:
        account = dashboard_links.resend_confirmation(
            slug,
            form.mailbox.data,
            network_of(request),
            now=utcnow(),
            language=page_language.of_browser(),
        ) or abort(404)
    except signup.ProgrammeClosed:
        return _thanks_page(slug, form)
    except signup.TooManySignUps:
        return _thanks_page(slug, form, form_errors=True, problem=_TOO_MANY), 429
    sentence = _("If there is an unconfirmed sign-up with this address, another email is on its way.")
    flash(sentence, "success")
    return redirect(url_for(".thanks", slug=account.slug), 303)


@blueprint.get("/confirm-sign-up/<token>")
def confirm(token: str) -> Any:
    return _confirm_page(token)


@blueprint.post("/confirm-sign-up/<token>")
def confirm_now(token: str) -> Any:
    if page_language.is_choosing():
        return _confirm_page(token)
    with suppress(signup.LinkExpired):  # the page shows it
        agreement = Agreement(str(_AGREED_BY_CONFIRMING), network_of(request))
        signup.confirm(token, agreement, now=utcnow()) or abort(404)
    return redirect(url_for(".confirm", token=token), 303)


@blueprint.get("/invitation/<token>")
def invitation(token: str) -> Any:
    return _link_page("affiliates/invitation.html", token, TokenPurpose.JOIN, form=AgreeForm(formdata=None))


@blueprint.post("/invitation/<token>")
def accept(token: str) -> Any:
    form = AgreeForm()
    if page_language.is_choosing():
        return _link_page("affiliates/invitation.html", token, TokenPurpose.JOIN, form=form)
    if not form.validate():
        page = _link_page("affiliates/invitation.html", token, TokenPurpose.JOIN, form=form, form_errors=True)
        return page, 422
    with suppress(signup.LinkExpired):  # the page shows it
        agreement = Agreement(str(form.consent.label.text), network_of(request))
        signup.accept_invitation(token, agreement, now=utcnow()) or abort(404)
    return redirect(url_for(".invitation", token=token), 303)


@blueprint.post("/affiliate/<key>/language")
def choose_dashboard_language(key: str) -> Any:
    affiliate, _account = directory.find_by_dashboard_key(key) or abort(404)
    store_language(affiliate)
    return redirect(url_for(".dashboard", key=key), 303)


@blueprint.get("/affiliate/<key>")
def dashboard(key: str) -> Any:
    affiliate, account = directory.find_by_dashboard_key(key) or abort(404)
    page_language.show_page(account, affiliate)
    events = event_log.newest_events(affiliate.id, _DASHBOARD_EVENTS, _DASHBOARD_ROWS)
    active = affiliate.state is AffiliateState.ACTIVE
    link = links.public_url(affiliate, account, current_config()) if active else ""
    return secret_page(
        "affiliates/dashboard.html",
        account=account,
        affiliate=affiliate,
        key=key,
        preferences_key=page_keys.open_keys(affiliate).preferences,
        first_name=first_name_of(affiliate.name),
        link=link,
        qr=qr_codes.qr_code(link) if link else None,
        visits=counts.totals_of(account.id, affiliate.id, now=utcnow()),
        choices=email_preferences.list_choices(affiliate, current_language().code),
        active=active,
        events=presenter.describe_events(events),
        balances=balances.balances_of(affiliate.id),
        commissions=commissions.newest_of_affiliate(affiliate.id, _DASHBOARD_ROWS),
        newest=_DASHBOARD_ROWS,
    )


def _refused(form: JoinForm, open_s: float | None) -> dict[str, object] | None:
    """Return what the page shows besides the errors of a form that is not accepted, or None if it is.

    ``open_s``: for how many seconds the form was open; None without a valid signature.
    """
    if not form.validate():
        return {}
    if open_s is None or open_s < current_config().sign_up_seconds:
        return {"problem": _TOO_FAST}
    question = form.question(suggested=form.take)
    return {"question": question} if question is not None else None


def _whole_seconds(wait: timedelta) -> int:
    return max(1, -(-wait // timedelta(seconds=1)))


def _slowed(wait: timedelta) -> str:
    seconds = _whole_seconds(wait)
    if seconds <= 60:
        return str(
            ngettext(
                "Many people are signing up at the moment. Your entries are kept below. Press Sign up again in "
                "%(num)s second.",
                "Many people are signing up at the moment. Your entries are kept below. Press Sign up again in "
                "%(num)s seconds.",
                seconds,
            )
        )
    return str(
        _(
            "Many people are signing up at the moment. Your entries are kept below. Leave this page open and "
            "press Sign up again in %(minutes)d minutes.",
            minutes=-(-seconds // 60),
        )
    )


def _join_page(slug: str, form: JoinForm, **more: object) -> str:
    if min_fill_time.seconds_since(form.started, utcnow()) is None:
        form.started = min_fill_time.issue_form_timestamp(utcnow())
    return public_page("affiliates/join.html", slug, form=form, **more)


def _thanks_page(slug: str, form: ResendConfirmationForm, **more: object) -> str:
    return public_page("affiliates/thanks.html", slug, form=form, **more)


def store_language(affiliate: Affiliate) -> None:
    """Store the language that this request chooses; 429 after too many changes."""
    try:
        page_language.store_choice(affiliate, now=utcnow())
    except email_preferences.TooManyChanges:
        abort(429)


def secret_page(template: str, **context: object) -> Response:
    """Render a page whose address is a credential, so that browsers do not send it as the referrer."""
    response = make_response(render_template(template, **context))
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def public_page(template: str, slug: str, **more: object) -> str:
    """Render a public page of a programme; 404 if there is none with this slug, 503 while its account is closed."""
    found = listing.public_programme(slug) or abort(404)
    page_language.show_page(found.account)
    if standing.state_of(found.account) is not standing.AccountState.ACTIVE:
        abort(make_response(render_template("affiliates/closed.html", account=found.account), 503))
    return render_template(
        template,
        account=found.account,
        rules=found.rules,
        emails_on=found.emails_on,
        is_unnamed=found.is_unnamed,
        **more,
    )


def _confirm_page(token: str) -> str:
    return _link_page(
        "affiliates/confirm.html", token, TokenPurpose.CONFIRM, agreed_by_confirming=_AGREED_BY_CONFIRMING
    )


def _link_page(template: str, token: str, purpose: TokenPurpose, **more: object) -> str:
    found = confirmation_links.find_token(token, purpose, now=utcnow()) or abort(404)
    affiliate = found.affiliate
    with suppress(email_preferences.TooManyChanges):  # the page is in the chosen language all the same
        page_language.store_choice(affiliate, now=utcnow())
    page_language.show_page(found.account, affiliate)
    is_waiting = affiliate.state in (AffiliateState.UNCONFIRMED, AffiliateState.INVITED)
    is_active = affiliate.state is AffiliateState.ACTIVE
    return render_template(
        template,
        account=found.account,
        affiliate=affiliate,
        expired=is_waiting and found.expired,
        is_waiting=is_waiting,
        needs_approval=is_waiting and not signup.is_approved_by_link(affiliate),
        token=token,
        dashboard=links.dashboard_url(affiliate, current_config()) if is_active else "",
        **more,
    )
