"""``flask keys``: prints which key seals how many rows, and rotates all of them to the first key of the keyring."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import audit
from ..db import db
from ..jobs import heartbeat
from ..operations import reseal
from ..operations.reseal import KINDS, KeyUsage, ResealCounts, SealedKind
from ..smtp.protocol.reply import plain_text
from ..state import vault

if TYPE_CHECKING:
    from datetime import datetime

DONE, NOT_DONE = 0, 1
Echo = Callable[[str], None]


def status(as_json: bool, echo: Echo) -> int:
    """Print how many rows are sealed under which key; return 0 if all of them can be decrypted, else 1."""
    found, ring = reseal.count_by_key(), vault().key_ids
    rows = {id_: found.get(id_, KeyUsage()) for id_ in (*ring, *sorted(set(found) - set(ring)))}
    if as_json:
        echo(json.dumps([_as_dict(id_, one, ring) for id_, one in rows.items()]))
    else:
        _print_table(rows, ring, echo)
        _print_next_steps(rows, ring, echo)
    return NOT_DONE if any(one.unreadable for one in rows.values()) else DONE


def rotate(*, batch: int, leave: bool, now: datetime, echo: Echo) -> int:
    """Seal all rows under the first key; return 0 if no row is left under another key.

    Changes nothing while a row cannot be decrypted, unless ``leave`` is set to skip such rows, or while a live
    worker does not have the first key, because it could not open what is sealed under it.
    """
    first = vault().key_ids[0]
    behind = [worker.name for worker in heartbeat.live_workers(now) if first not in worker.key_ids]
    db.session.rollback()
    if behind:
        echo(f"These workers do not know key {first} yet: {', '.join(behind)}. Restart the portal and them.")
        echo("Nothing was changed.")
        return NOT_DONE
    unreadable = {id_: one for id_, one in reseal.count_by_key(all_keys=False).items() if one.unreadable}
    for id_, one in unreadable.items():
        echo(_cannot_open(id_, one))
    if unreadable and not leave:
        echo("Nothing was changed. Put the right key back into the keyring, or leave these by --leave-shut.")
        return NOT_DONE
    audit.record_alone(audit.Activity.KEYS_ROTATED, None, after={"key": first})
    return _rotate(first, batch, echo)


def _rotate(first: str, batch: int, echo: Echo) -> int:
    *kinds, check = KINDS
    results = [_reseal(kind, batch, echo) for kind in kinds]
    if sum(reseal.count_remaining(kind) for kind in kinds) > sum(counts.unreadable for counts in results):
        echo(
            "Meanwhile something else was sealed under another key. Was the portal restarted? Run this again."
        )
        return NOT_DONE
    results.append(_reseal(check, batch, echo))
    if any(counts.unreadable for counts in results):
        echo(f"What opens is sealed under key {first} now; the rest is as it was.")
        return NOT_DONE
    others = " The other keys may leave the keyring." if len(vault().key_ids) > 1 else ""
    echo(f"Everything is sealed under key {first}.{others}")
    return DONE


def _reseal(kind: SealedKind, batch: int, echo: Echo) -> ResealCounts:
    count = reseal.count_remaining(kind)
    counts = reseal.reseal_rows(
        kind, batch=batch, on_progress=lambda so_far: echo(f"{kind.name}: {so_far.resealed} of {count}")
    )
    rest = f", {counts.unreadable} left as they were" if counts.unreadable else ""
    echo(f"{kind.name}: {counts.resealed} sealed anew{rest}")
    return counts


def _as_dict(id_: str, one: KeyUsage, ring: tuple[str, ...]) -> dict[str, object]:
    rows = {kind.name: one.rows[kind.name] for kind in KINDS}
    return {"key": id_, "role": _role(id_, ring), "rows": rows, "do_not_open": one.unreadable}


def _role(id_: str, ring: tuple[str, ...]) -> str:
    if id_ not in ring:
        return "missing"
    return "seals" if id_ == ring[0] else "opens"


def _print_table(rows: dict[str, KeyUsage], ring: tuple[str, ...], echo: Echo) -> None:
    headings = ["key", "role", *(kind.name for kind in KINDS), "do not open"]
    table = [headings]
    for id_, one in rows.items():
        counts = [*(one.rows[kind.name] for kind in KINDS), one.unreadable]
        table.append([plain_text(id_), _role(id_, ring), *map(str, counts)])
    widths = [max(len(line[at]) for line in table) for at in range(len(headings))]
    for line in table:
        echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _print_next_steps(rows: dict[str, KeyUsage], ring: tuple[str, ...], echo: Echo) -> None:
    """Print what the operator may or must do next."""
    first, *others = ring
    if any(one.rows for id_, one in rows.items() if id_ != first):
        echo(f"\n`flask keys rotate` seals everything under key {first}.")
    for id_ in others:
        if not rows[id_].rows:
            echo(f"\nKey {id_} seals nothing any more: it may leave the keyring.")
    for id_, one in rows.items():
        if one.unreadable:
            echo(f"\n{_cannot_open(id_, one)}")


def _cannot_open(id_: str, one: KeyUsage) -> str:
    many = "1 row" if one.unreadable == 1 else f"{one.unreadable} rows"
    if id_ == reseal.UNREADABLE:
        return f"{many}: not a sealed secret at all."
    if id_ not in vault().key_ids:
        return f"{many}: sealed under key {plain_text(id_)}, which is not in the keyring."
    return f"{many}: sealed under key {id_}, but the key of that id in the keyring does not open them."
