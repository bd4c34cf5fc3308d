"""Public pages for affiliates who have lost the address of their private page."""

from __future__ import annotations

from typing import Any

from flask import abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from ..accounts.password_reset import can_send_mail
from ..affiliates import page_language
from ..clock import utcnow
from ..web.requests import network_of, read_only_view
from . import dashboard_links, signup
from .forms import FindPageForm
from .views import blueprint, public_page


@blueprint.route("/join/<slug>/my-page", methods=["GET", "POST"])
@read_only_view
def find_page(slug: str) -> Any:
    form = FindPageForm()
    if not form.is_submitted() or page_language.is_choosing():
        return public_page("affiliates/find_page.html", slug, form=form)
    if not form.validate():
        return public_page("affiliates/find_page.html", slug, form=form, form_errors=True), 422
    try:
        dashboard_links.send_link(
            slug,
            form.mailbox.data,
            network_of(request),
            now=utcnow(),
            language=page_language.of_browser(),
        ) or abort(404)
    except signup.ProgrammeClosed:
        return public_page("affiliates/find_page.html", slug, form=form)
    except signup.TooManySignUps:
        page = public_page(
            "affiliates/find_page.html", slug, form=form, form_errors=True, problem=_too_many()
        )
        return page, 429
    flash(_sent(form), "success")
    return redirect(url_for(".find_page", slug=slug), 303)


@blueprint.route("/affiliate", methods=["GET", "POST"])
@read_only_view
def find_pages() -> Any:
    page_language.offer()
    form, can_send = FindPageForm(), can_send_mail()
    if not form.is_submitted() or not can_send or page_language.is_choosing():
        return render_template("affiliates/find_pages.html", form=form, can_send=can_send)
    if not form.validate():
        return render_template(
            "affiliates/find_pages.html", form=form, can_send=can_send, form_errors=True
        ), 422
    try:
        dashboard_links.send_links(form.mailbox.data, network_of(request), now=utcnow())
    except signup.TooManySignUps:
        page = render_template(
            "affiliates/find_pages.html",
            form=form,
            can_send=can_send,
            form_errors=True,
            problem=_too_many(),
        )
        return page, 429
    flash(_sent(form), "success")
    return redirect(url_for(".find_pages"), 303)


def _sent(form: FindPageForm) -> str:
    return str(
        _(
            "If %(mailbox)s belongs to an affiliate, an email is on its way. Check your spam folder, too.",
            mailbox=form.mailbox.data,
        )
    )


def _too_many() -> str:
    return str(
        _(
            "There were too many requests from your network, or too many emails to this address. Try again "
            "later, or tomorrow at the latest."
        )
    )
