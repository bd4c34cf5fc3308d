"""Prints how long an import of affiliates works: ``python -m benchmarks.imports [LINES]``, by default 10,000.

On SQLite in a temporary folder, in one process: the upload, the preview, the job that adds the lines, and the job that
queues a confirmation for every second affiliate. Exits with 1 if all of it takes longer than a minute.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

from sqlalchemy import update

from portal import create_app
from portal.accounts.registration import create_owner
from portal.affiliates import erased
from portal.clock import utcnow
from portal.db import db
from portal.imports import mailing, running, uploads
from portal.imports.models import AffiliateImport
from portal.settings import credentials
from portal.settings.models import SmtpSettings, VersionState
from tests.conftest import PASSWORD, make_config

LIMIT_S = 60


def csv_file(lines: int) -> bytes:
    """Return a file in which every second person has agreed already."""
    rows = (
        f"Person {number % 97} Nachname,person{number}@brightleaf{number % 50}.example,P-{number:05},"
        f"{'2026-01-02' if number % 2 else ''},our former system"
        for number in range(lines)
    )
    return ("Name;Email;Code;Consent date;Consent source\n" + "\n".join(rows).replace(",", ";")).encode()


def own_server(account_id: int) -> None:
    """Give the account live settings, without which no email of an import is queued."""
    row = SmtpSettings(
        account_id=account_id, number=1, host="smtp.example.com", port=587, state=VersionState.LIVE
    )
    row.security, row.mechanism, row.username = "starttls", "auto", "ada"
    row.domain, row.wrapped_user = "brightleaf.example", "info"
    row.password_saved_at = row.created_at = utcnow()
    credentials.seal(row, "a password")
    db.session.add(row)
    db.session.commit()


def queue_all(import_id: int) -> None:
    """Run the job of the emails until none is left, without the waits in between."""
    while mailing.find_work(utcnow()):
        mailing.run(import_id)
        db.session.execute(update(AffiliateImport).values(next_mail_at=utcnow()))
        db.session.commit()


def timed(name: str, work: Callable[[], object]) -> float:
    """Run one part, and print its seconds on the clock and on the processor."""
    started, used = perf_counter(), process_time()
    work()
    seconds = perf_counter() - started
    print(f"{name:34} {seconds:6.1f} s  {process_time() - used:6.1f} s of processor time", flush=True)
    return seconds


def main() -> int:
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(make_config(Path(folder) / "instance", env={"DATABASE_URL": ""}))
        with app.app_context():
            db.create_all(bind_key=None)
            erased.ensure_key()
            account = create_owner("Brightleaf", "Ada", "ada@brightleaf.example", PASSWORD, now=utcnow())
            account_id, file = account.account_id, csv_file(lines)
            own_server(account_id)
            uploaded = uploads.UploadedFile("people.csv", file, "k" * 43, "Ada")
            found: list[int] = []
            upload = timed(
                "upload", lambda: found.append(uploads.upload(account_id, uploaded, now=utcnow()).id)
            )
            row = db.session.get_one(AffiliateImport, found[0])
            check = timed("preview", lambda: uploads.preview(row, now=utcnow()))
            uploads.start(account_id, found[0], total=lines)
            add = timed(f"add {lines:,} affiliates", lambda: running.run(found[0]))
            mail = timed("queue the confirmations", lambda: queue_all(found[0]))
            db.session.expire_all()
            row = db.session.get_one(AffiliateImport, found[0])
            print(f"added {row.added:,}, queued {row.queued:,}; in all {upload + check + add + mail:.1f} s")
            return int(upload + check + add + mail > LIMIT_S or row.added != lines)


if __name__ == "__main__":
    sys.exit(main())
