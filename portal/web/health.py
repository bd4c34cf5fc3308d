"""For whoever watches the process: /healthz (it answers), /readyz (its database answers too)."""

from flask import Blueprint
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from ..db import db

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> tuple[str, int, dict[str, str]]:
    return "ok\n", 200, {"Content-Type": "text/plain"}


@blueprint.get("/readyz")
def readyz() -> tuple[str, int, dict[str, str]]:
    try:
        db.session.execute(text("SELECT 1"))
    except SQLAlchemyError:
        db.session.rollback()
        return "database not reachable\n", 503, {"Content-Type": "text/plain"}
    return "ready\n", 200, {"Content-Type": "text/plain"}
