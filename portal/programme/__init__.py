"""A programme's settings, the short links of its affiliates, and the visits that come through them."""

from flask import Flask


def install(app: Flask) -> None:
    """Register the pages, the look of public ones and the banner, and answer short links before Flask reads the request."""
    from ..web.banners import add_banner_source
    from . import shop_banner, short_links
    from .look import public_look
    from .views import blueprint
    from .views_links import links

    app.register_blueprint(blueprint)
    app.register_blueprint(links)
    app.jinja_env.globals["public_look"] = public_look  # for layouts/programme.html
    add_banner_source(app, shop_banner.banners)
    app.wsgi_app = short_links.ShortLinks(app, app.wsgi_app)  # type: ignore[method-assign]
