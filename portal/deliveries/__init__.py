"""What became of it: the log, one message's story."""

from flask import Flask

from ..web.banners import add_source


def install(app: Flask) -> None:
    """Introduce the room to the app."""
    from .banners import banners
    from .views import blueprint

    app.register_blueprint(blueprint)
    add_source(app, banners)
