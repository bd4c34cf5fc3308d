"""The page *Activity* and its CSV file. Owners see all rows of the account, others their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, render_template, request
from flask_login import current_user

from ...audit import Activity, record_alone
from ...clock import utcnow, zone_of
from ...state import current_config
from ...web.csv import csv_download
from ...web.pagination import searched_live
from ..team.members import members_of
from ..team.rights import Right
from . import log, presenter
from .filters import ActivityFilters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask.typing import ResponseReturnValue

blueprint = Blueprint("activity", __name__)


@blueprint.get("/activity")
@searched_live
def index() -> ResponseReturnValue:
    view = _view(request.args.to_dict())
    return _page(view, people=_people(view.filters) if view.only is None else [])


@blueprint.post("/activity/export.csv")
def table() -> ResponseReturnValue:
    view = _view(request.args.to_dict())
    record_alone(Activity.ACTIVITY_EXPORTED, view.account_id, after=view.filters.query())
    name = f"{current_user.account.slug}-activity-{utcnow():%Y-%m-%d}.csv"
    return csv_download(name, presenter.csv_chunks(view))


@blueprint.get("/operator/activity")
@searched_live
def of_portal() -> ResponseReturnValue:
    """Show operators what was done to the installation, and to no single account."""
    filters = ActivityFilters.read(request.args.to_dict())
    return _page(log.ActivityView(None, filters, zone_of(current_user.time_zone)))


def _page(view: log.ActivityView, people: list[tuple[int, str]] | None = None) -> str:
    args = request.args.to_dict()
    before, after = args.get("before", ""), args.get("after", "")
    page = log.read_page(view, before=before, after=after)
    filters = view.filters
    return render_template(
        "activity/index.html",
        page=page,
        entries=[presenter.show(row) for row in page.rows],
        query=filters.query(),
        misread=filters.misread(args),
        kinds=presenter.kind_choices(),
        people=people or [],
        sees_all=view.only is None,
        of_portal=view.account_id is None,
        paged=bool(before or after),
        days=current_config().audit_days,
    )


def _view(args: Mapping[str, str]) -> log.ActivityView:
    account = current_user.account
    only = None if current_user.may(Right.PEOPLE) else current_user.id
    return log.ActivityView(account.id, ActivityFilters.read(args), zone_of(current_user.time_zone), only)


def _people(filters: ActivityFilters) -> list[tuple[int, str]]:
    """Return id and name of the people to filter by: those of the team, and the chosen one who left it."""
    found = [(one.id, one.name) for one in members_of(current_user.account_id)]
    if filters.person is not None and filters.person not in {id_ for id_, _name in found}:
        name = log.last_name_of(current_user.account_id, filters.person)
        found.append((filters.person, name or f"#{filters.person}"))
    return found
