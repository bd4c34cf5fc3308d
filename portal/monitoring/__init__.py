"""Monitoring endpoints: liveness, readiness and Prometheus metrics."""

from flask import Flask


def install(app: Flask) -> None:
    """Register the endpoints with the app."""
    from .views import blueprint

    app.register_blueprint(blueprint)
