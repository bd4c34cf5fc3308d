"""Ten thousand accounts with live settings, two owners who log in, and the messages that are due."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import text, update

from benchmarks.log_pages import MAILBOX, PASSWORD
from benchmarks.log_rows import fill_affiliates
from benchmarks.size_rows import LARGEST, MEDIUM, Sizes
from portal.accounts.models import Account, Owner
from portal.accounts.registration import create_owner
from portal.bounces import hooks
from portal.db import db
from portal.domains.models import DomainCheck, DomainCheckState, DomainStatus
from portal.incidents import lifecycle
from portal.incidents.lifecycle import Failure
from portal.incidents.models import IncidentKind
from portal.outbox.queue import NewMessage, enqueue
from portal.settings import credentials
from portal.settings.models import LoginProbe, SmtpSettings, VersionState

MAILBOX_OF_LARGEST = "grace@copperpot.example"
DUE_ACCOUNTS, DUE_EACH = 100, 20
_AFFILIATES = 10_000  # of each account that is looked at
_NUMBERS = "generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) n"
_COPY = f"INSERT INTO {{table}} ({{names}}) SELECT {{values}} FROM {{table}} t, {_NUMBERS} WHERE {{where}}"


def prepare_accounts(sizes: Sizes) -> None:
    """Write the accounts, each with live settings whose checks passed, a queue and, for some, a hook and a retention. Commits."""
    now = sizes.now
    owners = [
        create_owner("Brightleaf", "Ada", MAILBOX, PASSWORD, now=now),
        create_owner("Copperpot", "Grace", MAILBOX_OF_LARGEST, PASSWORD, now=now),
    ]
    db.session.flush()
    assert [owner.account_id for owner in owners] == [MEDIUM, LARGEST]
    db.session.execute(update(Account).values(approved_at=now, sign_ups_at_once=100_000))
    db.session.execute(update(Owner).where(Owner.account_id == MEDIUM).values(is_operator=True))
    _add_settings(sizes)
    trouble = {
        "code": "timed-out",
        "kind": "server_fault",
        "whose_move": "provider",
        "cause": "No answer.",
        "fixes": [],
    }
    failure = Failure(MEDIUM, IncidentKind.SENDING, trouble, "smtp.other.example:587", version_number=5)
    lifecycle.record_failure(failure, now=now - timedelta(days=1))
    db.session.commit()
    hooks.create(MEDIUM, "mailgun", now=now)
    last = sizes.accounts
    _copy(
        "account",
        {"id": "n", "slug": "'account-' || n", "name": "'Programme ' || n"},
        LARGEST + 1,
        last,
        f"t.id = {LARGEST}",
    )
    _copy(
        "smtp_settings",
        {"id": "n", "account_id": "n", "domain": "'account-' || n || '.example'"},
        MEDIUM + 1,
        last,
        "t.id = 1",
    )
    of_version = {"account_id": "n", "version_id": "n"}
    _copy(
        "domain_check",
        {"id": "n", **of_version, "domain": "'account-' || n || '.example'"},
        MEDIUM + 1,
        last,
        "t.id = 1",
    )
    _copy("login_probe", of_version, MEDIUM + 1, last, "t.version_id = 1")
    hook = {"id": "n", "account_id": "n", "secret_hash": "md5('a' || n) || md5(n || 'a')"}
    _copy("bounce_hook", hook, MEDIUM + 1, last, "t.id = 1 AND (n <= 2 OR n % 4 = 0)")
    for table in ("account", "smtp_settings", "domain_check", "bounce_hook"):
        db.session.execute(text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {last})"))
    db.session.execute(
        text(
            "INSERT INTO outbox_queue (account_id, consecutive_failures, failed_probes, healthy, generation)"
            " SELECT id, 0, 0, true, 0 FROM account ON CONFLICT (account_id) DO UPDATE SET healthy = true"
        )
    )
    db.session.execute(
        text(
            "INSERT INTO delivery_retention (account_id, body_days, row_days)"
            " SELECT id, 30 * (1 + id % 2), 800 FROM account WHERE id % 20 = 7"
        )
    )
    db.session.commit()


def fill_both_with_affiliates(sizes: Sizes) -> None:
    """Write the affiliates of the two accounts whose pages are measured. Commits."""
    for account in (MEDIUM, LARGEST):
        fill_affiliates(min(_AFFILIATES, sizes.first // 10), account, sizes.now)


def due_accounts(sizes: Sizes) -> list[int]:
    """Return the ids of the accounts with messages that are due."""
    number = min(DUE_ACCOUNTS, sizes.accounts // 4)
    return [5 + place * (sizes.accounts - 5) // number for place in range(number)]


def enqueue_due(sizes: Sizes) -> None:
    """Enqueue messages for the accounts that are due, as the portal does. Commits."""
    for account in due_accounts(sizes):
        for number in range(DUE_EACH):
            enqueue(account, message(account, number), now=sizes.now)
    db.session.commit()


def message(account: int, number: int, key: str = "due") -> NewMessage:
    return NewMessage(
        kind="new-sign-up",
        key=f"{key}:{account}:{number}",
        recipient=f"due{number}@mail1.example",
        subject=f"Welcome to Brightleaf, due {number}",
        text="A text of an ordinary length. " * 12,
        html="<p>A text of an ordinary length.</p>" * 12,
    )


def _add_settings(sizes: Sizes) -> None:
    now = sizes.now
    version = SmtpSettings(
        account_id=MEDIUM,
        number=5,
        provider="mailgun",
        host="smtp.mailgun.org",
        port=587,
        security="starttls",
        mechanism="automatic",
        username="mailer",
        password_saved_at=now,
        domain="brightleaf.example",
        wrapped_user="info",
        state=VersionState.LIVE,
        created_at=now - timedelta(days=200),
        live_since=now - timedelta(days=200),
    )
    credentials.seal(version, "a password")
    db.session.add(version)
    db.session.flush()
    names: dict[str, Any] = {"account_id": MEDIUM, "version_id": version.id}
    db.session.add(
        DomainCheck(
            **names,
            domain=version.domain,
            state=DomainCheckState.DONE,
            status=DomainStatus.ARRIVES,
            checked_at=now,
            requested_at=now,
        )
    )
    db.session.add(LoginProbe(**names, passed_at=now, tried_at=now, next_at=now + timedelta(days=1)))


def _copy(table: str, changed: dict[str, str], first: int, last: int, where: str) -> None:
    """Copy one row of a table for each number, with some columns from an expression of ``n``."""
    columns = [column.name for column in db.metadata.tables[table].columns]
    values = ", ".join(changed.get(name, f"t.{name}") for name in columns)
    statement = _COPY.format(table=table, names=", ".join(columns), values=values, where=where)
    db.session.execute(text(statement), {"first": first, "last": last})
