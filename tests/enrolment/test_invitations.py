"""Invitations by email."""

from __future__ import annotations

from portal.affiliates import suppressions
from portal.affiliates.models import AffiliateState
from portal.clock import utcnow
from tests.enrolment.support import account_of, messages, newest_affiliate, path_in


def test_an_invited_person_joins_by_the_link_and_a_suppressed_mailbox_is_not_invited(owner, client):
    form = {"name": "Grace Hopper", "mailbox": "grace@example.org", "message": "Hello\nfrom us"}
    assert owner.submit("/affiliates/invite", form).status_code == 303
    [mail] = messages("invited")
    assert mail.unsubscribe_url
    path = path_in("invited", "invitation")
    assert client.submit(path, {}).status_code == 422
    assert client.submit(path, {"consent": "y"}).status_code == 303
    assert newest_affiliate().state is AffiliateState.ACTIVE
    assert newest_affiliate().consented_at
    for page in (
        "/events",
        "/affiliates",
        "/affiliates?status=invited",
        f"/affiliates/{newest_affiliate().id}",
    ):
        text = owner.get(page).get_data(as_text=True)
        assert path.rpartition("/")[2] not in text
    assert "By your invitation" in text
    assert "On your sign-up page" not in text
    mail = messages("new-sign-up")[-1]
    assert "By your invitation" in owner.get(f"/deliveries/{mail.id}").get_data(as_text=True)
    suppressions.add(account_of().id, "bob@example.org", "", now=utcnow())
    refused = owner.submit("/affiliates/invite", form | {"mailbox": "bob@example.org"})
    assert refused.status_code == 422
    assert "not written to" in refused.get_data(as_text=True)
