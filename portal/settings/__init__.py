"""SMTP settings: numbered versions, the check of a version, and which one sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def install(app: Flask) -> None:
    """Register the pages and the jobs of this package with the app."""
    from ..accounts import standing
    from ..jobs.registry import add_cleanup, add_work_source
    from ..oauth import redirects
    from ..oauth.consent import delete_old_attempts
    from ..oauth.models import Purpose
    from ..outbox.callbacks import add_listener
    from . import login_probe, routing, views_explain, views_guided
    from .checking import refused_targets
    from .checking.due_checks import find_due_work
    from .connecting import used_grants, views_consent
    from .connecting import views as connecting
    from .views import blueprint

    standing.register_own_server(app, routing.has_live_version, routing.sends_by_own_server)
    app.register_blueprint(blueprint)
    app.register_blueprint(views_explain.blueprint)
    app.register_blueprint(views_guided.blueprint)
    app.register_blueprint(connecting.blueprint)
    app.register_blueprint(views_consent.blueprint)
    redirects.register_finish(app, Purpose.SEND, views_consent.finish)
    add_work_source(app, find_due_work)
    add_cleanup(app, delete_old_attempts)
    add_cleanup(app, used_grants.end_unused_grants)
    add_listener(app, refused_targets.on_attempt_settled, on_acceptance=lambda _account_id, _claim: False)
    add_work_source(app, login_probe.find_due_work, is_patient=True)
