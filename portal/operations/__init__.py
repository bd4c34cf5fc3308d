"""What the operator of the portal needs: the accounts, the state of the outbox and the rotation of keys."""

from flask import Flask


def install(app: Flask) -> None:
    """Register the pages with the app."""
    # Importing them registers their routes.
    from . import (  # noqa: F401
        views_account,
        views_accounts,
        views_invitations,
        views_orders,
        views_platform,
        views_workers,
    )
    from .views import blueprint

    app.register_blueprint(blueprint)
