"""A server that refuses the EHLO name gets the sending domain as EHLO name after the fix."""

from __future__ import annotations

import re

from portal.db import db
from tests.outbox.support import answering
from tests.settings.conftest import PAGE, checks, save, versions, work
from tests.smtp.badserver import OFFER, Peer, ehlo_reply


def require_sending_domain(peer: Peer, line: bytes) -> None:
    if line.split()[1] == b"brightleaf.example":
        peer.send(ehlo_reply(OFFER))
    else:
        peer.send(b"550 5.7.1 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)\r\n")


def test_a_refused_ehlo_name_is_fixed_by_the_sending_domain(app, owner, servers, form):
    servers.one.script = answering(EHLO=require_sending_domain, HELO=require_sending_domain)
    save(owner, form)
    work()
    (check,) = checks()
    assert check.diagnosis["kind"] == "ehlo_name"
    assert check.fix["values"] == {"ehlo_name": "brightleaf.example"}
    assert "EHLO name" in owner.get(PAGE).get_data(as_text=True)

    owner.submit(f"{PAGE}/versions/1/apply", {}, page=PAGE)
    work()
    assert [version.state for version in versions()] == ["draft", "live"]
    db.session.rollback()

    # The form holds the EHLO name, so that the next version keeps it.
    page = owner.get(PAGE).get_data(as_text=True)
    assert re.search(r'name="ehlo_name"[^>]*value="brightleaf.example"', page)
    save(owner, form, from_name="Bright", password="", ehlo_name="brightleaf.example")
    work()
    assert versions()[-1].state == "live"
