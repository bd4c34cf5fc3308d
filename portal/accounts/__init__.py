"""Accounts and their people: registration, log-in, roles, the team, and the page of one's own log-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def install(app: Flask) -> None:
    """Set up password hashing, log-in and the standing of accounts for the app and register the pages."""
    # Imported here, so that other packages can import the tables without the pages.
    from ..audit import retention
    from ..jobs.registry import add_cleanup
    from ..outbox.callbacks import add_gate
    from ..state import get_state
    from ..web.banners import add_banner_source
    from . import (
        access,
        banners,
        passwords,
        sessions,
        standing,
        views,
        views_invited,  # noqa: F401 - importing these registers their routes
        views_profile,  # noqa: F401
    )
    from .activity import views as activity_views
    from .factors import challenges, passkeys
    from .factors import views as factors_views
    from .factors import views_log_in as _log_in_routes  # noqa: F401
    from .factors import views_passkeys as _passkey_routes  # noqa: F401
    from .factors import views_team as _team_routes  # noqa: F401
    from .mailbox import changes
    from .mailbox import views as mailbox_views  # noqa: F401
    from .proof import views as prove_views  # noqa: F401
    from .team import invitations
    from .team import views as team_views

    config = get_state(app).config
    add_gate(app, standing.gate)
    add_cleanup(app, invitations.delete_old)
    add_cleanup(app, changes.delete_old)
    add_cleanup(app, retention.prune)
    add_cleanup(app, challenges.delete_old)
    add_banner_source(app, banners.banners)
    app.jinja_env.filters["device"] = sessions.device_label
    app.jinja_env.globals["passkeys_possible"] = passkeys.is_possible
    passwords.install(app, fast=config.testing)
    access.install(app)
    app.register_blueprint(views.blueprint)
    app.register_blueprint(team_views.blueprint)
    app.register_blueprint(activity_views.blueprint)
    app.register_blueprint(factors_views.blueprint)
