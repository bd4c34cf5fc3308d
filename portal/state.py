"""The state of one app in memory: its configuration, its vault, and one typed object for each part of the portal.

It lives in ``app.extensions``, so several apps in one process share nothing. A part of the portal declares a class with
defaults for its state and reads it by that class (see ``State.part``), so this module imports none of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from flask import current_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from .config import Config
    from .vault import Vault

KEY = "signet"  # in app.extensions
_T = TypeVar("_T")


@dataclass
class State:
    """What one app keeps in memory."""

    config: Config
    vault: Vault
    _parts: dict[type[Any], Any] = field(default_factory=dict, repr=False)

    def part(self, kind: type[_T], make: Callable[[], _T] | None = None) -> _T:
        """Return the object of this class, made at first use by ``make`` or without arguments. Thread-safe."""
        found: _T | None = self._parts.get(kind)
        return found if found is not None else self._parts.setdefault(kind, (make or kind)())

    def put(self, kind: type[_T], part: _T) -> None:
        """Set the object of this class."""
        self._parts[kind] = part

    def discard(self, kind: type[Any]) -> None:
        """Remove the object of this class, so that the next use makes another one."""
        self._parts.pop(kind, None)


def get_state(app: Flask | None = None) -> State:
    """Return the state of ``app``, by default of the app in whose context this runs."""
    # The app itself: it is asked for several times a message, and the proxy looks up each attribute anew.
    found: State = (app or current_app._get_current_object()).extensions[KEY]  # type: ignore[attr-defined]
    return found


def current_config() -> Config:
    """Return the configuration of the app in whose context this runs."""
    return get_state().config


def vault() -> Vault:
    """Return the vault of the app in whose context this runs."""
    return get_state().vault
