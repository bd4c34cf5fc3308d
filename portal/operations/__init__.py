"""What the operator of the portal needs: the state of the outbox and the rotation of keys."""

from flask import Flask


def install(app: Flask) -> None:
    """Register the pages with the app."""
    from .views import blueprint

    app.register_blueprint(blueprint)
