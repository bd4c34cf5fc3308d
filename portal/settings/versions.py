"""Saving SMTP settings as versions, and deciding which one sends."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, update

from .. import budgets, wake
from ..accounts.models import Owner
from ..db import db
from ..outbox.queue import queue_of, release
from ..smtp.guard import HostError, canonical_host
from ..smtp.mailbox import MailboxError, parse_mailbox
from ..smtp.providers import judge_secret
from ..smtp.server import Security
from ..vault import SealBroken
from . import providers, routes
from .models import DETECT, CheckState, SettingsCheck, SmtpSettings, State

CHECKS = budgets.Budget("settings-check", 30, timedelta(hours=1))
_DEFAULT_PORT = {Security.STARTTLS: 587, Security.IMPLICIT_TLS: 465, Security.PLAINTEXT: 25}


@dataclass(frozen=True)
class Typed:
    """What the owner entered, stripped but not yet judged. ``password`` empty: keep the saved one."""

    provider: str
    host: str
    username: str
    password: str
    domain: str
    security: str
    port: str
    mechanism: str
    wrapped_user: str
    from_name: str
    reply_to: str


class SettingsRefused(Exception):
    """The values cannot be saved; ``errors`` maps a field to the sentence beside it."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__(", ".join(errors))
        self.errors = errors


def newest(account_id: int) -> SmtpSettings | None:
    """Return the version saved last, whatever became of it."""
    query = select(SmtpSettings).where(SmtpSettings.account_id == account_id)
    return db.session.scalar(query.order_by(SmtpSettings.number.desc()).limit(1))


def find(account_id: int, number: int) -> SmtpSettings | None:
    """Return one version of this account by its number."""
    return db.session.scalar(
        select(SmtpSettings).where(SmtpSettings.account_id == account_id, SmtpSettings.number == number)
    )


def history(account_id: int, limit: int = 20) -> list[SmtpSettings]:
    """Return the versions, newest first."""
    query = select(SmtpSettings).where(SmtpSettings.account_id == account_id)
    return list(db.session.scalars(query.order_by(SmtpSettings.number.desc()).limit(limit)))


def save_draft(owner: Owner, typed: Typed, *, now: datetime) -> SmtpSettings:
    """Save the next version as a draft and start its check; one commit. Raises SettingsRefused.

    Settings whose shape betrays a mistake are saved without a check, so that no log-in is wasted on
    them; the page then asks what was meant.
    """
    version = _judged(owner.account_id, typed, now)
    _seal(version, typed, now)
    db.session.add(version)
    db.session.flush()
    if not questions(version):
        _start_check(version, owner, now)
    db.session.commit()
    return version


def check_again(owner: Owner, version: SmtpSettings, *, now: datetime) -> None:
    """Start another check of a version; when it passes, the version goes live. Commits. Raises SettingsRefused."""
    _answered(version)
    _start_check(version, owner, now)
    db.session.commit()


def read_without_spaces(owner: Owner, version: SmtpSettings, *, now: datetime) -> None:
    """Take the saved app password without its spaces, and check. Commits. Raises SettingsRefused."""
    try:
        password = re.sub(r"\s", "", routes.open_password(version))
    except SealBroken:
        raise SettingsRefused({"password": "Enter the SMTP password again."}) from None
    version.sealed_password = routes.vault().seal(password, routes.binding(version))
    check_again(owner, version, now=now)


def activate(version: SmtpSettings, *, now: datetime) -> None:
    """Make a version live in place of the present one, and let waiting mail leave. The caller commits."""
    _retire_live(version.account_id)
    version.state, version.live_since = State.LIVE, now
    let_go(version.account_id, now)


def stop_using(account_id: int, *, now: datetime) -> None:
    """Go back to the platform's sender. Commits."""
    _retire_live(account_id)
    let_go(account_id, now)
    db.session.commit()


def activate_anyway(version: SmtpSettings, *, now: datetime) -> None:
    """Make a version live although it is not proven, at the owner's word. Commits. Raises SettingsRefused."""
    if version.port == 0:
        raise SettingsRefused(
            {"port": "Nothing answered yet, so the port is unknown. Choose one and save again."}
        )
    _answered(version)
    activate(version, now=now)
    db.session.commit()


def questions(version: SmtpSettings) -> list[dict[str, object]]:
    """Return the pieces of advice that have to be answered before a log-in is tried."""
    return [one for one in version.advice if one.get("blocking")]


def is_complete(version: SmtpSettings) -> bool:
    """Whether the way to encrypt is known."""
    return version.port != 0 and version.security != DETECT


def latest_check(version: SmtpSettings) -> SettingsCheck | None:
    query = select(SettingsCheck).where(SettingsCheck.version_id == version.id)
    return db.session.scalar(query.order_by(SettingsCheck.id.desc()).limit(1))


def last_checked(account_id: int) -> SmtpSettings | None:
    """Return the version whose check is the account's newest; it may be an earlier version tried again."""
    query = (
        select(SmtpSettings)
        .join(SettingsCheck, SettingsCheck.version_id == SmtpSettings.id)
        .where(SmtpSettings.account_id == account_id)
        .order_by(SettingsCheck.id.desc())
        .limit(1)
    )
    return db.session.scalar(query)


def _judged(account_id: int, typed: Typed, now: datetime) -> SmtpSettings:
    """Apply the rules; return the version that is to be, still without password. Raises SettingsRefused."""
    errors: dict[str, str] = {}
    host = _host(typed.host, errors)
    security = typed.security or Security.STARTTLS
    port = _port(typed, security, errors)
    domain = _domain(typed, errors)
    wrapped_user = _wrapped_user(typed.wrapped_user, errors)
    if not errors:
        _from_rule(host, typed.username, domain, errors)
    if errors:
        raise SettingsRefused(errors)
    last = db.session.scalar(
        select(func.max(SmtpSettings.number)).where(SmtpSettings.account_id == account_id)
    )
    return SmtpSettings(
        account_id=account_id,
        number=(last or 0) + 1,
        provider=typed.provider or providers.provider_of(host).id,
        host=host,
        port=port,
        security=security,
        mechanism=typed.mechanism,
        username=typed.username,
        domain=domain,
        wrapped_user=wrapped_user,
        from_name=typed.from_name,
        reply_to=typed.reply_to,
        state=State.DRAFT,
        created_at=now,
        advice=_advice(host, typed, domain),
    )


def _host(typed: str, errors: dict[str, str]) -> str:
    try:
        return canonical_host(typed)
    except HostError as error:
        errors["host"] = str(error)
        return ""


def _port(typed: Typed, security: str, errors: dict[str, str]) -> int:
    if not typed.port:
        return 0 if security == DETECT else _DEFAULT_PORT[Security(security)]
    port = int(typed.port)
    allowed = routes.config().policy.ports
    if port not in allowed:
        listed = ", ".join(map(str, sorted(allowed)))
        errors["port"] = f"Port {port} is not one that mail is handed in through here. Use one of {listed}."
    return port


def _domain(typed: Typed, errors: dict[str, str]) -> str:
    _, at, behind = typed.username.rpartition("@")
    domain = typed.domain.strip("@") or (behind if at else "")
    if not domain:
        errors["domain"] = "Enter the domain your emails should come from, such as example.com."
        return ""
    try:
        return parse_mailbox(f"info@{domain}").domain
    except MailboxError:
        errors["domain"] = (
            "Enter a domain such as example.com, without http:// and without the part before @."
        )
        return ""


def _wrapped_user(typed: str, errors: dict[str, str]) -> str:
    local = typed or "info"
    try:
        return parse_mailbox(f"{local}@example.com").local
    except MailboxError:
        errors["wrapped_user"] = (
            "Enter only the part before the @, such as info or support: letters, digits, dots and hyphens."
        )
        return ""


def _from_rule(host: str, username: str, domain: str, errors: dict[str, str]) -> None:
    """Refuse a domain these providers would refuse: theirs must be that of the username."""
    provider = providers.provider_of(host)
    _, at, behind = username.rpartition("@")
    if provider.from_domain_must_match_username and at and behind.lower() != domain:
        errors["domain"] = (
            f"{provider.name} sends only for the domain of the username, which is {behind}. "
            f"Enter {behind} here, or use the SMTP username of {domain}."
        )


def _advice(host: str, typed: Typed, domain: str) -> list[dict[str, object]]:
    provider = providers.provider_of(host)
    known = provider if provider.id not in {"other", providers.REHEARSAL} else None
    found = judge_secret(host, typed.username, typed.password, domain, known)
    rows: list[dict[str, object]] = [
        {
            "field": one.field,
            "code": one.code,
            "sentence": one.sentence,
            "blocking": one.blocking or one.code in {"app-password-spaces", "outer-space"},
        }
        for one in found
    ]
    _, at, behind = typed.username.rpartition("@")
    if at and behind.lower() != domain and not any(row["field"] == "domain" for row in rows):
        sentence = (
            f"Emails will leave as {typed.wrapped_user or 'info'}@{domain} although the username is at {behind}. "
            f"That works only if {domain} is verified at your provider."
        )
        rows.append({"field": "domain", "code": "other-domain", "sentence": sentence, "blocking": False})
    return rows


def _seal(version: SmtpSettings, typed: Typed, now: datetime) -> None:
    """Seal the typed password, or the saved one where it still goes to the same server and user."""
    password, version.password_saved_at = typed.password, now
    if not password:
        saved = newest(version.account_id)
        if saved is None:
            raise SettingsRefused({"password": "Enter the SMTP password."})
        changed = _what_changed(saved, version)
        if changed:
            raise SettingsRefused(
                {"password": f"The {changed} changed, so enter the SMTP password again: a saved password only "
                 "goes to the server and user it was saved for."}
            )  # fmt: skip
        try:
            password, version.password_saved_at = routes.open_password(saved), saved.password_saved_at
        except SealBroken:
            raise SettingsRefused(
                {"password": "The saved password cannot be opened any more. Enter it again."}
            ) from None
    version.sealed_password = routes.vault().seal(password, routes.binding(version))


def _what_changed(saved: SmtpSettings, version: SmtpSettings) -> str | None:
    pairs = {
        "SMTP Server": (saved.host, version.host),
        "SMTP Port": (saved.port, version.port),
        "Enable SSL choice": (saved.security, version.security),
        "SMTP Username": (saved.username, version.username),
    }
    return next((label for label, (old, new) in pairs.items() if old != new), None)


def _start_check(version: SmtpSettings, owner: Owner, now: datetime) -> None:
    if not budgets.spend(CHECKS, version.account_id, now=now):
        db.session.rollback()
        raise SettingsRefused(
            {
                "": "These settings were checked very often in the last hour. Wait a while: providers lock users who try too often."
            }
        )
    check = SettingsCheck(
        version_id=version.id,
        recipient=owner.mailbox,
        recipient_name=owner.name,
        state=CheckState.WAITING,
        rungs=[],
        created_at=now,
    )
    db.session.add(check)
    wake.after_commit("check", version.id)


def _answered(version: SmtpSettings) -> None:
    version.advice = [one | {"blocking": False} for one in version.advice]


def _retire_live(account_id: int) -> None:
    db.session.execute(
        update(SmtpSettings)
        .where(SmtpSettings.account_id == account_id, SmtpSettings.state == State.LIVE)
        .values(state=State.RETIRED)
    )


def let_go(account_id: int, now: datetime) -> None:
    """Mail leaves another way from now on, so whatever stopped it no longer counts."""
    queue = queue_of(account_id)
    queue.pause_until, queue.troubles = None, 0
    release(account_id, now=now)
