"""The page behind the link in a test email, for anybody who has it, and the page Arrival under Settings, for the owner."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, redirect, render_template, url_for
from flask_login import current_user

from ..clock import utcnow
from ..web import owner_limits
from . import page, pasting, proofs
from .forms import HeadersForm

blueprint = Blueprint("arrival", __name__)
PATH = "/settings/arrival"
_NO_REFERRER = {"Referrer-Policy": "no-referrer"}  # the address of the page is a credential


@blueprint.get("/arrived/<token>")
def show_link(token: str) -> Any:
    row, now = proofs.find(token) or abort(404), utcnow()
    expired = proofs.is_expired(row, now)
    html = render_template("arrival/arrived.html", row=row, token=token, expired=expired)
    return html, 410 if expired else 200, _NO_REFERRER


@blueprint.post("/arrived/<token>")
def mark_received(token: str) -> Any:
    if not proofs.mark_received(token, now=utcnow()):
        proofs.find(token) or abort(404)
    return redirect(url_for(".show_link", token=token), 303)


@blueprint.get(PATH)
def show() -> Any:
    return _page(HeadersForm(formdata=None))


@blueprint.post(PATH)
def paste_headers() -> Any:
    form, now = HeadersForm(), utcnow()
    if not form.validate():
        return _page(form, refused=True), 422
    account_id = current_user.account_id
    try:
        owner_limits.count(owner_limits.PASTED_HEADERS, account_id, now=now)
        row = pasting.store(account_id, form.headers.data, now=now)
    except owner_limits.LimitReached as error:
        form.headers.errors = [str(error)]
        return _page(form, refused=True), 429
    except pasting.HeadersRefused as error:
        form.headers.errors = [str(error)]
        return _page(form, refused=True), 422
    return redirect(url_for(".show", _anchor=f"test-{row.id}"), 303)


def _page(form: HeadersForm, *, refused: bool = False) -> str:
    return render_template(
        "arrival/index.html", form=form, form_errors=refused, tests=page.build(current_user.account_id)
    )
