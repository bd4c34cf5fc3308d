"""Who acts: the logged-in person, an API token, an operator's command, or Signet itself.

Requests of a person who is logged in and commands need no preparation. Where another person or a token acts, ``act_as``
sets the actor for the rest of the request.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import click
from flask import g, has_request_context, request
from flask_login import current_user

from ..web.requests import network_of

_KEY = "audit_actor"  # in flask.g


class Way(StrEnum):
    """By which way something was done. The values are stored."""

    PAGE = "page"
    API = "api"
    COMMAND = "command"
    SYSTEM = "system"  # a worker, without a person's request


@dataclass(frozen=True)
class Actor:
    """Who acts. ``id`` is a person's, or with API a token's; ``name`` is the person's, the token's or the command's."""

    way: Way
    id: int | None = None
    name: str = ""
    session_id: int | None = None
    network: str = ""


def act_as(id_: int, name: str, *, way: Way = Way.PAGE) -> None:
    """Record what follows in this request as done by a person, who has just logged in or used a link, or by a token."""
    setattr(g, _KEY, Actor(way, id_, name, network=_network()))


def current_actor() -> Actor:
    """Return who acts now. Runs no query."""
    chosen: Actor | None = g.get(_KEY)
    if chosen is not None:
        return chosen
    if has_request_context():
        # Only a log-in that the request has read already: reading it here would end the caller's transaction.
        if "_login_user" in g and current_user.is_authenticated:
            user = current_user
            return Actor(Way.PAGE, user.id, user.name, user.session_id, _network())
        return Actor(Way.PAGE, network=_network())
    context = click.get_current_context(silent=True)
    if context is None or context.info_name == "worker":
        return Actor(Way.SYSTEM)
    words = context.command_path.split()[1:]  # without the name of the program, and never its arguments
    return Actor(Way.COMMAND, name=f"flask {' '.join(words)}".strip())


def _network() -> str:
    return network_of(request) if has_request_context() else ""
