"""From a notice and its values to subject, text and HTML, exactly as they will be sent."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from flask import current_app, render_template

from ..accounts.models import Account
from ..config import Config
from .catalogue import Notice

_SUBJECT_LIMIT = 200  # characters; a longer one is cut by every inbox anyway


@dataclass(frozen=True)
class Rendered:
    """A message's words, frozen when it is enqueued."""

    subject: str
    text: str
    html: str


def render(notice: Notice, values: Mapping[str, str]) -> Rendered:
    """Render a notice. ``values`` must hold each of its variables."""
    missing = {variable.name for variable in notice.variables} - set(values)
    if missing:
        raise KeyError(f"{notice.kind} needs {', '.join(sorted(missing))}")
    subject = notice.subject.format_map({name: _one_line(value) for name, value in values.items()})
    folder = f"mail/{notice.kind}"
    return Rendered(
        subject=subject[:_SUBJECT_LIMIT],
        text=render_template(f"{folder}/text.txt", subject=subject, **values).strip() + "\n",
        html=render_template(f"{folder}/html.html", subject=subject, **values),
    )


def sample(notice: Notice, account: Account, first_name: str = "") -> Rendered:
    """Render a notice for this account with sample values, as the preview and the test email do."""
    config: Config = current_app.extensions["signet.config"]
    values = {variable.name: variable.sample for variable in notice.variables}
    values |= {
        "programme": account.name,
        "link": f"{config.base_url}/join/{account.slug}?ref=SAMPLE",
        "dashboard": f"{config.base_url}/join/{account.slug}",
    }
    if first_name:
        values["first_name"] = first_name
    return render(notice, values)


def _one_line(value: str) -> str:
    """Make a value fit for a header: controls and line ends become spaces."""
    return " ".join("".join(" " if unicodedata.category(c) in {"Cc", "Zl", "Zp"} else c for c in value).split())
