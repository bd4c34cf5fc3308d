"""Labels of statuses, outcomes, stages, settings fields and moves, for pages, alerts and commands.

Each label is defined once. Labels of values that only one room uses are in that room.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..outbox.models import Outcome, Status
from ..smtp.failure import Stage
from ..smtp.protocol.reply import plain_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# The tag of a message. "Accepted", not "Sent": acceptance by a server does not prove delivery to a mailbox.
STATUS_LABELS: Mapping[Status, str] = {
    Status.QUEUED: "Waiting",
    Status.SENDING: "Being sent",
    Status.SENT: "Accepted",
    Status.HELD: "On hold",
    Status.FAILED: "Failed",
    Status.SUPPRESSED: "Suppressed",
    Status.CANCELLED: "Cancelled",
}
# The tag of a delivery attempt: its CSS modifier and its text.
OUTCOME_TAGS: Mapping[Outcome, tuple[str, str]] = {
    Outcome.STARTED: ("sending", "Under way"),
    Outcome.ACCEPTED: ("sent", "Accepted"),
    Outcome.DEFERRED: ("deferred", "Not now"),
    Outcome.REJECTED: ("rejected", "Refused"),
    Outcome.HELD: ("held", "Stopped by the settings"),
    Outcome.INTERRUPTED: ("ambiguous", "Interrupted"),
}
# The stages of a settings check, each named after what it tests.
STAGE_LABELS: Mapping[str, str] = {
    "detect": "Find port and encryption",
    Stage.CONSENT: "Consent",
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
# How far a delivery attempt came, worded so that it suits success and failure.
STAGE_PROGRESS_LABELS: Mapping[str, str] = {
    Stage.CONSENT: "Renewing the permission to log in",
    Stage.RESOLVE: "Looking up the server’s name",
    Stage.CONNECT: "Connecting",
    Stage.GREETING: "Waiting for the greeting",
    Stage.EHLO: "Asking for features",
    Stage.TLS: "Encryption and certificate",
    Stage.AUTH: "Logging in",
    Stage.MAIL: "Naming the sender",
    Stage.RCPT: "Naming the recipient",
    Stage.DATA: "Handing the message over",
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
    "ehlo_name": "EHLO name",
}
# Who has to act, by ``smtp.diagnosis.cases.Move``: on a page, and in an alert's line "Whose move: ...".
MOVE_LABELS: Mapping[str, str] = {
    "owner": "Yours",
    "provider": "Your provider’s",
    "network_operator": "Your network operator’s",
    "operator": "The portal operator’s",
}
MOVE_LABELS_IN_ALERTS: Mapping[str, str] = {
    "owner": "yours",
    "provider": "your provider’s",
    "network_operator": "Your network operator’s",
    "operator": "the portal operator’s",
}
_REPLY_LIMIT_CHARS = 600  # stored replies are shorter


@dataclass(frozen=True)
class DiagnosisView:
    """A stored diagnosis as ``components/diagnosis.html`` shows it."""

    cause: str
    move: str
    fixes: list[str]
    field: str
    field_label: str
    reply: str
    stage: str


def diagnosis_view(
    diagnosis: Mapping[str, Any] | None, stage_results: Iterable[Mapping[str, Any]] = ()
) -> DiagnosisView | None:
    """Return the view of a stored diagnosis, with the failed stage of the check, if any."""
    if not diagnosis:
        return None
    failed = next((result for result in stage_results if result["verdict"] == "failed"), None)
    field = str(diagnosis.get("field") or "")
    evidence = diagnosis.get("evidence") or {}
    return DiagnosisView(
        cause=str(diagnosis["cause"]),
        move=MOVE_LABELS.get(str(diagnosis.get("whose_move")), ""),
        fixes=[str(fix) for fix in diagnosis.get("fixes", ())],
        field=field if field in FIELD_LABELS else "",
        field_label=FIELD_LABELS.get(field, ""),
        reply=plain_text(str(evidence.get("reply", "")), _REPLY_LIMIT_CHARS),
        stage=STAGE_LABELS.get(failed["stage"], "") if failed else "",
    )


def reply_line(code: int | None, enhanced: str, text: str) -> str:
    """Return a server's reply as one line. Control characters are removed, because old rows may contain them."""
    return plain_text(
        " ".join(part for part in (str(code or ""), enhanced, text) if part), _REPLY_LIMIT_CHARS
    )


def transcript_lines(text: str) -> list[tuple[str, str, str]]:
    """Split a stored transcript into (speaker, text, milliseconds); the speaker of a remark is empty."""
    lines = []
    for line in text.splitlines():
        time, _, rest = line.partition(" ms  ")
        speaker, colon, content = rest.partition(": ")
        if colon and speaker in {"C", "S", "*"}:
            lines.append(
                ("" if speaker == "*" else speaker, plain_text(content, _REPLY_LIMIT_CHARS), time.strip())
            )
    return lines
