"""The owner's page of events."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, request
from flask_login import current_user

from ..affiliates.directory import find_affiliate
from ..web.labels import STATUS_LABELS
from ..web.pagination import key_argument, searched_live
from . import event_log, presenter
from .event_log import EmailFilter, EventFilters
from .types import EVENT_LABELS, EventType

blueprint = Blueprint("events", __name__, url_prefix="/events")


@blueprint.get("")
@searched_live
def index() -> Any:
    type_, email = request.args.get("occasion", ""), request.args.get("mail", "")
    before, after = key_argument(request.args.get("before")), key_argument(request.args.get("after"))
    affiliate_id = key_argument(request.args.get("affiliate"))
    affiliate = find_affiliate(current_user.account_id, affiliate_id) if affiliate_id is not None else None
    chosen = EventFilters(
        affiliate_id=affiliate.id if affiliate else None,
        type=EventType(type_) if type_ in set(EventType) else None,
        email=EmailFilter(email) if email in set(EmailFilter) else None,
    )
    page = event_log.list_events(current_user.account_id, chosen, before=before, after=after)
    filters = {
        "occasion": chosen.type.value if chosen.type else None,
        "mail": chosen.email.value if chosen.email else None,
        "affiliate": chosen.affiliate_id,
    }
    return render_template(
        "events/index.html",
        events=presenter.describe_events(page.rows),
        page=page,
        filters=filters,
        filtered=any(filters.values()),
        affiliate=affiliate,
        event_labels=EVENT_LABELS,
        status_labels=STATUS_LABELS,
        paged=before is not None or after is not None,
    )
