"""Whether a domain exists and can receive: MX, null MX (RFC 7505), and the address it falls back to (RFC 5321)."""

from __future__ import annotations

from .findings import Finding, Mark, Published, could_not_look, owners_move
from .resolver import Asker, Found, Status


def look(asker: Asker, domain: str) -> tuple[Finding, bool]:
    """Return the finding, and whether receivers refuse mail from a domain such as this."""
    mx = asker.ask(domain, "MX")
    addresses = [asker.ask(domain, kind) for kind in ("A", "AAAA")]
    if not mx.looked:
        return could_not_look("mx", "Receiving", mx.status, domain), False
    if mx.records:
        return _exchangers(asker, mx, domain)
    if any(one.records for one in addresses):
        sentence = f"{domain} has no MX record, so replies and bounces go to its web address, if anything listens there."
        return _finding(domain, Mark.CARE, sentence, owners_move(domain)), False
    if not all(one.looked for one in addresses):
        return could_not_look("mx", "Receiving", mx.status, domain), False
    if all(one.status is Status.NO_NAME for one in (mx, *addresses)):
        sentence = (
            f"{domain} does not exist in the DNS. Receivers refuse mail from domains that do not exist."
        )
        return _finding(
            domain, Mark.BAD, sentence, f"{owners_move(domain)} Is the name spelled right, and paid for?"
        ), True
    sentence = f"{domain} has neither an MX record nor an address, so it cannot receive, and many receivers refuse its mail."
    return _finding(domain, Mark.BAD, sentence, owners_move(domain)), True


def _exchangers(asker: Asker, mx: Found, domain: str) -> tuple[Finding, bool]:
    hosts = [record.partition(" ")[2] for record in sorted(mx.records, key=_preference)]
    now = tuple(Published(domain, "MX", record) for record in mx.records)
    if hosts == ["."]:
        sentence = (
            f"{domain} says that it takes no mail at all (a null MX). Receivers refuse mail from addresses "
            "that cannot be answered."
        )
        move = f"{owners_move(domain)} Remove the record “0 .” and put your mail server’s MX in its place."
        return _finding(domain, Mark.BAD, sentence, move, now), True
    asker.ask_all((host, kind) for host in hosts[:3] for kind in ("A", "AAAA"))
    found = [[asker.ask(host, kind) for kind in ("A", "AAAA")] for host in hosts[:3] if host != "."]
    dead = [pair[0].name for pair in found if all(one.void for one in pair)]
    if found and len(dead) == len(found) and len(hosts) <= 3:
        sentence = (
            f"The MX record names {', '.join(dead)}, which has no address. Nothing can be delivered there."
        )
        return _finding(domain, Mark.CARE, sentence, owners_move(domain), now), False
    return _finding(domain, Mark.GOOD, f"{domain} exists and receives mail.", now=now), False


def _preference(record: str) -> int:
    number = record.partition(" ")[0]
    return int(number) if number.isdigit() else 0


def _finding(
    domain: str, mark: Mark, sentence: str, move: str = "", now: tuple[Published, ...] = ()
) -> Finding:
    return Finding("mx", "Receiving", mark, sentence, move, now)
