"""``flask doctor``: prints what every start checks, and what needs the network or time, one line each with what to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..about import ROOT
from ..clock import utcnow
from ..config import Config
from ..db import close_connections, db
from ..doctor import local, network, services
from ..doctor.findings import DoctorFinding, Grade, error, not_tried, ok
from ..env import ConfigError
from ..smtp.protocol.reply import plain_text
from ..vault import KeyringError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flask import Flask

HEALTHY, ERRORS = 0, 1
_LABELS = {Grade.OK: "ok", Grade.WARNING: "warning", Grade.ERROR: "ERROR", Grade.NOT_TRIED: "not tried"}
_MAX_LINE_CHARS = 2000
_NO_DATABASE = "The database is needed for this."


def run(
    env: Mapping[str, str],
    build: Callable[[Config], Flask],
    *,
    offline: bool,
    as_json: bool,
    echo: Callable[[str], None],
) -> int:
    """Run all checks under this environment and print the findings; return the exit status.

    Args:
        build: returns the portal of a configuration, without starting it.
    """
    found = []
    for one in _examine(env, build, offline=offline):
        found.append(one)
        if not as_json:
            echo(_line(one))
    counts = {grade.value: sum(one.grade is grade for one in found) for grade in Grade}
    if as_json:
        echo(json.dumps({"counts": counts, "findings": [one.as_dict() for one in found]}))
    else:
        errors, warnings = (_counted(counts[one], one) for one in ("error", "warning"))
        echo(f"\n{errors}, {warnings}, {counts['not_tried']} not tried.")
    return ERRORS if counts["error"] else HEALTHY


def _counted(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def _examine(
    env: Mapping[str, str], build: Callable[[Config], Flask], *, offline: bool
) -> Iterator[DoctorFinding]:
    """Yield the findings, beginning with what the portal cannot start without."""
    try:
        app = build(Config.from_env(env, ROOT / "instance"))
    except (ConfigError, KeyringError) as trouble:
        yield error("configuration", str(trouble))
        yield not_tried("rest", "Everything else needs a valid configuration.")
        return
    yield ok("configuration", "Every variable is valid.")
    with app.app_context():
        try:
            yield from _examine_app(app, offline=offline)
        finally:
            db.session.remove()
            close_connections()


def _examine_app(app: Flask, *, offline: bool) -> Iterator[DoctorFinding]:
    has_database = False
    for one in local.check(app):
        has_database = has_database or (one.code == local.DATABASE and not one.is_error)
        yield one
    if not has_database:
        yield not_tried("services", _NO_DATABASE)
        yield from network.skipped(_NO_DATABASE)
        return
    # The request to the public address comes first: it shows how the proxy forwards.
    online = list(network.skipped("Left out by --offline.") if offline else network.check())
    yield from services.check(utcnow())
    yield from online


def _line(one: DoctorFinding) -> str:
    return plain_text(f"{_LABELS[one.grade]:9}  {one.code:16}  {one.text}", _MAX_LINE_CHARS)
