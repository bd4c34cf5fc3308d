"""Monitoring endpoints: liveness, readiness and Prometheus metrics."""

from flask import Flask


def install(app: Flask) -> None:
    """Register the endpoints with the app."""
    from . import any_host
    from .views import blueprint

    app.register_blueprint(blueprint)
    any_host.install(app)
