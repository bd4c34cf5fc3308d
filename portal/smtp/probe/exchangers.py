"""Mail exchangers of known providers: which submission server belongs to the domains whose email they receive.

``exchangers.toml`` lists the suffixes of their names, as MX records hold them. A row names a provider's card and, where
the provider has several servers, the one of these domains.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..providers import MalformedData, load_catalogue
from ..toml_tables import read_toml

if TYPE_CHECKING:
    from ..providers.model import Provider

_TABLE = Path(__file__).parent / "exchangers.toml"


def find_exchanger(name: str) -> tuple[Provider, str] | None:
    """Return the provider of a mail exchanger, and its submission host if the row names one; None for others."""
    for suffix, provider, host in load_exchangers():
        if name == suffix or name.endswith("." + suffix):
            return provider, host
    return None


@cache
def load_exchangers() -> tuple[tuple[str, Provider, str], ...]:
    """Return (suffix, provider, submission host or empty) in the order of the file. Raises MalformedData."""
    top = read_toml(_TABLE)
    rows = []
    for entry in top.tables("exchangers", required=True):
        provider = load_catalogue().get(entry.text("provider"))
        host = entry.optional_text("host") or ""
        if provider is None or (host and host not in {known.name for known in provider.hosts}):
            raise MalformedData(f"{_TABLE.name}: exchangers: {entry.text('provider')} {host} is on no card")
        rows += [(suffix, provider, host) for suffix in entry.texts("suffix", required=True)]
        entry.reject_unknown_keys()
    top.reject_unknown_keys()
    return tuple(rows)
