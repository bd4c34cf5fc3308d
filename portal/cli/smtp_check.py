"""``flask smtp check``: try a version up to the recipient, without sending and without storing anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ..accounts.models import Account, Owner
from ..db import db
from ..outbox.routing import NoRoute, Route
from ..settings import routing, versions
from ..smtp.diagnosis.explain_cli import as_text
from ..smtp.probe.dry_run import ProbeReport, probe
from ..smtp.protocol.stages import Observer, StageResult, StageStatus
from ..web.labels import STAGE_LABELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..settings.models import SmtpSettings
    from ..smtp.diagnosis.diagnose import Diagnosis

PASSED, FAILED, NOT_TRIED = 0, 1, 2
_MARKS = {StageStatus.PASSED: "ok", StageStatus.FAILED: "FAILED", StageStatus.SKIPPED: "skipped"}


class NotTried(Exception):
    """There is nothing to try; ``code`` is stable, ``sentence`` is for the operator."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


@dataclass(frozen=True)
class Trial:
    """A version's way out, tried. ``diagnosis`` is None when every stage passed."""

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


def run(slug: str, number: int | None, as_json: bool, say: Callable[[str], None]) -> int:
    """Try an account's live version, or the one with this number, and tell; return the exit status."""
    try:
        trial = attempt(slug, number, None if as_json else lambda result: say(_line(result)))
    except NotTried as why:
        refusal = {"account": slug, "error": {"code": why.code, "sentence": why.sentence}}
        say(json.dumps(refusal) if as_json else why.sentence)
        return NOT_TRIED
    if as_json:
        say(json.dumps(trial.as_dict()))
    elif trial.diagnosis:
        say(f"\n{as_text(trial.diagnosis)}")
    else:
        say(f"\n{trial.route.server.address} takes mail from {trial.route.sender}. Nothing was sent.")
    return PASSED if trial.report.passed else FAILED


def attempt(slug: str, number: int | None, observer: Observer | None = None) -> Trial:
    """Climb the ladder up to the recipient, who is the account's first owner. Raises NotTried."""
    account = db.session.scalar(select(Account).where(Account.slug == slug))
    if account is None:
        raise NotTried("unknown-account", "No account has this name. It is the last part of /join/<name>.")
    route, recipient = _route(_version(account, number)), _recipient(account)
    db.session.rollback()  # a server may take its time, and no transaction waits for it
    report = probe(route.server, route.sender, recipient, observer)
    return Trial(slug, route, recipient, report, route.explain(report.failure) if report.failure else None)


def _version(account: Account, number: int | None) -> SmtpSettings:
    if number is None:
        live = routing.live_version(account.id)
        if live is None:
            raise NotTried("no-settings", "The account has no live version. Name a saved one by --version.")
        return live
    version = versions.find(account.id, number)
    if version is None:
        raise NotTried("unknown-version", "The account has no version with this number.")
    return version


def _route(version: SmtpSettings) -> Route:
    if not versions.is_complete(version):
        raise NotTried("port-unknown", "The version's port was never found, so there is nothing to dial.")
    try:
        return routing.version_route(version)
    except NoRoute as trouble:
        raise NotTried(str(trouble.diagnosis["code"]), str(trouble.diagnosis["cause"])) from None


def _recipient(account: Account) -> str:
    first = select(Owner.mailbox).where(Owner.account_id == account.id).order_by(Owner.id).limit(1)
    mailbox = db.session.scalar(first)
    if mailbox is None:
        raise NotTried("no-owner", "The account has no owner, so nobody could receive.")
    return mailbox


def _line(result: StageResult) -> str:
    """Return one stage result as a line, followed by its evidence."""
    time = "" if result.status is StageStatus.SKIPPED else f"{result.duration_ms} ms"
    head = f"{_MARKS[result.status]:8}{STAGE_LABELS[result.stage]:22}{time:>9}  {result.sentence}"
    return "\n".join([head, *(f"{'':8}  {key}: {value}" for key, value in result.evidence.items())])
