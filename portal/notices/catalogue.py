"""The catalogue of automated affiliate emails: one declaration each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Variable:
    """A value that a text may use."""

    name: str
    description: str
    sample: str


@dataclass(frozen=True)
class Notice:
    """A kind of automated email. Its texts live in ``templates/mail/<kind>/``."""

    kind: str
    name: str
    audience: str
    when: str
    subject: str  # with {variables}
    variables: tuple[Variable, ...]


NEW_SIGN_UP = Notice(
    kind="new-sign-up",
    name="New Sign-up",
    audience="Affiliates",
    when="As soon as somebody signs up as an affiliate.",
    subject="Welcome to {programme}, {first_name}: here is your link",
    variables=(
        Variable("programme", "The name of the programme", "Brightleaf"),
        Variable("first_name", "The affiliate's first name", "Ada"),
        Variable("link", "The affiliate's own link", "https://signet.example/join/brightleaf?ref=SAMPLE"),
        Variable("dashboard", "The affiliate's dashboard", "https://signet.example/affiliate/sample"),
    ),
)

CATALOGUE: Mapping[str, Notice] = {notice.kind: notice for notice in (NEW_SIGN_UP,)}
