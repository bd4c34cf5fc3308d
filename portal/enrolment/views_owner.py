"""The owner's pages: the list, one affiliate's story, and what the owner decides."""

from __future__ import annotations

from typing import Any

from flask import Response, abort, flash, redirect, render_template, request, stream_with_context, url_for
from flask_login import current_user, login_required

from ..affiliates import directory
from ..affiliates.links import link_of
from ..affiliates.models import Affiliate, State
from ..clock import utcnow
from ..config import current_config
from ..events import event_log, presenter
from ..notices import recipients
from ..notices.catalogue import NEW_SIGN_UP
from ..web.labels import STATUS_LABELS
from ..web.pagination import key_argument
from . import csv_export, history, listing, moderation
from .forms import DeclineForm
from .views import blueprint

IDENT = "<int(max=999999999999):ident>"
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
    state = State(asked) if asked in set(State) else None
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
        state_words=listing.STATE_WORDS,
        join_url=f"{current_config().base_url}{url_for('.join', slug=current_user.account.slug)}",
        words=STATUS_LABELS,
        reasons=presenter.REASONS,
        emails_on=recipients.is_on(current_user.account_id, NEW_SIGN_UP),
        paged=before is not None or after is not None,
    )


@blueprint.get("/affiliates.csv")
@login_required
def export() -> Any:
    lines = csv_export.rows_as_csv(current_user.account, current_config())
    response = Response(stream_with_context(lines), mimetype="text/csv")
    response.headers["Content-Disposition"] = f'attachment; filename="affiliates-{utcnow():%Y-%m-%d}.csv"'
    return response


@blueprint.get(f"/affiliates/{IDENT}")
@login_required
def show(ident: int) -> Any:
    return _page(_affiliate(ident))


@blueprint.get("/affiliates/by-code/<code>")
@login_required
def by_code(code: str) -> Any:
    """Where the owner's emails lead."""
    affiliate = directory.find_by_code(current_user.account_id, code) or abort(404)
    return redirect(url_for(".show", ident=affiliate.id), 303)


@blueprint.post(f"/affiliates/{IDENT}/<any({', '.join(_DEEDS)}):deed>")
@login_required
def decide(ident: int, deed: str) -> Any:
    do, words = _DEEDS[deed]
    return _decided(do(current_user.account, ident, now=utcnow()), words)


@blueprint.post(f"/affiliates/{IDENT}/decline")
@login_required
def decline(ident: int) -> Any:
    affiliate, form = _affiliate(ident), DeclineForm()
    if not form.validate():
        return _page(affiliate, form=form, form_errors=True), 422
    reason = form.reason.data or ""
    return _decided(moderation.decline(current_user.account, ident, reason, now=utcnow()), "is declined")


def _affiliate(ident: int) -> Affiliate:
    return directory.find_affiliate(current_user.account_id, ident) or abort(404)


def _decided(done: moderation.Done | None, words: str) -> Any:
    """Go back to the affiliate; a second click finds the deed done and says how things stand."""
    if done is None:
        abort(404)
    name = done.affiliate.name
    state = listing.STATE_WORDS[done.affiliate.state].lower()
    flash(f"{name} {words}." if done.changed else f"Nothing was changed: {name} is {state}.", "success")
    return redirect(url_for(".show", ident=done.affiliate.id), 303)


def _page(affiliate: Affiliate, *, form: DeclineForm | None = None, **more: object) -> str:
    before, after = key_argument(request.args.get("before")), key_argument(request.args.get("after"))
    page = event_log.events_of(current_user.account_id, affiliate_id=affiliate.id, before=before, after=after)
    return render_template(
        "affiliates/show.html",
        affiliate=affiliate,
        story=history.tell(affiliate),
        link=link_of(affiliate, current_user.account, current_config()),
        events=presenter.tell(page.rows),
        page=page,
        form=form or DeclineForm(formdata=None),
        words=STATUS_LABELS,
        state_words=listing.STATE_WORDS,
        reason_words=history.REASON_WORDS,
        **more,
    )
