"""How often the parser of bounces agrees with a reference parser: ``python -m tests.bounces.agreement LABELS FOLDER``.

LABELS holds one JSON object a line: ``file`` (a mail in FOLDER), ``recipient``, ``reason`` (a reason of Sisimai,
https://libsisimai.org/en/reason/), or no reason where the reference found no report. Sisimai's reasons are finer than our
outcomes, so each is mapped to the outcomes that mean it. Some allow several: Sisimai calls an unknown mailbox *filtered* if
the server refused after DATA, and it has no reason of its own for a delay.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from portal.bounces.parsing.model import BounceClass, MailReport, RecipientReport
from portal.bounces.parsing.read import read_report

OUTCOMES: Mapping[str, frozenset[BounceClass]] = {
    # the address
    "userunknown": frozenset({BounceClass.HARD}),
    "hostunknown": frozenset({BounceClass.HARD}),
    "hasmoved": frozenset({BounceClass.HARD}),
    "notaccept": frozenset(
        {BounceClass.HARD, BounceClass.SOFT, BounceClass.DELAYED}
    ),  # null MX, also with a code that may pass
    "filtered": frozenset(
        {BounceClass.HARD, BounceClass.SOFT, BounceClass.BLOCKED}
    ),  # an unknown mailbox after DATA, or a rule of the recipient
    "suppressed": frozenset({BounceClass.HARD, BounceClass.BLOCKED}),
    "suspend": frozenset({BounceClass.SOFT, BounceClass.HARD}),  # disabled: by some servers' words unknown
    "mailboxfull": frozenset({BounceClass.SOFT, BounceClass.DELAYED}),
    # time, servers and networks
    "expired": frozenset({BounceClass.SOFT, BounceClass.DELAYED}),
    "networkerror": frozenset({BounceClass.SOFT, BounceClass.DELAYED}),
    "systemerror": frozenset({BounceClass.SOFT, BounceClass.DELAYED}),
    "systemfull": frozenset({BounceClass.SOFT, BounceClass.DELAYED}),
    "mailererror": frozenset({BounceClass.SOFT, BounceClass.DELAYED}),
    "toomanyconn": frozenset(
        {BounceClass.SOFT, BounceClass.DELAYED, BounceClass.BLOCKED}
    ),  # a limit of connections or of reputation
    "speeding": frozenset({BounceClass.SOFT, BounceClass.DELAYED, BounceClass.BLOCKED}),
    "ratelimited": frozenset({BounceClass.SOFT, BounceClass.DELAYED, BounceClass.BLOCKED}),
    # the message
    "mesgtoobig": frozenset({BounceClass.SOFT}),
    "exceedlimit": frozenset({BounceClass.SOFT}),
    "emailtoolarge": frozenset({BounceClass.SOFT}),
    "contenterror": frozenset({BounceClass.BLOCKED, BounceClass.SOFT}),
    "spamdetected": frozenset({BounceClass.BLOCKED}),
    "virusdetected": frozenset({BounceClass.BLOCKED}),
    "notcompliantrfc": frozenset({BounceClass.BLOCKED}),
    # the sender and its servers
    "blocked": frozenset({BounceClass.BLOCKED, BounceClass.DELAYED}),
    "badreputation": frozenset({BounceClass.BLOCKED, BounceClass.DELAYED}),
    "requireptr": frozenset({BounceClass.BLOCKED, BounceClass.DELAYED}),
    "authfailure": frozenset({BounceClass.BLOCKED, BounceClass.DELAYED}),
    "policyviolation": frozenset({BounceClass.BLOCKED}),
    "rejected": frozenset({BounceClass.BLOCKED}),
    "norelaying": frozenset({BounceClass.BLOCKED, BounceClass.SOFT}),
    "securityerror": frozenset({BounceClass.BLOCKED, BounceClass.SOFT}),
    "failedstarttls": frozenset({BounceClass.BLOCKED, BounceClass.SOFT}),
    "syntaxerror": frozenset({BounceClass.SOFT, BounceClass.BLOCKED}),
    # what the reference could not tell
    "onhold": frozenset({BounceClass.SOFT, BounceClass.BLOCKED, BounceClass.DELAYED}),
    "undefined": frozenset({BounceClass.SOFT, BounceClass.BLOCKED, BounceClass.DELAYED}),
    # no bounces
    "feedback": frozenset({BounceClass.COMPLAINT, BounceClass.UNSUBSCRIBED}),
    "vacation": frozenset({BounceClass.AUTO_REPLY}),
    "delivered": frozenset({BounceClass.DELIVERED}),
}
_WITHHELD = (
    "undisclosed-recipient-in-headers@"  # the reference's word for a recipient that a complaint does not name
)


@dataclass(frozen=True)
class Comparison:
    """One labelled recipient with what the parser found for it; ``finding`` is None if it did not find the recipient."""

    file: str
    reason: str
    recipient: str
    finding: RecipientReport | None

    @property
    def agrees(self) -> bool:
        return self.finding is not None and self.finding.outcome in OUTCOMES[self.reason]


def compare(labels: Iterable[Mapping[str, object]], reports: Mapping[str, MailReport]) -> list[Comparison]:
    """Return a comparison for each label that names a reason."""
    compared = []
    for label in labels:
        if not label.get("reason"):
            continue
        recipient = str(label.get("recipient") or "")
        wanted = "" if recipient.startswith(_WITHHELD) else recipient.casefold()
        found = [one for one in reports[str(label["file"])].findings if one.recipient.casefold() == wanted]
        reason = str(label["reason"])
        fitting = next((one for one in found if one.outcome in OUTCOMES[reason]), None)
        compared.append(Comparison(str(label["file"]), reason, recipient, fitting or next(iter(found), None)))
    return compared


def main(labels_file: str, folder: str) -> None:
    """Print the agreement, and each row that differs."""
    labels = [
        json.loads(line) for line in Path(labels_file).read_text(encoding="utf-8").rstrip("\n").split("\n")
    ]
    reports = {
        name: read_report((Path(folder) / name).read_bytes()) for name in {one["file"] for one in labels}
    }
    compared = compare(labels, reports)
    agreeing = sum(one.agrees for one in compared)
    for one in compared:
        if not one.agrees:
            others = [(found.outcome.value, found.recipient) for found in reports[one.file].findings]
            sys.stdout.write(f"{one.file}: {one.reason} {one.recipient}: {one.finding or others}\n")
    labelled = defaultdict(set)
    for one in compared:
        labelled[one.file].add(one.recipient.casefold())
    extra = [
        (name, found)
        for name, report in sorted(reports.items())
        for found in report.findings
        if found.outcome in {BounceClass.HARD, BounceClass.SOFT, BounceClass.BLOCKED, BounceClass.COMPLAINT}
        and found.recipient.casefold() not in labelled[name]
    ]
    for name, found in extra:
        sys.stdout.write(f"without label: {name}: {found}\n")
    hard = [one for one in compared if one.finding and one.finding.outcome is BounceClass.HARD]
    right = sum(one.agrees for one in hard)
    outcomes = Counter(one.finding.outcome.value if one.finding else "missing" for one in compared)
    sys.stdout.write(
        f"{agreeing} of {len(compared)} agree ({agreeing / len(compared):.1%}); hard: {right} of {len(hard)} rightly; "
        f"{dict(outcomes)}; {len(extra)} without label\n"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
