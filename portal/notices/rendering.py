"""From a notice and its values to subject, text and HTML, exactly as they will be sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flask import current_app

from ..accounts.models import Account
from ..config import current_config
from ..smtp.mailbox import header_safe
from .catalogue import Notice

_SUBJECT_LIMIT = 200  # characters; a longer one is cut by every inbox anyway


@dataclass(frozen=True)
class Rendered:
    """A message's words, frozen when it is enqueued."""

    subject: str
    text: str
    html: str


def render(notice: Notice, values: Mapping[str, str]) -> Rendered:
    """Render a notice. ``values`` must hold each of its variables; KeyError names those it lacks."""
    missing = {variable.name for variable in notice.variables} - set(values)
    if missing:
        raise KeyError(f"{notice.kind} needs {', '.join(sorted(missing))}")
    clean = {name: one_line(value) for name, value in values.items()}
    # format_map looks at the notice's own text only; braces inside a value stay what they are.
    subject = _cut(notice.subject.format_map(clean))
    words = {**clean, "subject": subject}
    return Rendered(
        subject=subject,
        text=_page(f"mail/{notice.kind}/text.txt", words).strip() + "\n",
        html=_page(f"mail/{notice.kind}/html.html", words).strip() + "\n",
    )


def sample(notice: Notice, account: Account, first_name: str = "") -> Rendered:
    """Render a notice for this account with sample values, as the preview and the test email do."""
    values = sample_values(notice, account)
    if first_name:
        values["first_name"] = first_name
    return render(notice, values)


def sample_values(notice: Notice, account: Account) -> dict[str, str]:
    """Return a sample of each variable, as this account's affiliates would see it."""
    config = current_config()
    join = f"{config.base_url}/join/{account.slug}"
    samples = {variable.name: variable.sample for variable in notice.variables}
    return samples | {"programme": account.name, "link": f"{join}?ref=SAMPLE", "dashboard": join}


def one_line(value: str) -> str:
    """Make a value fit for a header and for a line of text: what ends lines or turns text becomes a space."""
    kept = "".join(c if header_safe(c) else " " for c in value)
    return " ".join(kept.split())


def _page(template: str, words: Mapping[str, str]) -> str:
    # Not flask.render_template: who is logged in and what banners the page has are no part of a mail.
    return current_app.jinja_env.get_template(template).render(words)


def _cut(subject: str) -> str:
    return subject if len(subject) <= _SUBJECT_LIMIT else subject[: _SUBJECT_LIMIT - 1].rstrip() + "…"
