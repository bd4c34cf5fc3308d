"""The pages of the interface: tokens, an event to play, and the reference."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from ..clock import utcnow
from ..state import current_config
from . import ingest, playground, tokens, validation
from .forms import PlayForm, TokenForm, play_form, required_names, samples
from .problems import KINDS, Problem
from .schemas import SHAPES, EventShape

blueprint = Blueprint("api_pages", __name__, url_prefix="/settings/api")

_IDENT = "<int(max=999999999999):ident>"


@blueprint.get("")
@login_required
def index() -> Any:
    return _tokens_page(TokenForm(formdata=None))


@blueprint.post("")
@login_required
def create() -> Any:
    """Make a token and show it in this very answer.

    That is the one place it ever stands in the clear. A redirect to a page that shows it would have to keep it
    somewhere meanwhile: in the cookie, which browsers write to disk, or in our tables. So this POST answers
    with the page itself (never stored, like every page), and what a redirect is for is had otherwise: the form
    carries a key of its own, so sending it again by reload or by the back button makes no second token but
    leads to the list, which says so.
    """
    form = TokenForm()
    if not form.validate():
        return _tokens_page(form), 422
    made = {"name": form.name.data, "by": current_user.name, "form_key": form.form_key.data}
    try:
        token = tokens.create(current_user.account_id, **made, now=utcnow())
    except tokens.MadeAlready:
        flash(
            "This form has made its token already, and it was shown then. If you lost it, revoke it and make another.",
            "warning",
        )
        return redirect(url_for(".index"), 303)
    except tokens.TooManyTokens:
        told = f"There are {tokens.MOST} tokens, which is the most. Revoke one that is not used any more."
        form.name.errors = [told]
        return _tokens_page(form), 422
    return render_template("api/created.html", name=form.name.data, token=token)


@blueprint.post(f"/tokens/{_IDENT}/revoke")
@login_required
def revoke(ident: int) -> Any:
    name = tokens.revoke(current_user.account_id, ident, by=current_user.name, now=utcnow())
    if name is None:
        abort(404)
    flash(f"The token {name} is revoked: whoever uses it is refused from now on.", "success")
    return redirect(url_for(".index"), 303)


@blueprint.get("/reference")
@login_required
def reference() -> Any:
    shapes = [
        (shape, playground.curl_command(current_config().base_url, playground.sample(shape)))
        for shape in SHAPES.values()
    ]
    return render_template(
        "api/reference.html", shapes=shapes, kinds=KINDS, per_minute=tokens.PER_TOKEN.amount
    )


@blueprint.get("/play")
@login_required
def play() -> Any:
    shape = _shape()
    played = _played()
    said = played.said if played and played.shape is shape else {}
    code = played.code if played else request.args.get("affiliate", "") or _newest()
    return _play_page(shape, _form(shape, code, formdata=None, data=samples(shape, said, code)), played)


@blueprint.post("/play")
@login_required
def play_it() -> Any:
    shape = _shape()
    form = _form(shape, request.form.get("affiliate", ""))
    fine = form.validate()
    if request.form.get("search"):  # nothing is played yet, and what was typed stays
        return _play_page(shape, form, None)
    try:
        if fine:
            ident = ingest.play(current_user.account_id, form.body(shape), now=utcnow())
            return redirect(url_for(".play", event=shape.event, played=ident, _anchor="result"), 303)
        form.show(validation.faults(form.body(shape)))
    except Problem as problem:
        form.show(problem.errors)
    return _play_page(shape, form, None, form_errors=True), 422


def _tokens_page(form: TokenForm) -> str:
    return render_template(
        "api/tokens.html",
        form=form,
        tokens=tokens.all_of(current_user.account_id),
        most=tokens.MOST,
        living=tokens.living(current_user.account_id),
        form_errors=bool(form.errors),
    )


def _shape() -> EventShape:
    return SHAPES.get(request.args.get("event", "purchase")) or abort(404)


def _played() -> playground.Played | None:
    """Return the event that was played just now; an address that names another's names none."""
    asked = request.args.get("played", "")
    if not (asked.isascii() and asked.isdigit() and len(asked) < 13):
        return None
    return playground.played(current_user.account_id, int(asked))


def _form(shape: EventShape, code: str, **more: Any) -> PlayForm:
    sought = (request.form.get("find") or "").strip()[:100]
    found = playground.affiliate_choices(current_user.account_id, sought, chosen=code)
    return play_form(shape, [(row.code, playground.affiliate_label(row)) for row in found], **more)


def _newest() -> str:
    """Return whose name stands first in the list: the command shall name the same."""
    found = playground.affiliate_choices(current_user.account_id, "", chosen="")
    return found[0].code if found else ""


def _play_page(shape: EventShape, form: PlayForm, played: playground.Played | None, **more: Any) -> str:
    body = form.body(shape)
    return render_template(
        "api/play.html",
        shape=shape,
        shapes=SHAPES.values(),
        form=form,
        needed=required_names(shape),
        most=playground.MOST_CHOICES,
        played=played,
        command=playground.curl_command(current_config().base_url, body) if not form.errors else "",
        **more,
    )
