"""What the page *Bounces* shows: the hook of each provider with its state, and breakers that wait for a decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from flask_babel import ngettext

from ..settings import providers
from ..settings.routing import live_version
from . import breaker, hooks, verifying
from .models import BounceHook, SuppressionEffect
from .providers.catalogue import ADAPTERS
from .providers.setup import Setup, setup_of

if TYPE_CHECKING:
    from datetime import datetime

    from .models import BounceBreaker
    from .providers.adapter import Adapter


@dataclass(frozen=True)
class HookView:
    """One provider's hook. ``tone`` and ``state`` are those of a banner's sentence."""

    adapter: Adapter
    setup: Setup
    hook: BounceHook
    address: str
    has_key: bool
    tone: str
    state: str
    former_until: datetime | None  # until when the last former address works


@dataclass(frozen=True)
class BreakerView:
    """An open breaker with the numbers of its mailboxes."""

    row: BounceBreaker
    waiting: int
    suppressed: int


@dataclass(frozen=True)
class BouncesPage:
    """The page."""

    hooks: list[HookView]
    others: list[Adapter]  # without a hook
    suggested: Adapter | None  # that of the live settings, if it has no hook
    breakers: list[BreakerView]


def read(account_id: int, *, now: datetime) -> BouncesPage:
    """Return the page of an account."""
    rows = {row.provider: row for row in hooks.list_hooks(account_id) if row.provider in ADAPTERS}
    live = live_version(account_id)
    card = providers.by_host(live.host) if live else None
    suggested = ADAPTERS.get(card.id) if card and card.id not in rows else None
    others = [one for one in ADAPTERS.values() if one.id not in rows and one is not suggested]
    former = hooks.former_until(account_id, now=now)
    views = [_view(ADAPTERS[name], row, former.get(row.id), now) for name, row in rows.items()]
    return BouncesPage(
        views, others, suggested, [_breaker_view(row) for row in breaker.list_open(account_id)]
    )


def _view(adapter: Adapter, hook: BounceHook, former_until: datetime | None, now: datetime) -> HookView:
    tone, state = _state(adapter, hook, now)
    return HookView(
        adapter=adapter,
        setup=setup_of(adapter.id),
        hook=hook,
        address=hooks.address(hook),
        has_key=bool(hooks.open_key(hook)),
        tone=tone,
        state=state,
        former_until=former_until,
    )


def _state(adapter: Adapter, hook: BounceHook, now: datetime) -> tuple[str, str]:
    if adapter.key_name and hook.sealed_key is None:
        text = _("Signet refuses events until you save the %(key)s below.", key=str(adapter.key_name))
        return "warning", text
    if adapter.key_name and not hooks.open_key(hook):
        text = _(
            "Signet refuses events: the %(key)s was encrypted with a key that this portal no longer has. Save it again below.",
            key=str(adapter.key_name),
        )
        return "danger", text
    if adapter.is_verified_later and verifying.is_stuck(hook):
        return "warning", _(
            "Amazon’s calls arrive, but they wait: this portal cannot reach Amazon to verify or confirm them. Ask the "
            "operator of this portal to allow HTTPS to sns.<region>.amazonaws.com."
        )
    if adapter.is_verified_later and not hook.topic:
        return "info", _(
            "No SNS topic (Amazon’s channel for events) has asked for confirmation yet. This happens "
            "automatically once you subscribe the address."
        )
    quiet = now - (hook.last_event_at or hook.created_at)
    if quiet > hooks.QUIET_AFTER:
        return "warning", _(
            "No events received for %(days)d days. Check that the hook still exists at your provider.",
            days=quiet.days,
        )
    if not hook.events:  # a call without events, such as a test of the address, sets last_event_at as well
        return "info", _("No events received yet.")
    return "success", ngettext(
        "It works: one event received.", "It works: %(num)s events received.", hook.events
    )


def _breaker_view(row: BounceBreaker) -> BreakerView:
    counts = breaker.count_by_effect(row)
    return BreakerView(
        row, counts.get(SuppressionEffect.WAITS, 0), counts.get(SuppressionEffect.SUPPRESSED, 0)
    )
