"""The macros of ``templates/components/`` as one namespace: ``ui.button(...)`` in every template.

Components read no context, so each of their templates is loaded once. Macros of a name that begins with an underscore
stay private to their template.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2.runtime import Macro

if TYPE_CHECKING:
    from flask import Flask
    from jinja2 import Environment

_FOLDER = "components/"


class Components:
    """Looks macros up by name. Loads them at the first use, after every global that they may call is registered."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._macros: dict[str, Macro] = {}

    def __getattr__(self, name: str) -> Macro:
        if not self._macros:
            self._macros = self._load()
        try:
            return self._macros[name]
        except KeyError:
            raise AttributeError(f"no macro {name} in templates/{_FOLDER}") from None

    def _load(self) -> dict[str, Macro]:
        """Return all macros. Raises ValueError where two templates define the same name."""
        found: dict[str, Macro] = {}
        for template in self._environment.list_templates(filter_func=lambda path: path.startswith(_FOLDER)):
            for name, value in vars(self._environment.get_template(template).module).items():
                if isinstance(value, Macro) and not name.startswith("_"):
                    if name in found:
                        raise ValueError(f"{template}: the macro {name} is defined twice")
                    found[name] = value
        return found


def install(app: Flask) -> None:
    """Give every template the namespace ``ui``."""
    app.jinja_env.globals["ui"] = Components(app.jinja_env)
