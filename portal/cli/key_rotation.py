"""``flask keys``: tell what is sealed under which key, and rotate to the first key of the ring."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..db import db
from ..jobs import heartbeat
from ..operations import reseal
from ..operations.reseal import KINDS, Kind, Sealed, Tally
from ..smtp.protocol.reply import plain_text
from ..state import vault

if TYPE_CHECKING:
    from datetime import datetime

DONE, NOT_DONE = 0, 1
Say = Callable[[str], None]


def status(as_json: bool, say: Say) -> int:
    """Tell how many rows are sealed under which key; return 0 if all of them open, else 1."""
    found, ring = reseal.census(), vault().key_ids
    rows = {ident: found.get(ident, Sealed()) for ident in (*ring, *sorted(set(found) - set(ring)))}
    if as_json:
        say(json.dumps([_as_dict(ident, one, ring) for ident, one in rows.items()]))
    else:
        _tell_table(rows, ring, say)
        _tell_next(rows, ring, say)
    return NOT_DONE if any(one.broken for one in rows.values()) else DONE


def rotate(*, batch: int, leave: bool, now: datetime, say: Say) -> int:
    """Seal everything under the first key; return 0 when nothing is sealed under another one.

    Nothing is changed while something could be lost by it: a row that does not open, unless ``leave``
    says to leave such rows alone, or a worker that does not know the first key.
    """
    first = vault().key_ids[0]
    behind = [worker.name for worker in heartbeat.live_workers(now) if first not in worker.key_ids]
    db.session.rollback()
    if behind:
        say(f"These workers do not know key {first} yet: {', '.join(behind)}. Restart the portal and them.")
        say("Nothing was changed.")
        return NOT_DONE
    shut = {ident: one for ident, one in reseal.census(all_keys=False).items() if one.broken}
    for ident, one in shut.items():
        say(_cannot_open(ident, one))
    if shut and not leave:
        say("Nothing was changed. Put the right key back into the keyring, or leave these by --leave-shut.")
        return NOT_DONE
    return _rotate(first, batch, say)


def _rotate(first: str, batch: int, say: Say) -> int:
    *things, check = KINDS
    tallies = [_reseal(kind, batch, say) for kind in things]
    if sum(reseal.left(kind) for kind in things) > sum(tally.broken for tally in tallies):
        say(
            "Meanwhile something else was sealed under another key. Was the portal restarted? Run this again."
        )
        return NOT_DONE
    tallies.append(_reseal(check, batch, say))
    if any(tally.broken for tally in tallies):
        say(f"What opens is sealed under key {first} now; the rest is as it was.")
        return NOT_DONE
    others = " The other keys may leave the keyring." if len(vault().key_ids) > 1 else ""
    say(f"Everything is sealed under key {first}.{others}")
    return DONE


def _reseal(kind: Kind, batch: int, say: Say) -> Tally:
    count = reseal.left(kind)
    tally = reseal.reseal(
        kind, batch=batch, told=lambda so_far: say(f"{kind.name}: {so_far.done} of {count}")
    )
    rest = f", {tally.broken} left as they were" if tally.broken else ""
    say(f"{kind.name}: {tally.done} sealed anew{rest}")
    return tally


def _as_dict(ident: str, one: Sealed, ring: tuple[str, ...]) -> dict[str, object]:
    rows = {kind.name: one.rows[kind.name] for kind in KINDS}
    return {"key": ident, "role": _role(ident, ring), "rows": rows, "do_not_open": one.broken}


def _role(ident: str, ring: tuple[str, ...]) -> str:
    if ident not in ring:
        return "missing"
    return "seals" if ident == ring[0] else "opens"


def _tell_table(rows: dict[str, Sealed], ring: tuple[str, ...], say: Say) -> None:
    heads = ["key", "role", *(kind.name for kind in KINDS), "do not open"]
    table = [heads]
    for ident, one in rows.items():
        counts = [*(one.rows[kind.name] for kind in KINDS), one.broken]
        table.append([plain_text(ident), _role(ident, ring), *map(str, counts)])
    widths = [max(len(line[at]) for line in table) for at in range(len(heads))]
    for line in table:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _tell_next(rows: dict[str, Sealed], ring: tuple[str, ...], say: Say) -> None:
    """Say what the operator may or must do."""
    first, *others = ring
    if any(one.rows for ident, one in rows.items() if ident != first):
        say(f"\n`flask keys rotate` seals everything under key {first}.")
    for ident in others:
        if not rows[ident].rows:
            say(f"\nKey {ident} seals nothing any more: it may leave the keyring.")
    for ident, one in rows.items():
        if one.broken:
            say(f"\n{_cannot_open(ident, one)}")


def _cannot_open(ident: str, one: Sealed) -> str:
    many = "1 row" if one.broken == 1 else f"{one.broken} rows"
    if ident == reseal.UNREADABLE:
        return f"{many}: not a sealed secret at all."
    if ident not in vault().key_ids:
        return f"{many}: sealed under key {plain_text(ident)}, which is not in the keyring."
    return f"{many}: sealed under key {ident}, but the key of that id in the keyring does not open them."
