"""The WSGI application: ``gunicorn wsgi:app``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from portal import cli, create_app
from portal.doctor.files import use_private_umask

if TYPE_CHECKING:
    from flask import Flask

    from portal.config import Config


def _set_up(config: Config) -> Flask:
    """Return the portal with this configuration and with tables that are up to date."""
    from portal import bootstrap

    portal = create_app(config)
    bootstrap.migrate(portal)
    return portal


def _portal() -> Flask:
    """Return the portal; exit with the reason if it cannot start."""
    from portal.bootstrap import require_ready
    from portal.config import ConfigError
    from portal.vault import KeyringError

    try:
        portal = create_app()
        require_ready(portal)
    except (ConfigError, KeyringError) as error:
        sys.exit(cli.report_start_failure(f"Signet cannot start: {error}", sys.argv))
    return portal


use_private_umask()
app = cli.minimal_app(sys.argv, _set_up, create_app) or _portal()
