"""The messages of a storm: enqueued before it, or some of them while it lasts."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from portal.outbox.queue import NewMessage

if TYPE_CHECKING:
    from .instance import Instance
    from .storm import Plan

_PAUSE_S = 0.005  # between two messages that arrive during a storm
_RETRY_S = 0.1  # while the database is away
_FIRST = 0.5  # share of the messages that is enqueued before, if the others arrive during the storm


@dataclass
class Arrivals:
    """Enqueues the messages of a plan. ``enqueued`` is by key when the commit had returned."""

    plan: Plan
    portal: Instance
    accounts: list[int]
    enqueued: dict[str, float] = field(default_factory=dict)
    _thread: threading.Thread | None = None

    def enqueue(self) -> None:
        """Enqueue messages: all of a plan, or the first of them, and start a thread that enqueues the others."""
        new = list(messages(self.plan, self.accounts, len(self.enqueued)))
        first = int(len(new) * _FIRST) if self.plan.arriving else len(new)
        self._enqueue(new[:first])
        if first < len(new):
            self._thread = threading.Thread(
                target=self._arrive, args=(new[first:],), daemon=True, name="arrivals"
            )
            self._thread.start()

    @property
    def are_arriving(self) -> bool:
        """Whether further messages will be enqueued."""
        return self._thread is not None and self._thread.is_alive()

    def _arrive(self, new: list[tuple[int, NewMessage]]) -> None:
        for one in new:
            while not self._is_enqueued(one):
                time.sleep(_RETRY_S)
            time.sleep(_PAUSE_S)

    def _is_enqueued(self, one: tuple[int, NewMessage]) -> bool:
        """Enqueue a message; False while the database is away. One whose commit had an unknown result is known by its key."""
        try:
            self._enqueue([one])
        except SQLAlchemyError:
            return False
        return True

    def _enqueue(self, new: list[tuple[int, NewMessage]]) -> None:
        self.portal.enqueue(new)
        now = time.time()
        self.enqueued |= {message.key: now for _, message in new}


def messages(plan: Plan, accounts: list[int], first: int) -> Iterator[tuple[int, NewMessage]]:
    """Yield the messages, one account after the other: a few for each recipient, and some unknown recipients."""
    numbers = range(first, first + plan.messages)
    targets = itertools.cycle(zip(accounts, plan.behaviours, strict=True))
    for number, (account, behaviour) in zip(numbers, targets, strict=False):
        recipient = number // len(accounts) % max(1, plan.messages // len(accounts) // 4)
        unknown = behaviour == "refusing" and recipient % 10 == 3
        key = f"{account}-{number}"
        yield (
            account,
            NewMessage(
                kind="new-sign-up",
                key=key,
                recipient=f"{'gone' if unknown else 'affiliate'}-{recipient}@account-{account}.example",
                subject=f"Storm {key}",
                text=f"Hello,\n\nthis is message {key}.\n" + "This line fills the message.\n" * 20,
                html=f"<p>Hello, this is message {key}.</p>" + "<p>This line fills the message.</p>" * 20,
            ),
        )
