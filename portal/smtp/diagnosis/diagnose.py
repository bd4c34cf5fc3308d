"""Diagnosis: from a failure to one cause, who has to act, and the fixes.

Servers often send the wrong reply class, so text takes precedence over codes: the provider's own cases, then
phrases, the enhanced status code, the reply code with the stage, and last the class. The rules are data, see
``cases.py``.

A block list that names the portal's IP address is ``network`` and the operator's move, because no field of the
form corrects it. A block list that names the sending domain is ``domain`` and the owner's move.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ..failure import Reason, Stage, SubmissionFailure
from ..providers import Catalogue, Provider, ProviderKind, load_catalogue
from ..providers.catalogue import normalise_host
from ..server import Mechanism
from ..token_errors import read_token_error, token_failure
from .cases import DiagnosisKind, FormField, Move, RetryClass
from .client_errors import client_failure, port_in, security_of
from .matching import FailureContext, PastedReplyServer, ServerLike, first_match
from .pasted_reply import STAGE_NAMES, parse_reply, parse_stage
from .program_output import prepared
from .sentences import fill, placeholders

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "STAGE_NAMES",
    "Diagnosis",
    "DiagnosisKind",
    "FormField",
    "Move",
    "RetryClass",
    "diagnose",
    "explain",
    "parse_reply",
    "parse_stage",
]


# Fixes of cases.
_ENTER_LOGIN = "Enter SMTP Username and SMTP Password."
_CHOOSE_LOGIN = "Choose Automatic under SMTP Authentication, and enter username and password."


@dataclass(frozen=True)
class Diagnosis:
    """Cause and fixes as sentences for the owner.

    ``fixes`` are in order of preference; ``evidence`` holds the facts of the failure.
    """

    code: str
    kind: DiagnosisKind
    cause: str
    whose_move: Move
    fixes: tuple[str, ...]
    field: FormField | None
    retry_class: RetryClass
    evidence: Mapping[str, str]

    @property
    def fix(self) -> str:
        """The preferred fix."""
        return self.fixes[0]

    def as_dict(self) -> dict[str, Any]:
        """Return the diagnosis as JSON types."""
        plain = asdict(replace(self, evidence=dict(self.evidence)))
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Diagnosis:
        """Return the diagnosis from the result of ``as_dict``. Raises KeyError or ValueError for other data."""
        return cls(
            code=str(data["code"]),
            kind=DiagnosisKind(data["kind"]),
            cause=str(data["cause"]),
            whose_move=Move(data["whose_move"]),
            fixes=tuple(str(fix) for fix in data["fixes"]),
            field=FormField(data["field"]) if data["field"] else None,
            retry_class=RetryClass(data["retry_class"]),
            evidence={str(key): str(value) for key, value in data["evidence"].items()},
        )


def _evidence(failure: SubmissionFailure) -> Mapping[str, str]:
    evidence = {"stage": str(failure.stage), "reason": str(failure.reason), **failure.evidence}
    if failure.reply:
        evidence["reply"] = str(failure.reply)
    return evidence


def diagnose(
    failure: SubmissionFailure,
    server: ServerLike,
    provider: Provider | None = None,
    *,
    sender: str | None = None,
) -> Diagnosis:
    """Return the diagnosis of a failure.

    ``provider`` is looked up by the server's host when it is not given. ``sender`` is the From address, for
    sentences that name it.
    """
    return _diagnose(FailureContext(failure, server, _provider(server, provider), load_catalogue(), sender))


def _provider(server: ServerLike, provider: Provider | None) -> Provider | None:
    """Return the provider whose cases apply: the given one or the host's; None instead of the generic card."""
    provider = provider or load_catalogue().by_host(server.host)
    return None if provider is None or provider.kind is ProviderKind.OTHER else provider


def _diagnose(context: FailureContext) -> Diagnosis:
    case, values = first_match(context), placeholders(context)
    diagnosis = Diagnosis(
        code=case.code,
        kind=case.kind,
        cause=fill(case.cause, values),
        whose_move=case.move,
        fixes=tuple(fill(fix, values) for fix in case.fixes),
        field=case.field,
        retry_class=case.retry,
        evidence=_evidence(context.failure),
    )
    return _for_no_login(diagnosis) if context.server.mechanism is Mechanism.NONE else diagnosis


def _for_no_login(diagnosis: Diagnosis) -> Diagnosis:
    """Point to the choice of the log-in: while it is none, the form shows no fields for username and password."""
    if diagnosis.field not in (FormField.USERNAME, FormField.PASSWORD):
        return diagnosis
    fixes = tuple(_CHOOSE_LOGIN if fix == _ENTER_LOGIN else fix for fix in diagnosis.fixes)
    return replace(diagnosis, field=FormField.MECHANISM, fixes=fixes)


def explain(
    server_host: str, stage: str | Stage, reply_text: str, catalogue: Catalogue | None = None
) -> Diagnosis:
    """Return the diagnosis of a pasted reply, of the error of a token endpoint, or of a program's own error.

    Raises:
        ValueError: ``stage`` names no stage.
    """
    catalogue, server = catalogue or load_catalogue(), PastedReplyServer(normalise_host(server_host))
    failed_at = parse_stage(stage)
    reply_text = prepared(reply_text)
    provider = catalogue.by_host(server.host)
    if failed_at is Stage.CONSENT or read_token_error(reply_text):
        failure = token_failure(reply_text, issuer=_issuer(provider, reply_text))
    elif own := client_failure(reply_text, failed_at):
        failure = own
        server = replace(server, port=port_in(reply_text), security=security_of(own.reason))
    else:
        # Only a server that was reached replies.
        failed_at = Stage.GREETING if failed_at in {Stage.RESOLVE, Stage.CONNECT} else failed_at
        failure = SubmissionFailure(failed_at, Reason.REPLIED, parse_reply(reply_text, failed_at))
    return _diagnose(FailureContext(failure, server, provider, catalogue))


def _issuer(provider: Provider | None, text: str) -> str:
    """Return the name of the authorization server of a pasted answer, as far as it shows."""
    if "AADSTS" in text.upper() or (provider and provider.id in {"microsoft365", "outlook-com"}):
        return "Microsoft"
    return "Google" if provider and provider.id in {"gmail", "google-relay"} else "The provider"
