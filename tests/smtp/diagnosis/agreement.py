"""How often the diagnosis agrees with a reference parser of bounces: ``python -m tests.smtp.diagnosis.agreement FILE``.

FILE holds one JSON object a line: ``reason`` (a reason of Sisimai, https://libsisimai.org/en/reason/), ``command`` (the SMTP
command that was refused, or empty) and ``diagnostic`` (the reply, mostly within the words of a bounce). Sisimai's reasons
are coarser than our kinds in some places and finer in others, so each reason is mapped to the kinds that mean it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from portal.smtp.diagnosis.diagnose import Diagnosis, DiagnosisKind, RetryClass
from portal.smtp.diagnosis.explain_cli import explain_reply

K = DiagnosisKind
KINDS: Mapping[str, frozenset[DiagnosisKind]] = {
    # the recipient
    "userunknown": frozenset({K.RECIPIENT}),
    "hostunknown": frozenset({K.RECIPIENT}),
    "hasmoved": frozenset({K.RECIPIENT}),
    "suspend": frozenset({K.RECIPIENT}),
    "mailboxfull": frozenset({K.RECIPIENT}),
    "notaccept": frozenset({K.RECIPIENT, K.NOT_SMTP}),
    "filtered": frozenset({K.RECIPIENT, K.CONTENT}),  # refused by a rule of the recipient
    "mailererror": frozenset({K.RECIPIENT, K.SERVER_FAULT}),  # the recipient's own program failed
    # the sender, its domain, and the address it sends from
    "rejected": frozenset(
        {K.SENDER_IDENTITY, K.DOMAIN, K.RECIPIENT, K.NETWORK}
    ),  # by the address of the sender
    "norelaying": frozenset({K.SENDER_IDENTITY, K.LOGIN_REQUIRED}),
    "securityerror": frozenset({K.LOGIN_REQUIRED, K.SENDER_IDENTITY, K.RECIPIENT, K.CONTENT}),
    "blocked": frozenset(
        {K.NETWORK, K.DOMAIN, K.EHLO_NAME, K.RATE, K.SERVER_FAULT}
    ),  # address, name, SPF, DMARC, greeting
    "policyviolation": frozenset({K.CONTENT, K.DOMAIN, K.NETWORK, K.SENDER_IDENTITY}),
    # the message
    "spamdetected": frozenset({K.CONTENT}),
    "virusdetected": frozenset({K.CONTENT}),
    "contenterror": frozenset({K.CONTENT}),
    "mesgtoobig": frozenset({K.CONTENT}),
    "exceedlimit": frozenset({K.CONTENT}),
    # time, servers and networks
    "toomanyconn": frozenset({K.RATE}),
    "expired": frozenset({K.NETWORK, K.SERVER_FAULT, K.RECIPIENT}),
    "networkerror": frozenset(
        {K.NETWORK, K.SERVER_FAULT, K.RECIPIENT, K.CONTENT}
    ),  # also unknown names, and loops
    "systemerror": frozenset({K.SERVER_FAULT, K.RECIPIENT, K.CONTENT}),
    "syntaxerror": frozenset({K.PROTOCOL}),
    # no refusals: complaints and automatic replies
    "feedback": frozenset({K.RECIPIENT}),
    "vacation": frozenset({K.RECIPIENT}),
    # what the reference parser could not tell: trouble that may pass, of the server, the network or the recipient
    "onhold": frozenset({K.SERVER_FAULT, K.NETWORK, K.RECIPIENT}),
    "undefined": frozenset({K.SERVER_FAULT, K.NETWORK, K.RECIPIENT}),
}
NOT_COMPARED = frozenset({"delivered", ""})  # no failure, or no reason
# Reasons for which the recipient's address may be given up.
LASTING = frozenset(
    {
        "userunknown",
        "hostunknown",
        "hasmoved",
        "suspend",
        "notaccept",
        "filtered",
        "rejected",
        "norelaying",
        "feedback",
    }
)
_COMMANDS = {"HELO": "EHLO", "CONN": "greeting", "STARTTLS": "TLS", "QUIT": "DATA", "": ""}


@dataclass(frozen=True)
class Comparison:
    """One row with what the diagnosis made of it."""

    reason: str
    diagnostic: str
    diagnosis: Diagnosis | None  # None: there is no text to explain

    @property
    def agrees(self) -> bool:
        return self.diagnosis is not None and self.diagnosis.kind in KINDS[self.reason]

    @property
    def wrongly_permanent(self) -> bool:
        """Whether the recipient would be given up although the reference does not state a lasting reason."""
        lasts = self.diagnosis is not None and self.diagnosis.retry_class is RetryClass.RECIPIENT
        return lasts and self.reason not in LASTING

    def __str__(self) -> str:
        mark = "PERMANENT " if self.wrongly_permanent else ""
        found = f"{self.diagnosis.kind} ({self.diagnosis.code})" if self.diagnosis else "nothing to explain"
        return f"{mark}{self.reason}: {found}: {self.diagnostic[:300]!r}"


def compare(rows: Iterable[Mapping[str, object]]) -> list[Comparison]:
    """Return a comparison for each row with a reason. Rows without a text count, and agree with nothing."""
    compared = []
    for row in rows:
        reason, command, text = (str(row.get(key) or "") for key in ("reason", "command", "diagnostic"))
        if reason in NOT_COMPARED:
            continue
        stage = _COMMANDS.get(command, command)
        diagnosis = explain_reply("", stage, text) if text.strip() else None
        compared.append(Comparison(reason, text, diagnosis))
    return compared


def main(path: str) -> None:
    """Print the agreement, and each row that differs."""
    with Path(path).open(encoding="utf-8") as file:
        found = compare(json.loads(line) for line in file)
    agreeing = sum(one.agrees for one in found)
    for one in found:
        if not one.agrees or one.wrongly_permanent:
            sys.stdout.write(f"{one}\n")
    wrong = sum(one.wrongly_permanent for one in found)
    sys.stdout.write(
        f"{agreeing} of {len(found)} agree ({agreeing / len(found):.1%}); {wrong} wrongly permanent\n"
    )


if __name__ == "__main__":
    main(sys.argv[1])
