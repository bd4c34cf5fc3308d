"""The provider picker: every provider in groups, and what choosing one fills in."""

from __future__ import annotations

from wtforms.fields.choices import SelectChoice

from ..smtp.providers.model import Host, Provider, ProviderKind
from . import providers

_USUAL = {"mailgun", "gmail", providers.REHEARSAL}  # the two the form's own help speaks of, and ours
_GROUPS = ("The usual ones", "Made for automated mail", "Mailboxes", "Other")
_FEW = 4  # with more regions than this, the first is hardly ever the right one


def choices() -> list[SelectChoice]:
    """Return the picker's options, group by group; the one for no choice stands before all groups."""
    options = [
        SelectChoice(card.id, _label(card), _fills(card), _group(card)) for card in providers.available()
    ]
    options.sort(key=lambda option: _GROUPS.index(option.optgroup or ""))
    return [SelectChoice("", "Choose a provider…"), *options]


def _group(card: Provider) -> str:
    usual, automated, mailboxes, other = _GROUPS
    if card.id in _USUAL:
        return usual
    return {ProviderKind.TRANSACTIONAL: automated, ProviderKind.MAILBOX: mailboxes}.get(card.kind, other)


def _label(card: Provider) -> str:
    if card.id == "other":
        return "Other provider"
    regions = [host.label for host in card.hosts]
    return f"{card.name} ({', '.join(regions)})" if 1 < len(regions) < _FEW else card.name


def first_host(card: Provider) -> Host | None:
    """Return the host to propose; None where the owner's region decides and there are many."""
    return card.hosts[0] if 0 < len(card.hosts) <= _FEW else None


def _fills(card: Provider) -> dict[str, str]:
    """Return the data attributes from which the page's script fills empty fields.

    An empty value takes back what another provider's choice had filled in.
    """
    port, host = card.recommended_port, first_host(card)
    if card.id == "other" or port is None:
        return {}
    literal = card.literal_usernames(card.hosts[0].name)
    return {
        "data-fill-host": host.name if host else "",
        "data-fill-port": str(port.number),
        "data-fill-security": port.security.value,
        "data-fill-username": literal[0] if literal else "",
    }
