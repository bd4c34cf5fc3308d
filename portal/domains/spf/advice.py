"""SPF for a sending domain: may this provider send for it, and what should the record be?"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING

from ...smtp.providers import DnsFacts, EnvelopeDomain
from ..findings import Alignment, Finding, Mark, Published, Wanted, could_not_look, owners_move
from ..resolver import Asker, Status
from .evaluate import LOOK_UPS, Result, check_host, envelope
from .record import BadSpf, Qualifier, is_spf, parse
from .tree import Cover, Coverage, Tree, coverage, survey

if TYPE_CHECKING:
    from collections.abc import Sequence

_TITLE = "SPF"
_ENDINGS = ("-all", "~all", "?all", "all")
_IN_WORDS = {
    Result.FAIL: "receivers are told to refuse it",
    Result.SOFTFAIL: "receivers are told to distrust it",
    Result.NEUTRAL: "the record leaves it open",
    Result.NONE: "there is no record",
}


def look(
    asker: Asker, domain: str, provider: str, facts: DnsFacts, host: str
) -> tuple[Finding, Alignment, Tree]:
    """Return the finding about the record, the forecast for SPF, and the record as a tree."""
    tree = survey(asker, domain)
    if facts.envelope in (EnvelopeDomain.PROVIDER, EnvelopeDomain.SUBDOMAIN):
        return _not_asked(asker, tree, provider, facts), _elsewhere(asker, domain, provider, facts), tree
    wanted = facts.includes[0] if facts.includes else ""
    if finding := _unusable(asker, tree, provider, wanted):
        passes = None if finding.silent else False
        return finding, _own(domain, passes), tree
    if facts.envelope is EnvelopeDomain.UNKNOWN:
        return *_unknown_provider(asker, tree, host), tree
    return *_judge(tree, coverage(asker, tree, facts.includes), provider, wanted), tree


def _own(domain: str, passes: bool | None) -> Alignment:
    said = {
        True: f"The envelope carries {domain}, the domain in From: SPF passes and counts for DMARC.",
        False: f"The envelope carries {domain}, the domain in From, but its SPF does not let this mail pass.",
        None: f"The envelope carries {domain}, the domain in From. Whether SPF passes cannot be known from here.",
    }
    return Alignment("SPF", domain, passes, True, said[passes])


def _published(tree: Tree) -> tuple[Published, ...]:
    return tuple(Published(tree.domain, "TXT", text) for text in tree.records)


def _record(tree: Tree, include: str, how: str = "") -> tuple[Wanted, ...]:
    value = merged(tree.records, include)
    several = len(tree.records)
    if not how:
        how = "Put this in place of the record that is there." if several == 1 else "Add this TXT record."
    if several > 1:
        how = f"Put this in place of all {several} records; only one may be left."
    return () if tuple(tree.records) == (value,) else (Wanted(tree.domain, "TXT", value, how),)


def _unusable(asker: Asker, tree: Tree, provider: str, include: str) -> Finding | None:
    """Return what keeps receivers from using the record at all, if anything does."""
    domain, now = tree.domain, _published(tree)
    wanted = _record(tree, include) if include or tree.records else ()
    if tree.root is None:
        sentence = f"{domain} has no SPF record, so nothing says that {provider} may send for it."
        return Finding("spf", _TITLE, Mark.BAD, sentence, owners_move(domain), now, wanted)
    if tree.root.silent:
        return could_not_look("spf", _TITLE, asker.ask(domain, "TXT").status, domain)
    if len(tree.records) > 1:
        sentence = f"{domain} has {len(tree.records)} SPF records. Only one is allowed: receivers then ignore them all."
        return Finding("spf", _TITLE, Mark.BAD, sentence, owners_move(domain), now, wanted)
    if tree.trouble:
        return _broken(tree, now, wanted, include)
    if tree.silent and not tree.includes([include]):
        return could_not_look("spf", _TITLE, asker.ask(tree.silent, "TXT").status, tree.silent, now)
    return None


def _broken(tree: Tree, now: tuple[Published, ...], wanted: tuple[Wanted, ...], include: str) -> Finding:
    notes: tuple[str, ...] = ()
    if tree.look_ups > LOOK_UPS:
        notes = (
            "Take out what you no longer send with. The tree below shows how many look-ups each part costs.",
        )
        wanted = ()
    elif tree.root and not tree.root.trouble:  # in a record that somebody else publishes
        notes = ("Take the part out that leads there, or tell whoever publishes it.",)
        wanted = ()
    sentence = f"Receivers cannot use the SPF record. {tree.trouble}"
    return Finding("spf", _TITLE, Mark.BAD, sentence, owners_move(tree.domain), now, wanted, notes)


def _judge(tree: Tree, seen: Coverage, provider: str, include: str) -> tuple[Finding, Alignment]:
    domain, now = tree.domain, _published(tree)
    if seen.cover is Cover.YES:
        return _covered(tree, seen, provider, include), _own(domain, True)
    if seen.cover is Cover.UNKNOWN:
        if seen.by:
            return _finding(tree, Mark.GOOD, f"The record includes {seen.by}, {provider}’s own list."), _own(
                domain, True
            )
        sentence = f"We could not look: {provider}’s own list ({include}) could not be read just now."
        move = "Nobody’s yet. Check again in a few minutes."
        return Finding("spf", _TITLE, Mark.UNKNOWN, sentence, move, now, silent=True), _own(domain, None)
    words = _IN_WORDS.get(seen.result or Result.NEUTRAL, "receivers cannot tell")
    if seen.cover is Cover.PARTLY:
        sentence = f"The record lets some of {provider}’s servers send, but not all of them: for the others, {words}."
        mark = Mark.CARE
    else:
        sentence = f"The record does not name {provider}. When its servers send for {domain}, {words}."
        mark = Mark.BAD
    notes = _too_many(tree, include)
    finding = Finding("spf", _TITLE, mark, sentence, owners_move(domain), now, _record(tree, include), notes)
    return finding, _own(domain, False)


def _too_many(tree: Tree, include: str) -> tuple[str, ...]:
    if include and tree.look_ups >= LOOK_UPS:
        return (
            f"The record already takes {tree.look_ups} of {LOOK_UPS} look-ups. Take something out that you no longer use, "
            "or it breaks as soon as this is added.",
        )
    return ()


def _covered(tree: Tree, seen: Coverage, provider: str, include: str) -> Finding:
    how = f"it includes {seen.by}" if seen.by else f"it covers {provider}’s addresses"
    if tree.ending is Qualifier.PASS:
        sentence = (
            "The record ends in +all: it lets anybody in the world send as you, and receivers distrust it."
        )
        wanted = _record(tree, include)
        return replace(_finding(tree, Mark.CARE, sentence), move=owners_move(tree.domain), wanted=wanted)
    finding = _finding(tree, Mark.GOOD, f"The record lets {provider} send for {tree.domain}: {how}.")
    if tree.uses_ptr:
        note = "It uses ptr, which is slow and which some receivers ignore (RFC 7208 section 5.5). It is better taken out."
        return replace(finding, notes=(note,))
    return finding


def _finding(tree: Tree, mark: Mark, sentence: str) -> Finding:
    return Finding("spf", _TITLE, mark, sentence, now=_published(tree))


def _unknown_provider(asker: Asker, tree: Tree, host: str) -> tuple[Finding, Alignment]:
    """Nobody publishes from which addresses an unknown server sends on; its own address is a hint, no proof."""
    honest = (
        f"Mail servers often send from other addresses than the one that takes your mail, and {host or 'this server'} "
        "is of no provider that Signet knows. Only the people who run it can say what belongs into your SPF record.",
    )
    results = [
        check_host(asker, envelope(one, f"info@{tree.domain}", tree.domain))
        for one in _addresses(asker, host)
    ]
    if results and all(one is Result.PASS for one in results):
        sentence = f"The record lets {host} itself send. That is a good sign, not a proof."
        finding = Finding("spf", _TITLE, Mark.NOTE, sentence, now=_published(tree), notes=honest)
    else:
        sentence = (
            f"The record is in order, but it does not name {host or 'your server'}, as far as can be seen."
        )
        move = "Yours: ask whoever runs the server what to put into the SPF record."
        finding = Finding("spf", _TITLE, Mark.CARE, sentence, move, _published(tree), notes=honest)
    return finding, _own(tree.domain, None)


def _addresses(asker: Asker, host: str) -> list[str]:
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        return [*asker.ask(host, "A").records[:4]] if host else []


def _not_asked(asker: Asker, tree: Tree, provider: str, facts: DnsFacts) -> Finding:
    """The record of a domain that this provider's mail does not ask: it matters for the owner's other mail only."""
    if tree.root is not None and tree.root.silent:
        return could_not_look("spf", _TITLE, asker.ask(tree.domain, "TXT").status, tree.domain)
    why = f"{provider} sends with an envelope of its own, so receivers do not ask this record about its mail."
    if facts.envelope is EnvelopeDomain.SUBDOMAIN:
        why = f"{provider} sends with {facts.return_label}.{tree.domain} in the envelope, so receivers ask there."
    wrong = len(tree.records) > 1 or tree.trouble
    if not wrong:
        return _finding(tree, Mark.NOTE, f"{why} Nothing has to be added here.")
    sentence = f"{why} But it is broken for your other mail: {tree.trouble or 'there are several records.'}"
    several = _record(tree, "") if len(tree.records) > 1 else ()
    return replace(_finding(tree, Mark.CARE, sentence), move=owners_move(tree.domain), wanted=several)


def _elsewhere(asker: Asker, domain: str, provider: str, facts: DnsFacts) -> Alignment:
    if facts.envelope is EnvelopeDomain.PROVIDER:
        sentence = (
            f"SPF passes for {provider}’s own domain. For DMARC it counts only if you set up an envelope domain of "
            "your own there."
        )
        return Alignment("SPF", f"{provider}’s domain", True, False, sentence)
    below = f"{facts.return_label}.{domain}"
    there = return_path_is_set(asker, domain, facts)
    said = {
        True: f"The envelope carries {below}, which belongs to {domain}: SPF passes and counts for DMARC.",
        False: f"{below} is not set up, so {provider} uses an envelope of its own, which does not count for DMARC.",
        None: f"{below} could not be looked up just now.",
    }
    return Alignment("SPF", below, True if there is not None else None, there, said[there])


def return_path_is_set(asker: Asker, domain: str, facts: DnsFacts) -> bool | None:
    """Whether the subdomain for the envelope leads to the provider; None where it could not be looked up."""
    found = asker.ask(f"{facts.return_label}.{domain}", "TXT")
    if facts.return_record:
        target = facts.return_record.partition(" ")[2]
        if target in found.aliases:
            return True
        return False if found.looked else None
    if not found.looked:
        return None
    tree = survey(asker, f"{facts.return_label}.{domain}")
    return bool(tree.includes(facts.includes)) and not tree.trouble


def return_path(asker: Asker, domain: str, provider: str, facts: DnsFacts) -> Finding | None:
    """Return the finding about the envelope's own domain, where the provider knows such a thing."""
    title = "Return path"
    if facts.envelope is EnvelopeDomain.OWN or facts.envelope is EnvelopeDomain.UNKNOWN:
        return None
    if facts.envelope is EnvelopeDomain.PROVIDER:
        sentence = f"{provider} puts a domain of its own into the envelope unless you set one up there."
        if facts.return_path:
            sentence += f" To set one up: {facts.return_path}."
        note = "Not needed when DKIM is in order. Signet cannot see which name you chose."
        return Finding("return-path", title, Mark.NOTE, sentence, notes=(note,))
    name = f"{facts.return_label}.{domain}"
    there, found = return_path_is_set(asker, domain, facts), asker.ask(name, "TXT")
    if there is None:
        return could_not_look("return-path", title, found.status, name)
    now = tuple(Published(name, "CNAME", one) for one in found.aliases[:1])
    now += tuple(Published(name, "TXT", one) for one in found.records if is_spf(one))
    if there:
        return Finding(
            "return-path", title, Mark.GOOD, f"{name} leads to {provider}, so SPF counts for you.", now=now
        )
    sentence = f"{name} does not lead to {provider}, so SPF cannot count for {domain}."
    if found.status is Status.NO_NAME:
        sentence = f"{name} does not exist, so {provider} uses a domain of its own and SPF cannot count for {domain}."
    return Finding(
        "return-path",
        title,
        Mark.CARE,
        sentence,
        owners_move(domain),
        now,
        _return_records(name, provider, facts),
    )


def _return_records(name: str, provider: str, facts: DnsFacts) -> tuple[Wanted, ...]:
    if facts.return_record:
        kind, _, value = facts.return_record.partition(" ")
        return (Wanted(name, kind, value, "Add this record."),)
    spf = Wanted(name, "TXT", f"v=spf1 include:{facts.includes[0]} ~all", "Add this record.")
    return (spf, Wanted(name, "MX", "", f"{provider} shows you the value: it depends on your region."))


def merged(records: Sequence[str], include: str) -> str:
    """Return one record made of those there are, with ``include`` before whatever ends it.

    Terms that receivers cannot read are left out, and so is an ending that lets everybody in.
    """
    words: list[str] = []
    for record in records:
        readable = [word for word in record.split(" ")[1:] if word and _readable(word)]
        words += [word.removeprefix("+") for word in readable]  # a plus says nothing
    unique = list(dict.fromkeys(words))
    ending = _ending([word for word in unique if word.lower() in _ENDINGS])
    rest = [word for word in unique if word.lower() not in _ENDINGS]
    redirect = [word for word in rest if word.lower().startswith("redirect=")]
    others = [word for word in rest if "=" in word and word not in redirect]
    mechanisms = [word for word in rest if "=" not in word]
    if include and f"include:{include}" not in [word.lower() for word in mechanisms]:
        mechanisms.append(f"include:{include}")
    # A redirect counts for nothing beside an ending, and where there are several none could be chosen.
    last = redirect if len(redirect) == 1 and not ending else [ending or "~all"]
    return " ".join(["v=spf1", *mechanisms, *last, *others[:1]])


def _readable(word: str) -> bool:
    try:
        parse(f"v=spf1 {word}")
    except BadSpf:
        return False
    return word.isascii() and not is_spf(word)


def _ending(found: list[str]) -> str:
    lowered = [word.lower() for word in found]
    if not lowered:
        return ""
    if "-all" in lowered and len(lowered) == 1:
        return "-all"
    return "?all" if lowered == ["?all"] else "~all"
