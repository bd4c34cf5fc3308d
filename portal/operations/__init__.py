"""What the operator of the portal needs: the accounts, the state of the outbox and the rotation of keys."""

from flask import Flask


def install(app: Flask) -> None:
    """Register the pages with the app."""
    from . import views_accounts  # noqa: F401 - importing it registers its routes
    from .views import blueprint

    app.register_blueprint(blueprint)
