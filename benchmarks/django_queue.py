"""Drain the queue of django-post_office: python django_queue.py FOLDER PORT COUNT [SOCKETS], in its own virtual environment.

Enqueues COUNT messages in a SQLite file in FOLDER, or in the database "post_office" of a PostgreSQL server whose Unix
socket is in the folder SOCKETS, and sends them as ``manage.py send_queued_mail`` does: over Django's
SMTP backend, with the defaults of batches of 100 and five threads in one process. Reads the template of the messages
from standard input.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command

FOLDER, PORT, COUNT = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER / "post_office.sqlite"}
POSTGRESQL = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": "post_office",
    "USER": "postgres",
    "HOST": "".join(sys.argv[4:]),
}

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
    DATABASES={"default": POSTGRESQL if POSTGRESQL["HOST"] else SQLITE},
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    EMAIL_BACKEND="post_office.EmailBackend",
    EMAIL_HOST="127.0.0.1",
    EMAIL_PORT=PORT,
    USE_TZ=True,
    SECRET_KEY="not a secret",
    LOGGING_CONFIG=None,
)
django.setup()

from post_office import mail  # noqa: E402 - Django must be set up first
from post_office.models import PRIORITY, STATUS, Email  # noqa: E402


def enqueue(template: dict[str, str]) -> None:
    """Write the rows as ``mail.send_many`` does: created one by one, inserted together."""
    emails = [
        mail.create(
            sender=f"{template['name']} <{template['sender']}>",
            recipients=[f"Affiliate {number} <r{number}@example.net>"],
            subject=template["subject"].replace("{number}", str(number)),
            message=template["text"].replace("{number}", str(number)),
            html_message=template["html"].replace("{number}", str(number)),
            priority=PRIORITY.medium,
            commit=False,
        )
        for number in range(COUNT)
    ]
    Email.objects.bulk_create(emails, batch_size=200)


call_command("migrate", verbosity=0)
enqueue(json.load(sys.stdin))
mail.send_queued_mail_until_done(lockfile=str(FOLDER / "lock"))
sent = Email.objects.filter(status=STATUS.sent).count()
assert sent == COUNT, f"{sent} of {COUNT} were sent"
