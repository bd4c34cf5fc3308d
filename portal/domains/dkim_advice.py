"""DKIM for a sending domain: is there a key where the provider signs with one, and what should be published?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .dkim import Key, KeyState, look_at
from .findings import Alignment, Finding, Mark, Published, Wanted, could_not_look, owners_move

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..smtp.providers import DnsFacts, SigningKey
    from .resolver import Asker

_TITLE = "DKIM"


def look(
    asker: Asker, domain: str, provider: str, facts: DnsFacts, typed: Sequence[str]
) -> tuple[Finding, Alignment, list[Key]]:
    """Return the finding, the forecast for DKIM, and every key looked at."""
    selectors = list(dict.fromkeys([*(key.selector for key in facts.keys), *typed]))
    asker.ask_all((f"{one}._domainkey.{domain}", "TXT") for one in selectors)
    keys = [look_at(asker, domain, one) for one in selectors]
    finding = _judge(asker, domain, provider, facts, keys)
    return finding, _forecast(domain, provider, keys), keys


def _forecast(domain: str, provider: str, keys: list[Key]) -> Alignment:
    if any(key.usable for key in keys):
        sentence = f"{provider} can sign as {domain}, the domain in From: that counts for DMARC, also when mail is forwarded."
        return Alignment("DKIM", domain, True, True, sentence)
    if not keys or any(key.state is KeyState.UNKNOWN for key in keys):
        sentence = (
            f"Whether mail is signed as {domain} cannot be seen until the selector is known and looked up."
        )
        return Alignment("DKIM", domain, None, None, sentence)
    sentence = f"No usable key of {domain} was found, so a signature could not vouch for it."
    return Alignment("DKIM", domain, False, False, sentence)


def _judge(asker: Asker, domain: str, provider: str, facts: DnsFacts, keys: list[Key]) -> Finding:
    now = tuple(published for key in keys for published in _published(key))
    if not keys:
        return _nothing_known(domain, provider, facts)
    good = [key for key in keys if key.usable]
    if not good and any(key.state is KeyState.UNKNOWN for key in keys):
        name = next(key.name for key in keys if key.state is KeyState.UNKNOWN)
        return could_not_look("dkim", _TITLE, asker.ask(name, "TXT").status, name, now)
    notes = tuple(f"{key.selector}: {key.sentence}" for key in keys if key.state is not KeyState.MISSING)
    if good:
        return _key_found(domain, good, now, notes)
    return _no_key(domain, provider, facts, keys, now, notes)


def _key_found(domain: str, good: list[Key], now: tuple[Published, ...], notes: tuple[str, ...]) -> Finding:
    sentence = f"A key is published under {' and '.join(key.selector for key in good[:3])}."
    if all(key.state is KeyState.TESTING for key in good):
        move = f"{owners_move(domain)} Take t=y out of the key’s record."
        return Finding("dkim", _TITLE, Mark.CARE, f"{sentence} {good[0].sentence}", move, now, notes=notes)
    return Finding("dkim", _TITLE, Mark.GOOD, sentence, "", now, notes=notes)


def _no_key(
    domain: str,
    provider: str,
    facts: DnsFacts,
    keys: list[Key],
    now: tuple[Published, ...],
    notes: tuple[str, ...],
) -> Finding:
    names = ", ".join(key.selector for key in keys)
    worst = next((key for key in keys if key.state in (KeyState.REVOKED, KeyState.BROKEN)), None)
    if worst is not None:
        sentence = f"The key under {worst.selector} cannot be used. {worst.sentence}"
    else:
        sentence = f"No key is published where {provider} usually signs ({names})."
        if not all(key.target for key in facts.keys):
            notes += ("If your provider shows you another selector, enter it below.",)
    return Finding(
        "dkim", _TITLE, Mark.BAD, sentence, owners_move(domain), now, wanted(domain, provider, facts), notes
    )


def _nothing_known(domain: str, provider: str, facts: DnsFacts) -> Finding:
    sentence = (
        "DKIM keys cannot be listed: each stands under a name, the selector, that only your provider knows. "
        f"{provider} chooses one for each customer. Enter it below, and we look."
    )
    notes = (f"{provider} asks for {facts.dkim}.",) if facts.dkim else ()
    how = "Your provider shows you the name and the value."
    empty = (Wanted(f"…._domainkey.{domain}", "TXT or CNAME", "", how),)
    return Finding(
        "dkim",
        _TITLE,
        Mark.CARE,
        sentence,
        f"Yours: find the selector in {provider}’s panel.",
        (),
        empty,
        notes,
    )


def wanted(domain: str, provider: str, facts: DnsFacts) -> tuple[Wanted, ...]:
    """Return the records this provider signs with: every CNAME, or the first of several TXT names to choose from."""
    first = [key for key in facts.keys if key.record == "CNAME"] or list(facts.keys[:1])
    return tuple(_wanted(domain, provider, key) for key in first)


def _wanted(domain: str, provider: str, key: SigningKey) -> Wanted:
    name = f"{key.selector}._domainkey.{domain}"
    if key.target is None:
        return Wanted(name, key.record, "", f"{provider} shows you the value: it is yours alone.")
    value = key.target.replace("{domain}", domain).replace("{dashed}", domain.replace(".", "-"))
    return Wanted(name, key.record, value, "Add this record.")


def _published(key: Key) -> list[Published]:
    if key.aliases:
        return [Published(key.name, "CNAME", key.aliases[0])]
    return [Published(key.name, "TXT", key.text)] if key.text else []
