"""A saved password is sent only to the server and for the user that it was saved for."""

from itertools import combinations

import pytest
from sqlalchemy import text

from portal.db import db
from portal.outbox.models import Status
from portal.outbox.queue import release
from portal.outbox.sending.drain import drain_queue
from portal.settings import check, credentials
from portal.settings.models import SmtpSettings
from portal.state import get_state
from portal.vault import DecryptionError
from tests.outbox.support import enqueue_message, message, queue, statuses
from tests.settings.conftest import PAGE, checks, save, text_of, versions, work
from tests.smtp.badserver import PASSWORD


def changes(servers):
    return {
        "host": "127.0.0.1",
        "port": str(servers.two.port),
        "security": "starttls",
        "username": "eve@brightleaf.example",
    }


FIELDS = ("host", "port", "security", "username")
SETS = [*((one,) for one in FIELDS), *combinations(FIELDS, 2)]


def reset(servers):
    """Clear the received octets; the check of version 1 has sent the password to the first server."""
    for server in (servers.one, servers.two):
        server.received.clear()


def password_received(servers):
    return servers.one.received_secret() or servers.two.received_secret()


def test_a_blank_password_is_refused_for_a_changed_destination(owner, live, form, servers):
    for names in SETS:
        reset(servers)
        answer = save(owner, form, password="", **{name: changes(servers)[name] for name in names})
        assert answer.status_code == 422, names
        assert "enter the SMTP password again" in text_of(answer)
        assert len(versions()) == 1
        work()
        assert not password_received(servers), names


def write(values):
    """Write to the table like an attacker with access to the database and without the key."""
    sets = ", ".join(f"{name} = :{name}" for name in values)
    db.session.execute(text(f"UPDATE smtp_settings SET {sets}"), values)
    db.session.commit()


@pytest.fixture
def tampered(live, servers):
    """Return a generator that changes the destination in the row in every way, each starting from the original."""
    original = {name: getattr(live, name) for name in FIELDS}

    def each():
        for names in SETS:
            reset(servers)
            write(original | {name: changes(servers)[name] for name in names})
            yield names
            assert not password_received(servers), names

    return each


def test_a_check_does_not_send_the_password_of_a_tampered_row(owner, live, tampered):
    for names in tampered():
        owner.submit(f"{PAGE}/versions/1/check", {}, page=PAGE)
        check.run(live.id)
        assert checks()[-1].diagnosis["code"] == "password-not-openable", names


def test_a_drain_does_not_send_the_password_of_a_tampered_row(owner, live, tampered):
    for names in tampered():
        release(live.account_id)
        enqueue_message(live.account_id, "-".join(names))
        drain_queue(live.account_id)
        assert statuses(live.account_id)[-1] is Status.HELD, names
        assert queue(live.account_id).hold_diagnosis["code"] == "password-not-openable"


COSMETIC = {
    "capitals": {"host": "LocalHost"},
    "a trailing dot": {"host": "localhost."},
    "spaces around": {"host": "  localhost ", "username": " ada@brightleaf.example ", "port": " {port} "},
    "full-width letters": {"host": "ｌｏｃａｌｈｏｓｔ"},
    "another mechanism": {"mechanism": "plain"},
    "another sender": {
        "wrapped_user": "support",
        "from_name": "Bright Leaf",
        "domain": "news.brightleaf.example",
    },
}


@pytest.mark.parametrize("what", COSMETIC)
def test_a_cosmetic_change_keeps_the_password(owner, live, form, servers, what):
    changed = {name: value.format(port=servers.one.port) for name, value in COSMETIC[what].items()}
    assert save(owner, form, password="", **changed).status_code == 303
    work()
    assert [version.state for version in versions()] == ["retired", "live"]
    assert versions()[1].password_saved_at == live.password_saved_at
    assert not servers.two.received_secret()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"host": "smtp.bücher.example"}, {"host": "smtp.xn--bcher-kva.example"}),
        ({"port": "465", "security": "implicit"}, {"port": "", "security": "implicit"}),
        ({"port": "", "security": "starttls"}, {"port": "587", "security": "starttls"}),
    ],
)
def test_two_spellings_of_one_destination_are_the_same(owner, form, first, second):
    save(owner, form, **({"host": "smtp.example.com"} | first))
    assert save(owner, form, password="", **({"host": "smtp.example.com"} | second)).status_code == 303
    assert len(versions()) == 2


def test_a_first_save_requires_a_password(owner, form):
    answer = save(owner, form, password="")
    assert answer.status_code == 422
    assert "Enter the SMTP password." in text_of(answer)


COLUMNS = {
    "account_id": 99,
    "number": 2,
    "host": "other.example",
    "port": 25,
    "security": "starttls",
    "mechanism": "plain",
    "username": "eve@brightleaf.example",
}


@pytest.mark.parametrize("column", COLUMNS)
def test_a_ciphertext_opens_only_with_the_values_of_its_row(owner, live, column):
    row = db.session.get_one(SmtpSettings, live.id)
    assert credentials.open_password(row) == PASSWORD
    db.session.expunge(row)
    setattr(row, column, COLUMNS[column])
    with pytest.raises(DecryptionError):
        credentials.open_password(row)


def test_a_ciphertext_moved_to_another_account_does_not_open(owner, stranger, live, form):
    save(stranger, form)
    mine, theirs = versions()
    theirs.sealed_password = mine.sealed_password
    with pytest.raises(DecryptionError):
        credentials.open_password(theirs)


def test_each_check_uses_the_settings_of_its_own_version(owner, form, servers):
    """Of two versions that are saved before the worker runs, the second is checked, with its own password and server."""
    save(owner, form, password="for the first")
    save(owner, form, password="for the second", port=str(servers.two.port))
    work()
    assert auth_plain(servers.one) == b""
    assert auth_plain(servers.two).endswith(b"for the second")
    assert [version.state for version in versions()] == ["draft", "live"]
    save(owner, form, password="for the third")
    work()
    assert auth_plain(servers.one).endswith(b"for the third")
    assert [version.state for version in versions()] == ["draft", "retired", "live"]


def auth_plain(server):
    from base64 import b64decode

    auth = [line for line in bytes(server.received).split(b"\r\n") if line.startswith(b"AUTH PLAIN ")]
    return b"".join(b64decode(line.split()[2]) for line in auth)


def test_a_changed_key_requires_the_password_again_and_holds_the_queue(app, owner, live, form):
    from portal.vault import Vault, new_key

    get_state(app).vault = Vault(new_key())
    assert save(owner, form, password="").status_code == 422
    enqueue_message(live.account_id, "m")
    drain_queue(live.account_id)
    assert statuses(live.account_id)[-1] is Status.HELD
    assert "cannot decrypt the saved SMTP password" in text_of(owner.get(PAGE))


def test_a_removed_key_holds_the_queue_and_a_restored_one_releases_it(app, owner, live, form, servers):
    from portal.outbox.store import recovery
    from portal.vault import Vault, new_key

    vault = get_state(app).vault
    ids = [enqueue_message(live.account_id, f"m{number}") for number in range(3)]
    get_state(app).vault = Vault(new_key())
    recovery.on_start()
    drain_queue(live.account_id)
    assert [message(id_).status for id_ in ids] == [Status.HELD] * 3
    assert queue(live.account_id).hold_diagnosis["code"] == "password-not-openable"
    assert "key" in " ".join(queue(live.account_id).hold_diagnosis["fixes"]), "the fix names the key"
    assert {message(id_).attempts for id_ in ids} == {0}
    get_state(app).vault = vault
    recovery.on_start()  # as at the start of a worker with the restored key
    drain_queue(live.account_id)
    assert [message(id_).status for id_ in ids] == [Status.SENT] * 3
    assert {message(id_).attempts for id_ in ids} == {1}
