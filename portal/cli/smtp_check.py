"""``flask smtp check``: tests a settings version up to RCPT TO, and states the sending status. Sends and stores nothing."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

from sqlalchemy import select

from ..accounts.models import Account
from ..accounts.team.contact import contact_mailbox
from ..db import db
from ..outbox.routing import NoRoute, Route
from ..settings import routing, versions
from ..smtp.diagnosis.explain_cli import as_text
from ..smtp.probe.dry_run import ProbeReport, probe
from ..smtp.protocol.stages import Observer, StageResult, StageStatus
from ..smtp.server import AccessToken, Secret
from ..status.sending import sending_of
from ..web.labels import STAGE_LABELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..settings.models import SmtpSettings
    from ..smtp.diagnosis.diagnose import Diagnosis

_MAX_TOKEN_CHARS = 16_000  # Microsoft's have 1,500 to 2,500
_TOKEN = re.compile(r"[\x21-\x7e]+")  # RFC 6749 section A.12, without the space
PASSED, FAILED, NOT_CHECKED = 0, 1, 2
_STATUS_LABELS = {StageStatus.PASSED: "ok", StageStatus.FAILED: "FAILED", StageStatus.SKIPPED: "skipped"}


class CannotCheck(Exception):
    """The check could not start. ``code`` is stable, for scripts; ``sentence`` is for the operator."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


@dataclass(frozen=True)
class DryRunResult:
    """The result of a dry run of one settings version. ``diagnosis`` is None if every stage passed."""

    slug: str
    route: Route
    recipient: str
    report: ProbeReport
    diagnosis: Diagnosis | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; ``docs/commands.md`` describes them."""
        return {
            "account": self.slug,
            "version": self.route.version_number,
            "server": self.route.server.address,
            "sender": self.route.sender,
            "recipient": self.recipient,
            "passed": self.report.passed,
            "rungs": [result.as_dict() for result in self.report.stages],
            "diagnosis": self.diagnosis.as_dict() if self.diagnosis else None,
        }


@dataclass(frozen=True)
class GivenToken:
    """A source of the one token that the operator typed."""

    secret: Secret

    def fetch(self) -> AccessToken:
        """Return the token."""
        return AccessToken(self.secret, "The token comes from standard input.")

    def renew(self, _refused: AccessToken) -> None:
        """Return None: there is no other token."""


def run(
    slug: str,
    number: int | None,
    as_json: bool,
    echo: Callable[[str], None],
    token_file: IO[str] | None = None,
) -> int:
    """Check an account's live version, or the one with this number, and print the result; return the exit status.

    ``token_file`` holds an access token to log in with instead of the saved password.
    """
    try:
        token = _read_token(token_file) if token_file else None
        observer = None if as_json else lambda result: echo(_stage_line(result))
        trial = dry_run(slug, number, observer, token)
    except CannotCheck as error:
        refusal = {"account": slug, "error": {"code": error.code, "sentence": error.sentence}}
        echo(json.dumps(refusal | _sending(slug)) if as_json else error.sentence)
        return NOT_CHECKED
    if as_json:
        echo(json.dumps(trial.as_dict() | _sending(slug)))
    elif trial.diagnosis:
        echo(f"\n{as_text(trial.diagnosis)}")
    else:
        echo(f"\n{trial.route.server.address} takes mail from {trial.route.sender}. Nothing was sent.")
    if not as_json:
        echo(f"Sending status: {_sending(slug)['sending']['sentence']}")
    return PASSED if trial.report.passed else FAILED


def _sending(slug: str) -> dict[str, Any]:
    """Return the account's sending status, as the API has it; nothing for an unknown account."""
    status = sending_of(slug)
    return {"sending": status.as_dict()} if status else {}


def _read_token(source: IO[str]) -> GivenToken:
    text = source.read(_MAX_TOKEN_CHARS + 1).strip()
    if len(text) > _MAX_TOKEN_CHARS or not _TOKEN.fullmatch(text):
        raise CannotCheck("token-unusable", "Standard input holds no access token: one word, without spaces.")
    return GivenToken(Secret(text))


def dry_run(
    slug: str, number: int | None, observer: Observer | None = None, token: GivenToken | None = None
) -> DryRunResult:
    """Run the stages up to RCPT TO with the account's contact as recipient. Raises CannotCheck."""
    account = db.session.scalar(select(Account).where(Account.slug == slug))
    if account is None:
        raise CannotCheck("unknown-account", "No account has this name. It is the last part of /join/<name>.")
    route, recipient = _route(_version(account, number)), _recipient(account)
    if token is not None:
        route = replace(route, server=replace(route.server, password=None, tokens=token))
    db.session.rollback()  # no transaction stays open while the server answers
    report = probe(route.server, route.return_path(), recipient, observer)
    return DryRunResult(
        slug, route, recipient, report, route.explain(report.failure) if report.failure else None
    )


def _version(account: Account, number: int | None) -> SmtpSettings:
    if number is None:
        live = routing.live_version(account.id)
        if live is None:
            raise CannotCheck(
                "no-settings", "The account has no live version. Name a saved one by --version."
            )
        return live
    version = versions.find(account.id, number)
    if version is None:
        raise CannotCheck("unknown-version", "The account has no version with this number.")
    return version


def _route(version: SmtpSettings) -> Route:
    if not versions.is_complete(version):
        raise CannotCheck("port-unknown", "The version's port was never found, so there is nothing to dial.")
    try:
        return routing.version_route(version)
    except NoRoute as trouble:
        raise CannotCheck(str(trouble.diagnosis["code"]), str(trouble.diagnosis["cause"])) from None


def _recipient(account: Account) -> str:
    mailbox = contact_mailbox(account.id)
    if mailbox is None:
        raise CannotCheck("no-owner", "The account has no contact, so there is no recipient.")
    return mailbox


def _stage_line(result: StageResult) -> str:
    """Return one stage result as a line, followed by its evidence."""
    time = "" if result.status is StageStatus.SKIPPED else f"{result.duration_ms} ms"
    label = str(STAGE_LABELS[result.stage])  # a lazy text takes no width
    head = f"{_STATUS_LABELS[result.status]:8}{label:22}{time:>9}  {result.sentence}"
    return "\n".join([head, *(f"{'':8}  {key}: {value}" for key, value in result.evidence.items())])
