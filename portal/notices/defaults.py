"""The texts Signet ships, read from ``templates/mail/<kind>/``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from .catalogue import FOLDER

if TYPE_CHECKING:
    from .catalogue import Notice


@dataclass(frozen=True)
class Text:
    """What an owner may edit of a notice. An empty ``text`` is made from the HTML."""

    subject: str
    html: str
    text: str = ""


@cache
def default_text(notice: Notice) -> Text:
    """Return the text of a notice as it is shipped."""
    folder = FOLDER / notice.kind
    own = folder / "text.txt"
    return Text(
        (folder / "subject.txt").read_text(encoding="utf-8").strip(),
        (folder / "html.html").read_text(encoding="utf-8").strip(),
        own.read_text(encoding="utf-8").strip() if own.exists() else "",
    )
