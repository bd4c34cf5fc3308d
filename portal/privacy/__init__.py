"""Erasing a person, and what is stored about one: the download, and the request to be erased."""

from flask import Flask


def install(app: Flask) -> None:
    """Register the pages, the banner, the work and the clean-up of this room with the app."""
    from ..api.affiliates.erasure import register_eraser
    from ..jobs.registry import add_cleanup, add_work_source
    from ..web.banners import add_banner_source
    from . import asking, erasing, late_reports, views

    app.register_blueprint(views.blueprint)
    add_work_source(app, erasing.find_work, is_patient=True)
    add_banner_source(app, asking.banners)
    add_cleanup(app, late_reports.blank)
    register_eraser(app, erasing.erase_by_api)
