"""Provider catalogue: all cards, and look-ups by host and by mail domain."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..diagnosis.cases import check_unique_codes
from ..toml_tables import MalformedData
from .card_reader import read_card

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .model import Provider

_CARDS = Path(__file__).parent / "cards"
_GENERIC = "other"
_MIN_SIMILARITY = (
    0.82  # difflib ratio: smpt.mailgun.org reaches it, smtp.example.org with any known host does not
)


def normalise_host(host: str) -> str:
    """Return a host name in lower case, without surrounding spaces and trailing dot.

    Unlike ``canonical_host`` it accepts any text, because the result is only compared.
    """
    return host.strip().rstrip(".").lower()


@dataclass(frozen=True)
class Catalogue:
    """All providers, sorted by name; the generic card is last."""

    providers: tuple[Provider, ...]

    def __iter__(self) -> Iterator[Provider]:
        return iter(self.providers)

    def __len__(self) -> int:
        return len(self.providers)

    @property
    def generic(self) -> Provider:
        """The card for servers of unknown providers."""
        return self.providers[-1]

    def get(self, id_or_alias: str) -> Provider | None:
        """Return the provider with this id or alias, None if there is none."""
        return next(
            (one for one in self.providers if id_or_alias == one.id or id_or_alias in one.aliases), None
        )

    def by_host(self, host: str) -> Provider | None:
        """Return the provider that runs a host, None if it is unknown.

        A host matches by name, by the pattern of regional hosts, or as a subdomain of a host on a card.
        """
        name = normalise_host(host)
        exact = next((one for one in self.providers if one.host_named(name)), None)
        return exact or next((one for one in self.providers if _is_below_host_of(name, one)), None)

    def by_domain(self, domain: str) -> Provider | None:
        """Return the mailbox provider of a public mail domain such as gmail.com, None for other domains."""
        name = normalise_host(domain)
        return next((one for one in self.providers[:-1] if name in one.mail_domains), None)

    def is_public_mail(self, domain: str) -> bool:
        """Return whether this is a public mail domain: anyone can have an address, no customer controls it."""
        return any(normalise_host(domain) in one.mail_domains for one in self.providers)

    def search(self, text: str) -> tuple[Provider, ...]:
        """Return the providers whose names, hosts and mail domains contain every word of ``text``."""
        words = set(text.casefold().split())
        texts = ((one, _search_text(one)) for one in self.providers)
        return tuple(one for one, searched in texts if all(word in searched for word in words))

    def similar_host(self, host: str) -> str | None:
        """Return the known host that ``host`` probably misspells; None if it is known itself or similar to none."""
        name = normalise_host(host)
        known = [one.name for provider in self.providers for one in provider.hosts]
        if name in known:
            return None
        return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=_MIN_SIMILARITY)), None)


def _is_below_host_of(host: str, provider: Provider) -> bool:
    """Return whether a host is a subdomain of one of the provider's hosts, such as us.smtp.mailgun.org."""
    return any(host.endswith("." + one.name) for one in provider.hosts)


def _search_text(provider: Provider) -> str:
    hosts = " ".join(f"{host.name} {host.label}" for host in provider.hosts)
    words = (provider.id, *provider.aliases, provider.name, hosts, *provider.mail_domains)
    return " ".join(words).casefold()


@cache
def load_catalogue(folder: Path = _CARDS) -> Catalogue:
    """Return the catalogue of the cards in ``folder``.

    Raises:
        MalformedData: a card is malformed; the message names its file and field.
    """
    cards = [read_card(path) for path in sorted(folder.glob("*.toml"))]
    generic = [card for card in cards if card.id == _GENERIC]
    if not generic:
        raise MalformedData(f"{_GENERIC}.toml: id: the generic card is missing")
    named = sorted((card for card in cards if card.id != _GENERIC), key=lambda card: card.name.casefold())
    check_unique_codes(case for card in cards for case in card.cases)
    _check_unique_names(named)
    return Catalogue((*named, *generic))


def _check_unique_names(cards: Iterable[Provider]) -> None:
    known: set[str] = set()
    for card in cards:
        for name in (card.id, *card.aliases, *(host.name for host in card.hosts)):
            if name in known:
                raise MalformedData(f"{card.id}.toml: hosts: {name!r} is on another card, too")
            known.add(name)
