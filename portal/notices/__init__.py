"""What is sent: the catalogue of automated affiliate emails, their texts, rendering and preview."""

from flask import Flask


def install(app: Flask) -> None:
    """Introduce the room to the app."""
    from .views import blueprint

    app.register_blueprint(blueprint)
