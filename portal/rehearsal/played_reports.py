"""Plays what a provider reports of a received message: its calls reach the account's hook as the provider's would."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ..accounts.tokens import new_token
from ..bounces import hooks, receiving, recording
from ..bounces.providers.adapter import Call
from ..bounces.providers.catalogue import ADAPTERS
from ..db import db
from . import provider_events
from .provider_events import PlayedCall, PlayedKind, PlayedMessage

if TYPE_CHECKING:
    from datetime import datetime

    from .inbox import InboxMessage


class Play(StrEnum):
    """What is played."""

    BOUNCE = "bounce"
    DELAY_THEN_DELIVERY = "delay-then-delivery"
    COMPLAINT = "complaint"
    REPLAY = "replay"  # the same bounce five times
    WRONG_SIGNATURE = "wrong-signature"
    OWN_LIST = "own-list"


_KINDS = {
    Play.BOUNCE: (PlayedKind.HARD,),
    Play.DELAY_THEN_DELIVERY: (PlayedKind.DELAYED, PlayedKind.DELIVERED),
    Play.COMPLAINT: (PlayedKind.COMPLAINT,),
    Play.REPLAY: (PlayedKind.HARD,),
    Play.WRONG_SIGNATURE: (PlayedKind.HARD,),
    Play.OWN_LIST: (PlayedKind.LISTED,),
}
_REPLAYS = 5


class CannotPlay(Exception):
    """Nothing was played; the message is a sentence for the page."""


class HowRefused(StrEnum):
    """How the portal finds out that a call is not the provider's."""

    BY_SIGNATURE = "by-signature"
    BY_SIGNATURE_LATER = "by-signature-later"  # in the worker
    BY_ADDRESS = "by-address"  # the provider signs nothing, and the address of the hook has a secret


@dataclass(frozen=True)
class Played:
    """How the portal answered: how many calls, and how many of them it refused."""

    calls: int
    refused: int
    how_refused: HowRefused


def play(account_id: int, provider: str, what: Play, message: InboxMessage, *, now: datetime) -> Played:
    """Play events about a received message. Makes the hook if there is none; saves no key. Commits. Raises CannotPlay."""
    reference = message.view.header("x-signet-ref")
    if not reference:
        raise CannotPlay("This message carries no reference of Signet.")
    about = PlayedMessage(
        reference, message.id, message.view.header("message-id"), next(iter(message.recipients), "")
    )
    hooks.create(account_id, provider, now=now)
    calls = [provider_events.build_call(provider, about, kind, now=now) for kind in _KINDS[what]]
    if what is Play.REPLAY:
        calls *= _REPLAYS
    answers = [
        _post(account_id, provider, call, forged=what is Play.WRONG_SIGNATURE, now=now) for call in calls
    ]
    return Played(len(answers), answers.count(receiving.Answer.REFUSED), _how_refused(provider))


def _how_refused(provider: str) -> HowRefused:
    adapter = ADAPTERS[provider]
    if adapter.is_verified_later:
        return HowRefused.BY_SIGNATURE_LATER
    return HowRefused.BY_SIGNATURE if adapter.verify else HowRefused.BY_ADDRESS


def _post(
    account_id: int, provider: str, call: PlayedCall, *, forged: bool, now: datetime
) -> receiving.Answer:
    if ADAPTERS[provider].is_verified_later and not forged:  # SNS: a right signature cannot be played
        reports = list(ADAPTERS[provider].read(Call(call.body, {}, "", now)))
        recording.record_events(account_id, provider, reports, now=now)
        db.session.commit()
        return receiving.Answer.OK
    if forged and _how_refused(provider) is HowRefused.BY_ADDRESS:
        is_known = hooks.find_by_secret(provider, new_token(), now=now) is not None
        return receiving.Answer.OK if is_known else receiving.Answer.REFUSED
    hook = hooks.find(account_id, provider)
    if hook is None:  # removed in another window
        raise CannotPlay("The hook was removed meanwhile.")
    body = call.body.replace(b'"timestamp": "', b'"timestamp": "1') if forged else call.body
    headers = {name: f"{value[:-4]}AAA=" for name, value in call.headers.items()} if forged else call.headers
    key = provider_events.key_of(provider)
    return receiving.receive(hook, receiving.Post(body, headers), now=now, played_key=key)
