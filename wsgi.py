"""Builds the portal once for a WSGI server: ``gunicorn wsgi:app``."""

import sys

from portal import create_app
from portal.config import ConfigError
from portal.setup import require_ready
from portal.vault import KeyringError

try:
    app = create_app()
    require_ready(app)
except (ConfigError, KeyringError) as error:
    sys.exit(f"Signet cannot start: {error}")
