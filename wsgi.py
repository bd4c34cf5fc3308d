"""Builds the portal once for a WSGI server: ``gunicorn wsgi:app``."""

import sys

from flask import Flask

from portal import cli


def _portal() -> Flask:
    """Return the portal, or leave with the reason why it cannot start."""
    from portal import create_app
    from portal.bootstrap import require_ready
    from portal.config import ConfigError
    from portal.vault import KeyringError

    try:
        portal = create_app()
        require_ready(portal)
    except (ConfigError, KeyringError) as error:
        sys.exit(cli.cannot_start(f"Signet cannot start: {error}", sys.argv))
    return portal


app = cli.without_portal(sys.argv) or _portal()
