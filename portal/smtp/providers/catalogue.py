"""The provider catalogue: every card, and how a provider is recognised."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..diagnosis.cases import refuse_twins
from ..toml_tables import MalformedData
from .model import Provider, read_card

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CARDS = Path(__file__).parent / "cards"
_GENERIC = "other"
_CLOSE = (
    0.82  # of difflib's ratio: smpt.mailgun.org is near smtp.mailgun.org, smtp.example.org is near nothing
)


def canonical(host: str) -> str:
    """Return a host name in small letters, without spaces and trailing dot."""
    return host.strip().rstrip(".").lower()


@dataclass(frozen=True)
class Catalogue:
    """Every provider we know, in the order of their names; the generic card comes last."""

    providers: tuple[Provider, ...]

    def __iter__(self) -> Iterator[Provider]:
        return iter(self.providers)

    def __len__(self) -> int:
        return len(self.providers)

    @property
    def generic(self) -> Provider:
        """Return the card for a server of nobody we know."""
        return self.providers[-1]

    def get(self, identity: str) -> Provider | None:
        """Return the provider with this id or alias."""
        return next((one for one in self.providers if identity == one.id or identity in one.aliases), None)

    def by_host(self, host: str) -> Provider | None:
        """Return the provider a saved host belongs to: by its own name, its pattern of regions, or the
        same domain.
        """
        name = canonical(host)
        exact = next((one for one in self.providers if one.host_named(name)), None)
        return exact or next((one for one in self.providers if _same_family(name, one)), None)

    def by_domain(self, domain: str) -> Provider | None:
        """Return the mailbox provider behind a public mail domain such as gmail.com."""
        name = canonical(domain)
        return next((one for one in self.providers[:-1] if name in one.mail_domains), None)

    def is_public_mail(self, domain: str) -> bool:
        """Return whether anybody can have an address at this domain, so that nobody may send for all of
        it.
        """
        return any(canonical(domain) in one.mail_domains for one in self.providers)

    def search(self, text: str) -> tuple[Provider, ...]:
        """Return the providers whose name, id, host or mail domain holds every word of ``text``."""
        wanted = text.casefold().split()
        return tuple(one for one in self.providers if all(word in _haystack(one) for word in wanted))

    def host_near(self, host: str) -> str | None:
        """Return the known host that ``host`` is probably a slip of, None when it is one itself or near
        none.
        """
        name = canonical(host)
        known = [one.name for provider in self.providers for one in provider.hosts]
        if name in known:
            return None
        return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=_CLOSE)), None)


def _same_family(host: str, provider: Provider) -> bool:
    """Return whether a host lies under one of the provider's own names, such as us.smtp.mailgun.org."""
    return any(host.endswith("." + one.name) for one in provider.hosts)


def _haystack(provider: Provider) -> str:
    hosts = " ".join(f"{host.name} {host.label}" for host in provider.hosts)
    words = (provider.id, *provider.aliases, provider.name, hosts, *provider.mail_domains)
    return " ".join(words).casefold()


@cache
def load_catalogue(folder: Path = _CARDS) -> Catalogue:
    """Return the catalogue read from ``folder``.

    Raises:
        MalformedData: a card is malformed; the message names its file and field.
    """
    cards = [read_card(path) for path in sorted(folder.glob("*.toml"))]
    generic = [card for card in cards if card.id == _GENERIC]
    if not generic:
        raise MalformedData(f"{_GENERIC}.toml: id: the generic card is missing")
    named = sorted((card for card in cards if card.id != _GENERIC), key=lambda card: card.name.casefold())
    refuse_twins(case for card in cards for case in card.replies)
    _refuse_shared_names(named)
    return Catalogue((*named, *generic))


def _refuse_shared_names(cards: Iterable[Provider]) -> None:
    seen: set[str] = set()
    for card in cards:
        for name in (card.id, *card.aliases, *(host.name for host in card.hosts)):
            if name in seen:
                raise MalformedData(f"{card.id}.toml: hosts: {name!r} belongs to another card too")
            seen.add(name)
