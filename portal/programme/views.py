"""The owner's page of programme settings."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app, flash, redirect, render_template, url_for
from flask_babel import gettext as _
from flask_login import current_user

from ..accounts.standing import is_limited
from ..clock import utcnow
from ..shop_links import affiliate_link
from ..state import current_config
from . import counts, saving, shop_script, short_links
from .forms import SettingsForm

blueprint = Blueprint("programme", __name__, url_prefix="/programme")
_EXAMPLE_CODE = "ADA7K2PQ"


@blueprint.get("")
def settings() -> Any:
    form = SettingsForm(formdata=None, obj=saving.find_account(current_user.account_id))
    form.picture.data = None
    return _page(form)


@blueprint.post("")
def save() -> Any:
    form = SettingsForm()
    if not form.validate():
        return _page(form, form_errors=True), 422
    try:
        saving.save_settings(current_user.account_id, form.entered_settings(), now=utcnow())
    except saving.InvalidProgramme as error:
        form.show_errors(error.by_field)
        return _page(form, form_errors=True), 422
    short_links.forget_targets(current_app)
    flash(_("The programme settings are saved. They apply to all affiliates’ links."), "success")
    return redirect(url_for(".settings"), 303)


def _page(form: SettingsForm, **more: object) -> str:
    account, config = saving.find_account(current_user.account_id), current_config()
    return render_template(
        "programme/settings.html",
        form=form,
        account=account,
        example_link=affiliate_link(account, _EXAMPLE_CODE, config) if account.shop_url else "",
        script_tag=shop_script.script_tag(current_app, account, config),
        are_counted=counts.are_counted(account.id),
        waits_for_approval=is_limited(account),
        **more,
    )
