"""A stored diagnosis, reply or transcript in the words of the pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..smtp.failure import Stage
from ..smtp.protocol.reply import plain_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LABELS: Mapping[str, str] = {
    "detect": "Find port and encryption",
    Stage.RESOLVE: "Look up the name",
    Stage.CONNECT: "Connect",
    Stage.GREETING: "Greeting",
    Stage.EHLO: "Features",
    Stage.TLS: "TLS and certificate",
    Stage.AUTH: "Log in",
    Stage.MAIL: "Sender accepted",
    Stage.RCPT: "Recipient accepted",
    Stage.DATA: "Message accepted",
}
FIELD_LABELS: Mapping[str, str] = {
    "host": "SMTP Server",
    "port": "SMTP Port",
    "security": "Enable SSL",
    "username": "SMTP Username",
    "password": "SMTP Password",
    "mechanism": "SMTP Authentication",
    "domain": "Domain",
    "wrapped_user": "Affiliate Wrapped User",
    "ehlo_name": "Name said in the greeting",
}
MOVES: Mapping[str, str] = {
    "owner": "Yours",
    "provider": "Your provider’s",
    "network_operator": "Your network operator’s",
    "operator": "Ours: whoever runs this portal",
}
_REPLY_LIMIT = 600  # characters; what is stored is shorter


@dataclass(frozen=True)
class Trouble:
    """A diagnosis in the page's words."""

    cause: str
    move: str
    fixes: list[str]
    field: str
    field_label: str
    reply: str
    stage: str


def trouble(diagnosis: Mapping[str, Any] | None, rungs: Iterable[Mapping[str, Any]] = ()) -> Trouble | None:
    """Put a stored diagnosis into the page's words."""
    if not diagnosis:
        return None
    failed = next((rung for rung in rungs if rung["verdict"] == "failed"), None)
    field = str(diagnosis.get("field") or "")
    evidence = diagnosis.get("evidence") or {}
    return Trouble(
        cause=str(diagnosis["cause"]),
        move=MOVES.get(str(diagnosis.get("whose_move")), ""),
        fixes=[str(fix) for fix in diagnosis.get("fixes", ())],
        field=field if field in FIELD_LABELS else "",
        field_label=FIELD_LABELS.get(field, ""),
        reply=plain_text(str(evidence.get("reply", "")), _REPLY_LIMIT),
        stage=LABELS.get(failed["stage"], "") if failed else "",
    )


def reply_words(code: int | None, enhanced: str, text: str) -> str:
    """Return a server's reply as one line, cleaned once more: rows may be older than the cleaning."""
    return plain_text(" ".join(part for part in (str(code or ""), enhanced, text) if part), _REPLY_LIMIT)


def transcript_lines(text: str) -> list[tuple[str, str, str]]:
    """Split a stored transcript into (speaker, text, milliseconds)."""
    lines = []
    for line in text.splitlines():
        time, _, rest = line.partition(" ms  ")
        speaker, colon, words = rest.partition(": ")
        if colon and speaker in {"C", "S", "*"}:
            lines.append(("" if speaker == "*" else speaker, plain_text(words, _REPLY_LIMIT), time.strip()))
    return lines
