"""Joining a programme: sign-up, confirmation, invitations, moderation and the affiliate's own pages."""

from typing import TYPE_CHECKING

from flask import Flask

if TYPE_CHECKING:
    from flask_wtf import CSRFProtect


def install(app: Flask) -> None:
    """Register the pages, the previews, the banner and the clean-up of this package with the app."""
    from ..jobs.registry import add_work_source
    from ..notices import preview
    from ..web.banners import add_banner_source
    from . import address_banner, cleanup, preview_values, views_find, views_owner  # noqa: F401 - importing it registers its routes
    from .changing import views_address, views_edit  # noqa: F401
    from .changing.views_preferences import owner_unsubscribe, unsubscribe
    from .views import blueprint

    app.register_blueprint(blueprint)
    csrf: CSRFProtect = app.extensions["csrf"]
    csrf.exempt(unsubscribe)
    csrf.exempt(owner_unsubscribe)
    preview.register_recipients(app, preview_values.AffiliatePreviews())
    add_work_source(app, cleanup.find_work, is_patient=True)
    add_banner_source(app, address_banner.banners)
