"""The owner's pages about the API: tokens, the event simulator and the reference."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_login import current_user

from ..accounts import access
from ..clock import utcnow
from ..state import current_config
from . import ingest, playground, tokens, validation
from .forms import SimulationForm, TokenForm, initial_values, required_names, simulation_form
from .models import TokenScope
from .problems import PROBLEM_KINDS, Problem
from .schemas import SHAPES, EventShape

blueprint = Blueprint("api_pages", __name__, url_prefix="/settings/api")

_ID = "<int(max=999999999999):id_>"


@blueprint.get("")
def index() -> Any:
    return _tokens_page(TokenForm(formdata=access.kept_form("api_pages.create")))


@blueprint.post("")
def create() -> Any:
    """Create a token and show it in the response to this POST, the only time it is visible.

    A redirect to another page would need the token stored in plain text meanwhile, in the session cookie, which
    browsers write to disk, or in a table. The purpose of a redirect, no second token after a reload or the back button,
    is achieved by the form's key: submitting the form again leads to the list with an explanation.
    """
    form = TokenForm()
    if not form.validate():
        return _tokens_page(form), 422
    new = tokens.NewToken(name=form.name.data, by=current_user.name, form_key=form.form_key.data)
    new["scope"], new["by_id"], new["expires_at"] = (
        TokenScope(form.scope.data),
        current_user.id,
        form.expires_at,
    )
    try:
        token = tokens.create(current_user.account_id, now=utcnow(), **new)
    except tokens.AlreadyCreated:
        flash(
            _(
                "This form has already created its token, and the token was shown then. If you lost it, revoke "
                "it and create another."
            ),
            "warning",
        )
        return redirect(url_for(".index"), 303)
    except tokens.TooManyTokens:
        message = _(
            "You have %(max_tokens)s tokens, which is the maximum. Revoke one that you no longer use.",
            max_tokens=tokens.MAX_TOKENS,
        )
        form.name.errors = [message]
        return _tokens_page(form), 422
    return render_template("api/created.html", name=form.name.data, token=token)


@blueprint.post(f"/tokens/{_ID}/revoke")
def revoke(id_: int) -> Any:
    name = tokens.revoke(current_user.account_id, id_, by=current_user.name, now=utcnow())
    if name is None:
        abort(404)
    flash(_("The token %(name)s is revoked. Signet refuses requests with it.", name=name), "success")
    return redirect(url_for(".index"), 303)


@blueprint.get("/reference")
def reference() -> Any:
    shapes = [
        (shape, playground.curl_command(current_config().base_url, playground.sample_event(shape)))
        for shape in SHAPES.values()
    ]
    return render_template(
        "api/reference.html", shapes=shapes, kinds=PROBLEM_KINDS, per_minute=tokens.REQUEST_LIMIT.amount
    )


@blueprint.get("/play")
def simulator() -> Any:
    shape = _shape()
    event = _simulated_event()
    last_values = event.values if event and event.shape is shape else {}
    code = event.code if event else request.args.get("affiliate", "") or _first_choice()
    form = _form(shape, code, formdata=None, data=initial_values(shape, last_values, code))
    return _simulator_page(shape, form, event)


@blueprint.post("/play")
def simulate() -> Any:
    shape = _shape()
    form = _form(shape, request.form.get("affiliate", ""))
    is_valid = form.validate()
    if request.form.get("search"):  # only search for affiliates, and keep the entered values
        return _simulator_page(shape, form, None)
    try:
        if is_valid:
            id_ = ingest.simulate_event(current_user.account_id, form.body(shape), now=utcnow())
            return redirect(url_for(".simulator", event=shape.event, played=id_, _anchor="result"), 303)
        form.add_errors(validation.find_errors(form.body(shape)))
    except Problem as problem:
        form.add_errors(problem.errors)
    return _simulator_page(shape, form, None, form_errors=True), 422


def _tokens_page(form: TokenForm) -> str:
    now = utcnow()
    return render_template(
        "api/tokens.html",
        form=form,
        tokens=tokens.list_tokens(current_user.account_id, now),
        unused_days=tokens.UNUSED_AFTER.days,
        max_tokens=tokens.MAX_TOKENS,
        scopes={choice.value: choice.label for choice in form.scope.choices},
        active_count=tokens.count_active(current_user.account_id, now),
        form_errors=bool(form.errors),
    )


def _shape() -> EventShape:
    return SHAPES.get(request.args.get("event", "purchase")) or abort(404)


def _simulated_event() -> playground.SimulatedEvent | None:
    """Return the event named by the ``played`` parameter, or None if it is not one of this account."""
    event_id = request.args.get("played", "")
    if not (event_id.isascii() and event_id.isdigit() and len(event_id) < 13):
        return None
    return playground.find_simulated_event(current_user.account_id, int(event_id))


def _form(shape: EventShape, code: str, **more: Any) -> SimulationForm:
    search = (request.form.get("find") or "").strip()[:100]
    found = playground.affiliate_choices(current_user.account_id, search, chosen=code)
    return simulation_form(shape, [(row.code, playground.affiliate_label(row)) for row in found], **more)


def _first_choice() -> str:
    """Return the code of the first affiliate in the list, which is also the one in the curl command."""
    found = playground.affiliate_choices(current_user.account_id, "", chosen="")
    return found[0].code if found else ""


def _simulator_page(
    shape: EventShape, form: SimulationForm, event: playground.SimulatedEvent | None, **more: Any
) -> str:
    body = form.body(shape)
    return render_template(
        "api/play.html",
        shape=shape,
        shapes=SHAPES.values(),
        form=form,
        required_names=required_names(shape),
        max_choices=playground.MAX_CHOICES,
        simulated=event,
        command=playground.curl_command(current_config().base_url, body) if not form.errors else "",
        **more,
    )
