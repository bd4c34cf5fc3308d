"""What happens to a message after a server has accepted it: bounces, complaints, and the mailboxes they suppress."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def install(app: Flask) -> None:
    """Register the hooks, the jobs, the clean-up and the listener for settled attempts of this room with the app."""
    from ..jobs.registry import add_cleanup, add_work_source
    from ..oauth import redirects
    from ..oauth.models import Purpose
    from ..outbox.callbacks import add_listener
    from . import cleanup, processing, suppressing, verifying, views, views_hooks
    from .mailbox import reading, views_connect
    from .mailbox import views as views_mailbox

    # No CSRF check: the address holds a secret that no other site knows, and no cookie is read.
    app.extensions["csrf"].exempt(views_hooks.blueprint)
    app.register_blueprint(views_hooks.blueprint)
    app.register_blueprint(views.blueprint)
    app.register_blueprint(views_mailbox.blueprint)
    app.register_blueprint(views_connect.blueprint)
    redirects.register_finish(app, Purpose.READ, views_connect.finish)
    add_work_source(app, processing.find_due_work)
    add_work_source(app, verifying.find_due_work)
    add_work_source(app, reading.find_due_work, is_patient=True)
    add_cleanup(app, cleanup.delete_old)
    add_listener(app, suppressing.on_attempt_settled, on_acceptance=lambda _account_id, _claim: False)
