"""A client secret and a token pass through pages, check, queue and key rotation; then everything is searched for them."""

from __future__ import annotations

import base64
import logging

from portal.operations import reseal
from portal.outbox.models import Status
from portal.outbox.sending.drain import drain_queue
from portal.state import get_state
from portal.vault import Vault, key_id
from tests.conftest import KEYRING
from tests.oauth.conftest import FORM, MICROSOFT, SECRET, grants
from tests.outbox.support import enqueue_message, message
from tests.settings.conftest import PAGE, versions, work
from tests.test_secrets import hits, places_searched

TOKENS = tuple(f"canary-token-{number}" for number in range(1, 5))
NEW = "k2:" + base64.b64encode(bytes(range(100, 132))).decode()


def test_neither_secret_nor_token_is_in_a_file_log_or_page(app, owner, provider, config, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    pages = [owner.submit(MICROSOFT, FORM | {"tenant": "common"}).get_data()]
    owner.submit(MICROSOFT, FORM)
    work()
    provider.issuer.revoke_all()
    enqueue_message(versions()[0].account_id, "one")
    drain_queue(versions()[0].account_id)
    provider.issuer.script = lambda form: (400, {"error": "invalid_client", "error_description": str(form)})
    owner.submit(f"{PAGE}/versions/1/check", {}, page=PAGE)
    work()
    pages += [
        owner.get(path).get_data() for path in (PAGE, MICROSOFT, "/deliveries", "/deliveries/1", "/incidents")
    ]
    places = places_searched(config, caplog, capfd, pages)
    assert not hits(places, (SECRET, *TOKENS))
    assert any(form.get("client_secret") == SECRET for _, form in provider.issuer.requests), "it was sent"


def test_a_key_rotation_seals_both_secrets_again(app, owner, provider):
    owner.submit(MICROSOFT, FORM)
    work()
    get_state(app).vault = Vault(f"{NEW};{KEYRING}")
    for kind in reseal.KINDS[:-1]:
        reseal.reseal_rows(kind, batch=10, on_progress=lambda _: None)
    (grant,) = grants()
    assert {key_id(grant.sealed_secret), key_id(grant.sealed_access)} == {"k2"}
    get_state(app).vault = Vault(NEW)
    id_ = enqueue_message(versions()[0].account_id, "one")
    drain_queue(versions()[0].account_id)
    assert message(id_).status is Status.SENT
    assert len(provider.issuer.requests) == 1
