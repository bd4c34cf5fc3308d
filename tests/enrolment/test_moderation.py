"""The owner's decisions about an affiliate."""

from __future__ import annotations

from portal.affiliates.models import AffiliateState
from portal.enrolment import signup_rules
from tests.enrolment.support import account_of, messages, newest_affiliate, sign_up


def test_the_owner_declines_or_approves_an_application_and_a_second_click_changes_nothing(
    owner, stranger, client
):
    signup_rules.save_rules(account_of().id, signup_rules.Rules(auto_approve=False, confirm=False))
    sign_up(client)
    page = f"/affiliates/{newest_affiliate().id}"
    assert stranger.get(page).status_code == 404
    assert client.get(page).status_code == 303
    assert "This application is waiting for a decision" in owner.get(page).get_data(as_text=True)
    for _ in range(2):
        assert owner.submit(f"{page}/decline", {"reason": "Too early"}, page=page).status_code == 303
    assert len(messages("declined")) == 1
    assert "Too early" in messages("declined")[0].text
    for _ in range(2):
        assert owner.submit(f"{page}/approve", {}, page=page).status_code == 303
    assert len(messages("approved")) == 1
    assert stranger.submit(f"{page}/suspend", {}, page="/affiliates/rules").status_code == 404
    owner.submit(f"{page}/suspend", {}, page=page)
    assert newest_affiliate().state is AffiliateState.SUSPENDED
    assert owner.get(page).status_code == 200
    owner.submit(f"{page}/unsuspend", {}, page=page)
    assert newest_affiliate().state is AffiliateState.ACTIVE
