"""To whom: the public sign-up, the affiliate's own page, the list."""

from flask import Flask


def install(app: Flask) -> None:
    """Introduce the room to the app."""
    from .views import blueprint

    app.register_blueprint(blueprint)
