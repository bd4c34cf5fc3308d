"""For whoever runs the portal: the state of the outbox, orders about messages, and the keys."""

from flask import Flask


def install(app: Flask) -> None:
    """Introduce the room to the app."""
    from .views import blueprint

    app.register_blueprint(blueprint)
