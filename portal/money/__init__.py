"""Commissions, refunds and payouts: what each order still earns, balances, and weekly summaries."""

from flask import Flask


def install(app: Flask) -> None:
    """Register the pages, banners and jobs of this room with the app."""
    from ..jobs.registry import add_work_source
    from ..web.banners import add_banner_source
    from . import approval_rule, banners, views, weekly_summary

    app.register_blueprint(views.blueprint)
    add_banner_source(app, banners.banners)
    add_work_source(app, weekly_summary.find_work, is_patient=True)
    add_work_source(app, approval_rule.find_work, is_patient=True)
