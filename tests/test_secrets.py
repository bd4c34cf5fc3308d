"""A unique password passes through all parts of the portal; then files, logs and pages are searched for it."""

import base64
import logging
import sqlite3
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from portal.clock import utcnow
from portal.outbox.routing import Route
from portal.outbox.sending.drain import drain_queue
from portal.outbox.store.due import due_queues
from portal.settings import check
from portal.settings.checking import due_checks
from portal.settings.validation import SettingsInput
from portal.smtp.server import Secret, Security, Server
from tests.conftest import PASSWORD as OWNERS_PASSWORD
from tests.conftest import make_config
from tests.outbox.support import LIMITS, answering, enqueue_message, honest
from tests.pages import LintingClient
from tests.settings.conftest import PAGE
from tests.smtp import badserver
from tests.smtp.badserver import BadServer

CANARY = "Canary-8Ü #birdsong"


def encodings_of(secret):
    """Return the encodings in which a secret could be stored or printed, as bytes."""
    raw = secret.encode()
    found = {
        "raw": raw,
        "url": quote(secret).encode(),
        "form": quote_plus(secret).encode(),
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "utf-16-le": secret.encode("utf-16-le"),
        "utf-16-be": secret.encode("utf-16-be"),
        "escaped": secret.encode("unicode_escape"),
        "repr of bytes": repr(raw)[2:-1].encode(),
        "html": secret.encode("ascii", "xmlcharrefreplace"),
    }
    for shift in range(3):  # at every offset within a longer text
        whole = base64.b64encode(b"\0" * shift + raw)
        found[f"base64 at {shift}"] = whole[4 if shift else 0 : -4]
    return found


def hits(places, secrets=(CANARY,)):
    return [
        (place, name)
        for place, data in places.items()
        for secret in secrets
        for name, octets in encodings_of(secret).items()
        if octets in data
    ]


@pytest.fixture
def server():
    with BadServer(honest()) as found:
        yield found


@pytest.fixture
def config(tmp_path, server):
    env = {
        "SIGNET_SMTP_PORTS": str(server.port),
        "SIGNET_SMTP_PRIVATE": f"127.0.0.0/8:{server.port} ::1/128:{server.port}",
        "SIGNET_SMTP_CA_FILE": badserver.ca_file(),
        "MAIL_PASSWORD": CANARY,
        "MAIL_PORT": str(server.port),
        "MAIL_USE_TLS": "0",
        "MAIL_USE_SSL": "1",
    }
    return make_config(tmp_path / "instance", env=env, lease=20.0, limits=LIMITS)


@pytest.fixture
def pages():
    """Every response that a browser received."""
    return []


@pytest.fixture
def app(app, pages):
    class RecordingClient(LintingClient):
        def open(self, *args, **kwargs):
            response = super().open(*args, **kwargs)
            pages.append(response.get_data() + repr(sorted(response.headers)).encode())
            return response

    app.test_client_class = RecordingClient
    return app


def work():
    for _, id_ in due_checks.find_due_work(utcnow()):
        check.run(id_)
    for id_ in due_queues(utcnow()):
        drain_queue(id_)


def use_the_portal(app, owner, server):
    form = {
        "host": "localhost",
        "username": "ada@brightleaf.example",
        "password": CANARY,
        "security": "implicit",
        "port": str(server.port),
        "mechanism": "automatic",
    }
    owner.submit(PAGE, form | {"domain": "no domain"})  # rejected and shown again
    owner.submit(PAGE, form)
    work()
    visitor = app.test_client()
    visitor.submit("/join/brightleaf", {"name": "Bob", "mailbox": "bob@example.net", "consent": "y"})
    enqueue_message(None, "reset-1", text="Hello")
    work()
    for script in (answering(AUTH=b"535 5.7.8 no\r\n"), answering(EHLO=b"250-x\r\n250 AUTH PLAIN LOGIN\r\n")):
        server.script = script
        owner.submit(f"{PAGE}/test", {}, page=PAGE)
        owner.submit(f"{PAGE}/versions/1/check", {}, page=PAGE)
        work()
    for mechanism in ("plain", "login", "cram-md5"):
        owner.submit(PAGE, form | {"mechanism": mechanism})
        work()
    owner.post(PAGE, data={"csrf_token": "stale", **form})
    for path in (PAGE, "/deliveries", "/deliveries/1", "/deliveries/2", "/affiliates", "/account"):
        owner.get(path)


def places_searched(config, caplog, capfd, pages):
    places = {str(path): path.read_bytes() for path in Path(config.instance).rglob("*") if path.is_file()}
    out, err = capfd.readouterr()
    places |= {"log": caplog.text.encode(), "records": repr([r.__dict__ for r in caplog.records]).encode()}
    places |= {"stdout": out.encode(), "stderr": err.encode(), "pages": b"".join(pages)}
    return places


def test_the_password_is_in_no_file_log_or_page(app, owner, server, config, caplog, capfd, pages):
    caplog.set_level(logging.DEBUG)
    use_the_portal(app, owner, server)
    was_sent = any(
        octets in bytes(server.received)
        for name, octets in encodings_of("\0" + CANARY).items()
        if "64" in name
    )
    assert was_sent, "the server received the password, so it was in use"
    places = places_searched(config, caplog, capfd, pages)
    assert {"portal.sqlite", "jobs.sqlite"} <= {Path(place).name for place in places}
    assert len(pages) > 25
    assert hits(places) == []
    assert hits({"pages": places["pages"], "log": places["log"]}, [OWNERS_PASSWORD]) == []


def test_a_stored_password_is_found(config, tmp_path):
    """The control: the search finds a secret in every encoding and in a database file."""
    for name, octets in encodings_of(CANARY).items():
        assert hits({"place": b"x" * 7 + octets + b"y"}), name
    path = tmp_path / "planted.sqlite"
    with sqlite3.connect(path) as planted:
        planted.execute("CREATE TABLE t (x)")
        planted.execute("INSERT INTO t VALUES (?)", [CANARY])
    assert hits({"planted": path.read_bytes()})


def test_no_repr_contains_a_password(config):
    server = Server("h", 1, Security.STARTTLS, "u", Secret(CANARY))
    settings_input = SettingsInput(
        **(dict.fromkeys(SettingsInput.__dataclass_fields__, "") | {"password": CANARY})
    )
    platform = replace(config.platform, password=CANARY)
    for thing in (
        Secret(CANARY),
        server,
        Route(server, "a@b.example", "B"),
        settings_input,
        platform,
        config,
    ):
        assert CANARY not in repr(thing), type(thing)
        assert CANARY not in str(thing), type(thing)
