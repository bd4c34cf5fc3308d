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
}
# No refusal that a reply explains: complaints, automatic answers, and what the reference parser could not tell.
NOT_COMPARED = frozenset({"feedback", "vacation", "delivered", "undefined", "onhold", ""})
# Reasons for which the recipient's address may be given up.
LASTING = frozenset(
    {"userunknown", "hostunknown", "hasmoved", "suspend", "notaccept", "filtered", "rejected", "norelaying"}
)
_COMMANDS = {"HELO": "EHLO", "CONN": "greeting", "STARTTLS": "TLS", "QUIT": "DATA", "": ""}


@dataclass(frozen=True)
class Comparison:
    """One row with what the diagnosis made of it."""

    reason: str
    diagnostic: str
    diagnosis: Diagnosis

    @property
    def agrees(self) -> bool:
        return self.diagnosis.kind in KINDS[self.reason]

    @property
    def wrongly_permanent(self) -> bool:
        """Whether the recipient would be given up although the reference does not say so."""
        return self.diagnosis.retry_class is RetryClass.RECIPIENT and self.reason not in LASTING


def compare(rows: Iterable[Mapping[str, object]]) -> list[Comparison]:
    """Return a comparison for each distinct reply with a reason that is compared."""
    compared: dict[tuple[str, str, str], Comparison] = {}
    for row in rows:
        reason, command, text = (str(row.get(key) or "") for key in ("reason", "command", "diagnostic"))
        if reason in NOT_COMPARED or not text.strip():
            continue
        stage = _COMMANDS.get(command, command)
        compared[reason, command, text] = Comparison(reason, text, explain_reply("", stage, text))
    return list(compared.values())


def main(path: str) -> None:
    """Print the agreement, and each row that differs."""
    with Path(path).open(encoding="utf-8") as file:
        found = compare(json.loads(line) for line in file)
    agreeing = sum(one.agrees for one in found)
    for one in found:
        if not one.agrees or one.wrongly_permanent:
            mark = "PERMANENT " if one.wrongly_permanent else ""
            diagnosis = one.diagnosis
            sys.stdout.write(
                f"{mark}{one.reason}: {diagnosis.kind} ({diagnosis.code}): {one.diagnostic[:300]!r}\n"
            )
    wrong = sum(one.wrongly_permanent for one in found)
    sys.stdout.write(
        f"{agreeing} of {len(found)} agree ({agreeing / len(found):.1%}); {wrong} wrongly permanent\n"
    )


if __name__ == "__main__":
    main(sys.argv[1])
