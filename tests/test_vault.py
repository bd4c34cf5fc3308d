"""The vault: what it can decrypt, what it cannot, and which keyrings it rejects."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portal import bootstrap, create_app
from portal.config import ConfigError
from portal.db import db
from portal.vault import DecryptionError, KeyringError, Vault, new_key
from tests.conftest import make_config

BINDING = {"kind": "smtp-password", "account": 1, "version": 2, "host": "smtp.example.com", "port": 587}
OLD, NEW = new_key(), new_key()


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_a_sealed_secret_can_be_opened(secret):
    vault = Vault(OLD)
    assert vault.open(vault.seal(secret, BINDING), BINDING) == secret


def test_sealing_the_same_secret_twice_gives_different_blobs():
    vault = Vault(OLD)
    assert vault.seal("x", BINDING) != vault.seal("x", BINDING)


@pytest.mark.parametrize("name", BINDING)
def test_a_blob_opens_only_with_its_binding(name):
    vault = Vault(OLD)
    blob = vault.seal("x", BINDING)
    without = {key: value for key, value in BINDING.items() if key != name}
    for other in (without, without | {name: "other"}, without | {name: str(BINDING[name]) + " "}):
        with pytest.raises(DecryptionError):
            vault.open(blob, other)


def test_different_bindings_are_never_serialised_alike():
    vault = Vault(OLD)
    blob = vault.seal("x", {"a": "1", "b": "2"})
    for other in ({"a": "1b2"}, {"ab": "12"}, {"a": 1, "b": "2"}, {"a": "1", "b": "2", "c": ""}, {}):
        with pytest.raises(DecryptionError):
            vault.open(blob, other)


def test_a_changed_or_missing_byte_makes_the_blob_undecryptable():
    vault = Vault(OLD)
    blob = vault.seal("secret", BINDING)
    for index in range(len(blob)):
        changed = bytearray(blob)
        changed[index] ^= 1
        with pytest.raises(DecryptionError):
            vault.open(bytes(changed), BINDING)
        with pytest.raises(DecryptionError):
            vault.open(blob[:index], BINDING)
    with pytest.raises(DecryptionError):
        vault.open(blob + b"x", BINDING)


def test_the_old_key_opens_and_the_new_key_seals():
    before = Vault(OLD).seal("x", BINDING)
    both = Vault(f"{NEW};{OLD}")
    assert both.open(before, BINDING) == "x"
    assert Vault(NEW).open(both.seal("y", BINDING), BINDING) == "y"
    with pytest.raises(DecryptionError):
        Vault(NEW).open(before, BINDING)


def key(key_bytes):
    return base64.b64encode(bytes(key_bytes)).decode()


SHARED = key(range(32))
BAD = {
    "": "no key",
    " ; ; ": "no key",
    key(range(32)): "no id",
    f":{key(range(32))}": "no id",
    f"é:{key(range(32))}": "no id",
    f"a:{key(range(31))}": "31 bytes",
    f"a:{key(range(33))}": "33 bytes",
    "a:": "0 bytes",
    "a:not base64!": "not base64",
    f"a:{key(range(32))};a:{key(range(1, 33))}": "twice",
    f"a:{SHARED}": "SECRET_KEY",
}


@pytest.mark.parametrize("ring", BAD)
def test_an_invalid_keyring_is_rejected_without_showing_a_key(ring):
    with pytest.raises(KeyringError) as refusal:
        Vault(ring, secret_key=SHARED if BAD[ring] == "SECRET_KEY" else "another secret")
    assert BAD[ring] in str(refusal.value)
    assert SHARED[:8] not in str(refusal.value)


def test_a_key_equal_to_the_secret_key_is_rejected():
    secret = "exactly thirty-two characters ok"
    with pytest.raises(KeyringError, match="SECRET_KEY"):
        Vault(f"a:{base64.b64encode(secret.encode()).decode()}", secret_key=secret)


def test_the_repr_of_a_vault_contains_no_key():
    assert SHARED not in repr(Vault(f"a:{SHARED}"))


def test_the_start_fails_with_the_wrong_keyring_and_names_the_right_place(tmp_path):
    instance = tmp_path / "instance"
    app = create_app(make_config(instance, env={"SIGNET_KEYS": OLD}))
    bootstrap.migrate(app)
    with app.app_context():
        db.engine.dispose()
    other = create_app(make_config(instance, env={"SIGNET_KEYS": NEW}))
    with pytest.raises(ConfigError) as refusal:
        bootstrap.require_ready(other)
    assert "SIGNET_KEYS" in str(refusal.value)
    assert str(instance / "keys") in str(refusal.value)
    bootstrap.require_ready(create_app(make_config(instance, env={"SIGNET_KEYS": f"{NEW};{OLD}"})))


def test_the_start_fails_without_tables(tmp_path):
    with pytest.raises(ConfigError, match=r"portal\.bootstrap"):
        bootstrap.require_ready(create_app(make_config(tmp_path / "instance")))


def test_secrets_are_created_once_and_readable_only_by_this_user(tmp_path):
    created = bootstrap.make_secrets(tmp_path / "instance")
    assert {path.name for path in created} == {"secret_key", "keys"}
    assert {path.stat().st_mode & 0o777 for path in created} == {0o600}
    before = [path.read_text() for path in created]
    assert bootstrap.make_secrets(tmp_path / "instance") == []
    assert [path.read_text() for path in created] == before
    assert len(list((tmp_path / "instance").iterdir())) == 2, "there are no other files"
