"""Preferences and one-click unsubscribe of an affiliate."""

from __future__ import annotations

from portal.affiliates import page_keys, suppressions
from portal.affiliates.models import SuppressionReason
from portal.enrolment import signup_rules
from tests.enrolment.support import account_of, newest_affiliate, sign_up


def test_one_click_unsubscribes_without_a_cookie_or_csrf_token_and_a_get_does_not(owner, client):
    signup_rules.save_rules(account_of().id, signup_rules.Rules(confirm=False))
    sign_up(client)
    key = page_keys.open_keys(newest_affiliate()).preferences
    path = f"/unsubscribe/{key}/weekly-summary"
    assert client.get(path).headers["Referrer-Policy"] == "no-referrer"
    assert suppressions.find_suppression(account_of().id, "grace@example.org") is None
    for _ in range(2):
        answer = client.post(path, data={"List-Unsubscribe": "One-Click"})
        assert answer.status_code == 200
    row = suppressions.find_suppression(account_of().id, "grace@example.org")
    assert row.reason is SuppressionReason.UNSUBSCRIBED
    for unknown in ("/unsubscribe/x/weekly-summary", f"/unsubscribe/{key}/new-sign-up", "/preferences/x"):
        assert client.post(unknown).status_code in (400, 404)
        assert client.get(unknown).status_code == 404
    assert "blocked addresses" in owner.get("/affiliates/not-written-to").get_data(as_text=True).lower()
    preferences = f"/preferences/{key}"
    page = client.get(preferences).get_data(as_text=True)
    assert "When someone buys through your link." in page
    assert "an affiliate’s link" not in page, "the text addresses the affiliate"
    assert client.submit(preferences, {"kind": ["weekly-summary"]}).status_code == 303
    assert suppressions.find_suppression(account_of().id, "grace@example.org") is None
    assert "new-lead" in suppressions.opted_out(newest_affiliate().id)
    assert client.submit(preferences, {"essential_only": "1", "kind": "new-lead"}).status_code == 303
    assert "weekly-summary" in suppressions.opted_out(newest_affiliate().id)
