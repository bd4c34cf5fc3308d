"""Values that come from elsewhere than the page, read by the page's form: its filters, its rules and its defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.datastructures import MultiDict

from .. import credentials, routing, versions
from ..forms import SmtpForm
from ..validation import InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..validation import SettingsInput


def read(account_id: int, values: Mapping[str, str]) -> SettingsInput:
    """Return the values as they are saved. Raises InvalidSettings with an error for each field at fault.

    Without ``based_on``, the base is the live version.
    """
    live = routing.live_version(account_id)
    entered = {"based_on": str(live.number) if live else ""} | dict(values)
    form = SmtpForm(formdata=MultiDict(entered))
    form.fill_from_provider(form.prepare())
    errors: dict[str, str] = {}
    if "based_on" in values and versions.find(account_id, int(values["based_on"])) is None:
        errors["based_on"] = "There is no version of this number."
    if not form.validate():
        errors |= {name: " ".join(map(str, found)) for name, found in form.errors.items()}
        base = versions.base_of(account_id, entered["based_on"])
        if missing := credentials.missing_password(form.as_input(), base):
            errors.setdefault("password", missing)
    if errors:
        raise InvalidSettings(errors)
    return form.as_input()
