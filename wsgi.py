"""The WSGI application: ``gunicorn wsgi:app``."""

import sys

from flask import Flask

from portal import cli


def _portal() -> Flask:
    """Return the portal; exit with the reason if it cannot start."""
    from portal import create_app
    from portal.bootstrap import require_ready
    from portal.config import ConfigError
    from portal.vault import KeyringError

    try:
        portal = create_app()
        require_ready(portal)
    except (ConfigError, KeyringError) as error:
        sys.exit(cli.report_start_failure(f"Signet cannot start: {error}", sys.argv))
    return portal


app = cli.minimal_app(sys.argv) or _portal()
