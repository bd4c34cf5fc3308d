"""A provider's values for the form: what differs from them, and whether provider and server belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from flask_babel import gettext as _

from ..smtp.network.guard import HostError, canonical_host
from ..smtp.server import Mechanism, Security
from ..web.labels import FIELD_LABELS
from ..web.translations import translated
from . import providers
from .models import DETECT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..smtp.probe.autoconfig import Suggestion
    from ..smtp.providers.model import Port, Provider

FIELDS = (
    "provider",
    "host",
    "port",
    "security",
    "username",
    "domain",
    "wrapped_user",
    "mechanism",
)  # that an offer may change
_SHORT_SECURITY = {Security.STARTTLS.value: "STARTTLS", Security.IMPLICIT_TLS.value: "SSL/TLS"}


@dataclass(frozen=True)
class Offer:
    """Values that replace what the form holds, offered by *Use its values*."""

    name: str  # of the provider or server they belong to
    reason: str  # why they are offered, a sentence or empty
    changes: tuple[str, ...]  # one sentence for each field that changes
    values: Mapping[str, str]

    @property
    def encoded(self) -> str:
        """The values as the button sends them."""
        return urlencode(self.values)


def decode(text: str) -> dict[str, str]:
    """Return the values of a button, without names that are no fields of an offer. Invalid text has none."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=2 * len(FIELDS))
    except ValueError:
        return {}
    return {name: value for name, value in pairs if name in FIELDS}


def mismatch(chosen: Provider, host: str) -> str:
    """Return why the chosen provider and the server do not belong together, as a sentence; empty if they do.

    A server that is on no card may be any provider's, so that it is only doubtful.
    """
    if chosen.id == "other" or not host:
        return ""
    owner = providers.by_host(_canonical(host))
    if owner.id == chosen.id:
        return ""
    if owner.id == "other":
        return str(_("We do not know %(host)s as a server of %(chosen)s.", host=host, chosen=chosen.name))
    return str(
        _(
            "%(host)s belongs to %(owner)s, but you chose %(chosen)s as your provider.",
            host=host,
            owner=owner.name,
            chosen=chosen.name,
        )
    )


def card_of(chosen: Provider, host: str) -> Provider:
    """Return the card whose rules hold for a server: that of the server, else the chosen one."""
    owner = providers.by_host(_canonical(host)) if host else chosen
    return chosen if owner.id == "other" else owner


def offer_of_card(card: Provider, now: Mapping[str, str]) -> Offer | None:
    """Return the values of a provider card that differ from the form's; None if the form fits the card.

    ``now`` holds the present values by field name. What the provider offers as well, such as its other port, stays.
    """
    if card.id == "other":
        return None
    other_host = bool(mismatch(card, now["host"]))
    values = {"provider": card.id}
    if other_host:
        host = providers.first_host(card)
        values["host"] = host.name if host else ""
    values |= _port_values(card, now, is_new=other_host)
    values |= _username_values(card, now, is_new=other_host)
    values |= _mechanism_values(card, now, is_new=other_host)
    return _offer(card.name, mismatch(card, now["host"]), card, values, now)


def offer_of_suggestion(suggestion: Suggestion, now: Mapping[str, str]) -> Offer | None:
    """Return the suggested values that differ from the form's; None if there are none."""
    card = suggestion.provider or providers.by_host(suggestion.host)
    values = {
        "provider": card.id,
        "host": suggestion.host,
        "port": str(suggestion.port),
        "security": suggestion.security.value,
        "username": suggestion.username,
    }
    if not suggestion.username and not mismatch(card, now["host"]):
        del values["username"]
    values |= _mechanism_values(card, now, is_new=bool(mismatch(card, now["host"])))
    return _offer(card.name if suggestion.provider else suggestion.host, "", card, values, now)


def offer_of_mailbox(card: Provider, now: Mapping[str, str]) -> Offer | None:
    """Return the mailbox of the username as sender, where the provider would silently replace another one."""
    local, at, domain = now["username"].lower().rpartition("@")
    sender = f"{now['wrapped_user'] or 'info'}@{now['domain'] or domain}".lower()
    if not card.replaces_from or not at or sender == now["username"].lower():
        return None
    reason = _(
        "%(provider)s sends as %(mailbox)s unless %(sender)s is one of the “Send mail as” addresses of "
        "that mailbox. It does not report the change.",
        provider=card.name,
        mailbox=now["username"],
        sender=sender,
    )
    values = {"wrapped_user": local, "domain": domain}
    changes = tuple(f"{FIELD_LABELS[name]}: {value}" for name, value in values.items() if value != now[name])
    return Offer(now["username"], reason, changes, values)


def _offer(
    name: str, reason: str, card: Provider, values: dict[str, str], now: Mapping[str, str]
) -> Offer | None:
    changed = {field: value for field, value in values.items() if value != now[field]}
    if not set(changed) - {"provider"}:
        return None
    sentences = [
        _change(field, value, now[field], card) for field, value in changed.items() if field != "provider"
    ]
    if changed.get("host") and now["host"]:  # the one that was typed or saved belongs to the former server
        sentences.append(str(_("SMTP Password: enter the one of %(name)s", name=name)))
    return Offer(name, reason, tuple(sentences), changed)


def _change(field: str, value: str, before: str, card: Provider) -> str:
    label = FIELD_LABELS[field]
    if value:
        words = _SHORT_SECURITY | {Mechanism.AUTOMATIC.value: _("Automatic"), Mechanism.NONE.value: _("None")}
        shown, was = words.get(value, value), words.get(before, before)
        if not was:
            return str(_("%(label)s: %(value)s", label=label, value=shown))
        return str(_("%(label)s: %(value)s instead of %(before)s", label=label, value=shown, before=was))
    if field == "username":
        return str(
            _(
                "%(label)s: enter %(format)s, such as %(example)s, instead of %(before)s",
                label=label,
                format=translated(card.username.format),
                example=card.username.example,
                before=before,
            )
        )
    return str(_("%(label)s: choose yours instead of %(before)s", label=label, before=before))


def _port_values(card: Provider, now: Mapping[str, str], *, is_new: bool) -> dict[str, str]:
    """Return port and encryption of the card, unless the present ones are among those that it offers."""
    offered = {(str(port.number), port.security.value) for port in card.ports}
    recommended = card.recommended_port
    is_open = not now["port"] or now["security"] == DETECT
    open_or_offered = is_open or (now["port"], now["security"]) in offered
    if recommended is None or (open_or_offered and not is_new):
        return {}
    return _values_of(recommended)


def _values_of(port: Port) -> dict[str, str]:
    return {"port": str(port.number), "security": port.security.value}


def _username_values(card: Provider, now: Mapping[str, str], *, is_new: bool) -> dict[str, str]:
    """Return the card's fixed username, or an empty one in place of a username of another server."""
    host = providers.first_host(card)
    at = now["host"] if not is_new else host.name if host else ""
    literal = card.literal_usernames(at)
    if literal and card.username.strict:
        return {} if card.takes_username(at, now["username"]) else {"username": literal[0]}
    return {"username": ""} if is_new and now["username"] else {}


def _mechanism_values(card: Provider, now: Mapping[str, str], *, is_new: bool) -> dict[str, str]:
    """Return the choice of a log-in in place of none, unless the provider takes mail by address.

    The rehearsal's server has the name of this machine, which may run a relay of its own as well.
    """
    may_be_relay = card.relays_by_address or (card.id in providers.REHEARSALS and not is_new)
    is_none = now.get("mechanism") == Mechanism.NONE.value
    return {"mechanism": Mechanism.AUTOMATIC.value} if is_none and not may_be_relay else {}


def _canonical(host: str) -> str:
    try:
        return canonical_host(host)
    except HostError:
        return host.strip().lower()
