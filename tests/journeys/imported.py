"""Imports the whole portal: what the programs of the journeys are forked from, see ``tests.journeys.programs``."""

from __future__ import annotations

import importlib
import pkgutil

import flask.cli  # noqa: F401 - imported for the forks
import gunicorn.app.wsgiapp
import gunicorn.workers.gthread  # noqa: F401 - as above

import portal

for _module in pkgutil.walk_packages(portal.__path__, "portal."):
    if "migrations" not in _module.name and not _module.name.endswith("__main__"):
        importlib.import_module(_module.name)
