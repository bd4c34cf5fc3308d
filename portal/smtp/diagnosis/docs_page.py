"""Generates docs/diagnoses.md: ``python -m portal.smtp.diagnosis.docs_page > docs/diagnoses.md``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ..failure import Reason
from ..providers import load_catalogue
from .cases import Case, DiagnosisKind, Move, load_cases

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HEAD = """# Why doesn't it work? Every diagnosis

This page is generated from the table that the portal uses (`portal/smtp/diagnosis/cases/` and the providers'
cards); do not edit it. For each failure, the portal shows exactly one of these causes, who has to act, and
what to do, the preferred fix first.

The cases are tried from top to bottom, a provider's own before the general ones: first by the words of the reply, because
many servers send a code that does not fit, then by the enhanced status code (RFC 3463), then by the reply code and
the stage, then by the class of the code. Words stand for concepts, which `concepts.toml` lists in many languages.
Microsoft's codes with details of three digits come before the words, because each has one meaning. Where the reply code,
the enhanced code or the words ask for another try, no general case gives up the message; and no general case holds the
account after a 4xx reply whose words ask for another try.
Errors of OAuth token endpoints are recognised by Microsoft's AADSTS number or by words
where there is a case for them, else by `error`; all of them that are final have the class **settings**.

What the outbox does: **settings** holds the account's mail until the settings are corrected;
**recipient** and **message** give up this one message; **later** tries this message again; **server**
waits before it tries the account's mail again; **rate** sends the account's mail more slowly.

Two rules: a block list that names the IP address of this portal is *network*, and the portal's operator has to act,
because no field of the form corrects it; one that names the sending domain is *domain*. A refused log-in at a provider
that accepts only app passwords is *credentials*, which is what the server reported; its fix is the app password.
"""

_MOVE_LABELS = {
    Move.OWNER: "you",
    Move.PROVIDER: "the provider",
    Move.NETWORK_OPERATOR: "the network's operator",
    Move.OPERATOR: "the portal's operator",
}


def _conditions(case: Case) -> str:
    """Return the conditions of a case as short text."""
    parts: list[str] = []
    if case.reasons != (Reason.REPLIED,):
        parts.append(" or ".join(case.reasons))
    if case.stages:
        parts.append("at " + ", ".join(case.stages))
    if case.reply_codes:
        parts.append("code " + ", ".join(code.ljust(3, "x") for code in case.reply_codes))
    if case.enhanced_codes:
        parts.append(", ".join(code.replace("*", "X") for code in case.enhanced_codes))
    if case.concepts:
        parts.append("the concepts " + " or ".join(" + ".join(group) for group in case.concepts))
    if case.phrases:
        parts.append("the words " + " or ".join(f"“{phrase}”" for phrase in case.phrases))
    if case.evidence:
        parts.append("the facts " + " or ".join(case.evidence))
    if case.numbers:
        parts.append("AADSTS" + ", ".join(case.numbers))
    if case.clues:
        parts.append("with " + ", ".join(case.clues))
    return "; ".join(parts) or "anything else"


def _entry(case: Case) -> Iterator[str]:
    yield f"### {case.code}"
    yield ""
    yield f"*{case.kind} · who acts: {_MOVE_LABELS[case.move]} · {case.retry} · field: {case.field or 'none'}*"
    yield ""
    yield f"{case.cause} **{case.fixes[0]}**" + "".join(f" {fix}" for fix in case.fixes[1:])
    yield ""
    yield f"Recognised by: {_conditions(case)}"
    yield ""


def _section(title: str, cases: Iterable[Case]) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    for case in cases:
        yield from _entry(case)


def render_page() -> str:
    """Return the page as Markdown."""
    lines = [_HEAD]
    kinds = ", ".join(f"{kind}" for kind in DiagnosisKind)
    lines += [f"Kinds: {kinds}.", ""]
    for provider in load_catalogue():
        if provider.cases:
            lines += _section(provider.name, provider.cases)
    lines += _section("Every server", load_cases())
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(render_page())
