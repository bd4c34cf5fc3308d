"""For whoever watches the portal: does it answer, is it ready, and how is it doing."""

from flask import Flask


def install(app: Flask) -> None:
    """Introduce the room to the app."""
    from .views import blueprint

    app.register_blueprint(blueprint)
