"""Labels of statuses, outcomes, stages, settings fields and moves, for pages, alerts and commands.

Each label is defined once. Labels of values that only one room uses are in that room.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_babel import lazy_gettext

from ..outbox.models import Outcome, Status
from ..smtp.failure import Stage
from ..smtp.protocol.reply import plain_text
from .diagnosis_words import cause_and_fixes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# The tag of a message. "Accepted", not "Sent": acceptance by a server does not prove delivery to a mailbox.
STATUS_LABELS: Mapping[Status, str] = {
    Status.QUEUED: lazy_gettext("Waiting"),
    Status.SENDING: lazy_gettext("Being sent"),
    Status.SENT: lazy_gettext("Accepted"),
    Status.HELD: lazy_gettext("On hold"),
    Status.FAILED: lazy_gettext("Failed"),
    Status.SUPPRESSED: lazy_gettext("Suppressed"),
    Status.CANCELLED: lazy_gettext("Cancelled"),
}
# The tag of a delivery attempt: its CSS modifier and its text.
OUTCOME_TAGS: Mapping[Outcome, tuple[str, str]] = {
    Outcome.STARTED: ("sending", lazy_gettext("Under way")),
    Outcome.ACCEPTED: ("sent", lazy_gettext("Accepted")),
    Outcome.DEFERRED: ("deferred", lazy_gettext("Not now")),
    Outcome.REJECTED: ("rejected", lazy_gettext("Refused")),
    Outcome.HELD: ("held", lazy_gettext("Stopped by the settings")),
    Outcome.INTERRUPTED: ("ambiguous", lazy_gettext("Interrupted")),
}
# The stages of a settings check, each named after what it tests.
STAGE_LABELS: Mapping[str, str] = {
    "detect": lazy_gettext("Find port and encryption"),
    Stage.CONSENT: lazy_gettext("Consent"),
    Stage.RESOLVE: lazy_gettext("Find the server"),
    Stage.CONNECT: lazy_gettext("Connect"),
    Stage.GREETING: lazy_gettext("Greeting"),
    Stage.EHLO: lazy_gettext("Server features"),
    Stage.TLS: lazy_gettext("TLS and certificate"),
    Stage.AUTH: lazy_gettext("Log in"),
    Stage.MAIL: lazy_gettext("Sender accepted"),
    Stage.RCPT: lazy_gettext("Recipient accepted"),
    Stage.DATA: lazy_gettext("Message accepted"),
}
# How far a delivery attempt came, worded so that it suits success and failure.
STAGE_PROGRESS_LABELS: Mapping[str, str] = {
    Stage.CONSENT: lazy_gettext("While renewing the permission to log in"),
    Stage.RESOLVE: lazy_gettext("While finding the server"),
    Stage.CONNECT: lazy_gettext("While connecting"),
    Stage.GREETING: lazy_gettext("While waiting for the greeting"),
    Stage.EHLO: lazy_gettext("While asking for the server’s features"),
    Stage.TLS: lazy_gettext("While setting up encryption"),
    Stage.AUTH: lazy_gettext("While logging in"),
    Stage.MAIL: lazy_gettext("While sending the From address"),
    Stage.RCPT: lazy_gettext("While sending the recipient’s address"),
    Stage.DATA: lazy_gettext("While sending the message"),
}
FIELD_LABELS: Mapping[str, str] = {
    "host": lazy_gettext("SMTP Server"),
    "port": lazy_gettext("SMTP Port"),
    "security": lazy_gettext("Enable SSL"),
    "username": lazy_gettext("SMTP Username"),
    "password": lazy_gettext("SMTP Password"),
    "mechanism": lazy_gettext("SMTP Authentication"),
    "domain": lazy_gettext("Domain"),
    "wrapped_user": lazy_gettext("Affiliate Wrapped User"),
    "ehlo_name": lazy_gettext("EHLO name"),
    "envelope_sender": lazy_gettext("Return address"),
}
# Who has to act, by ``smtp.diagnosis.cases.Move``: on a page, and in an alert.
MOVE_LABELS: Mapping[str, str] = {
    "owner": lazy_gettext("You"),
    "provider": lazy_gettext("Your provider"),
    "network_operator": lazy_gettext("Your network operator"),
    "operator": lazy_gettext("The operator of this portal"),
}
MOVES_IN_ALERTS: Mapping[str, str] = {
    "owner": lazy_gettext("You can fix this."),
    "provider": lazy_gettext("Your provider has to fix this."),
    "network_operator": lazy_gettext("Your network operator has to fix this."),
    "operator": lazy_gettext("The operator of the portal has to fix this."),
}
_REPLY_LIMIT_CHARS = 600  # stored replies are shorter

_ABOUT_RETRIES = re.compile(
    r"^(?:Nothing\b[^:\n]*+:|You do not need to do anything\b)|\b(?:portal|Signet) (?:tries|slows|goes|continues)\b",
    re.IGNORECASE,
)


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
    about_retries: tuple[bool, ...] = ()  # for each fix, as ``is_about_retries``

    def fixes_without_retries(self, instead: str) -> list[str]:
        """Return the fixes for what is tried once: a check or a test email.

        The first fix about retries becomes ``instead``; further ones are left out.
        """
        fixes = zip(self.fixes, self.about_retries, strict=True)
        return list(dict.fromkeys(instead if retried else fix for fix, retried in fixes))


def is_about_retries(fix: str) -> bool:
    """Return whether a fix, in English, states that the outbox sends a message again: as now, or as stored before."""
    return _ABOUT_RETRIES.search(fix) is not None


def diagnosis_view(
    diagnosis: Mapping[str, Any] | None, stage_results: Iterable[Mapping[str, Any]] = ()
) -> DiagnosisView | None:
    """Return the view of a stored diagnosis, with the failed stage of the check, if any."""
    if not diagnosis:
        return None
    failed = next((result for result in stage_results if result["verdict"] == "failed"), None)
    field = str(diagnosis.get("field") or "")
    evidence = diagnosis.get("evidence") or {}
    cause, fixes = cause_and_fixes(diagnosis)
    stored = [str(fix) for fix in diagnosis.get("fixes", ())]
    return DiagnosisView(
        cause=cause,
        move=MOVE_LABELS.get(str(diagnosis.get("whose_move")), ""),
        fixes=fixes,
        field=field if field in FIELD_LABELS else "",
        field_label=FIELD_LABELS.get(field, ""),
        reply=plain_text(str(evidence.get("reply", "")), _REPLY_LIMIT_CHARS),
        stage=STAGE_LABELS.get(failed["stage"], "") if failed else "",
        about_retries=tuple(is_about_retries(fix) for fix in stored),
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
