"""The page Sending domain: its content, access and operations."""

from __future__ import annotations

from sqlalchemy import select

from portal.clock import utcnow
from portal.db import db
from portal.domains import checks
from portal.domains.models import DomainCheck, DomainCheckState
from portal.web import owner_limits
from tests.domains.conftest import FORM, PAGE, SETTINGS, the_check, work
from tests.domains.zones import text

OTHER = {"domain": "other.shop.example", "username": "postmaster@other.shop.example"}


def html(response):
    return response.get_data(as_text=True)


def test_without_settings_the_page_states_that_no_domain_sends(owner):
    page = html(owner.get(PAGE))
    assert "No domain set up yet" in page


def test_the_page_is_a_tab_of_email_preferences(owner):
    assert f'href="{PAGE}"' in html(owner.get(SETTINGS))


def test_without_a_login_the_page_redirects_to_it(client):
    answer = client.get(PAGE)
    assert answer.status_code == 303
    assert answer.location.startswith("/log-in")
    assert client.post(f"{PAGE}/versions/1/check").status_code == 400


def test_another_owner_gets_404(draft, stranger):
    assert stranger.get(f"{PAGE}?version=1").status_code == 404
    for operation in ("check", "selectors", "selectors/forget"):
        answer = stranger.submit(f"{PAGE}/versions/1/{operation}", {"selector": "s1"}, page=SETTINGS)
        assert answer.status_code == 404


def test_a_check_shows_its_progress_and_then_the_status(draft, owner):
    page = html(owner.get(PAGE))
    assert "Not checked yet" in page
    answer = owner.submit(f"{PAGE}/versions/1/check", {}, page=PAGE)
    assert answer.status_code == 303
    page = html(owner.get(answer.location))
    assert 'data-live="on"' in page
    assert "Refresh" in page
    assert 'http-equiv="refresh"' in page
    work()
    page = html(owner.get(answer.location))
    assert 'data-live="off"' in page
    assert "No problems" in page
    assert "Check again" in page


def test_the_recommended_record_is_shown_beside_the_published_one(live, owner, zones):
    zones.put("shop.example", "TXT", "v=spf1 include:_spf.google.com -all")
    work()
    page = html(owner.get(PAGE))
    assert "At risk" in page
    assert "v=spf1 include:_spf.google.com -all" in page
    assert "v=spf1 include:_spf.google.com include:mailgun.org -all" in page
    assert 'data-copy="spf-value-1"' in page
    assert "Replace the current record with this one." in page


def test_the_reasons_of_a_verdict_are_in_the_language_of_the_reader(live, owner, zones):
    zones.put("shop.example", "TXT", "v=spf1 include:_spf.google.com -all")
    work()
    owner.submit("/account/language", {"language": "de"}, page="/account")
    for path in (PAGE, "/"):
        page = " ".join(html(owner.get(path)).split())
        for reason in the_check().findings["why"]:
            assert reason not in page, path
    assert "Gefährdet" in html(owner.get(PAGE))


def test_records_are_escaped(live, owner, zones):
    zones.zone[("shop.example", "TXT")] = [
        text('v=spf1 include:mailgun.org x="<script>alert(1)</script>" -all')
    ]
    zones.zone[("_dmarc.shop.example", "TXT")] = [
        text("v=DMARC1; p=none; x=<img src=x onerror=alert(1)>\x00")
    ]
    work()
    page = html(owner.get(PAGE))
    assert "<script>alert" not in page
    assert "<img src=x" not in page


def test_a_selector_is_added_queried_and_removed(draft, owner, zones):
    name = "20260301pm._domainkey.shop.example"
    answer = owner.submit(f"{PAGE}/versions/1/selectors", {"selector": f" {name}. "}, page=PAGE)
    assert answer.status_code == 303
    assert the_check().selectors == ["20260301pm"]
    work()
    assert (name, "TXT") in zones.queries
    assert name in html(owner.get(PAGE))
    owner.submit(f"{PAGE}/versions/1/selectors/forget", {"selector": "20260301pm"}, page=PAGE)
    assert the_check().selectors == []


def test_an_invalid_selector_is_refused_with_an_error(draft, owner):
    for selector in ("", "two words", "a..b", "-x", "é", "x" * 70):
        answer = owner.submit(f"{PAGE}/versions/1/selectors", {"selector": selector}, page=PAGE)
        assert answer.status_code == 422, selector
    assert "part before ._domainkey" in html(answer)


HEADERS = """Delivered-To: ada@example.org
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=mailgun.example;
 s=host; h=from; b=abc
DKIM-Signature: a=rsa-sha256; v=1; c=relaxed/relaxed;
 d=shop.example; q=dns/txt; s=pic42;
 h=Content-Type:From:Subject; bh=x;
 b=Zm9vYmFy
From: Shop <info@shop.example>
"""


def test_the_selector_is_taken_from_pasted_headers(draft, owner, zones):
    answer = owner.submit(f"{PAGE}/versions/1/selectors", {"selector": HEADERS}, page=PAGE)
    assert answer.status_code == 303
    assert the_check().selectors == ["pic42"]
    work()
    assert ("pic42._domainkey.shop.example", "TXT") in zones.queries


def test_headers_without_a_signature_of_the_domain_are_refused_and_kept(draft, owner):
    for pasted, sentence in (
        (HEADERS.replace("d=shop.example", "d=shop.test"), "only of mailgun.example, shop.test"),
        ("DKIM-Signature: v=1; d=shop.example", "do not contain a complete DKIM-Signature"),
    ):
        answer = owner.submit(f"{PAGE}/versions/1/selectors", {"selector": pasted}, page=PAGE)
        assert answer.status_code == 422
        assert sentence in html(answer)
        assert pasted.splitlines()[0] in html(answer)
    assert (
        owner.submit(f"{PAGE}/versions/1/selectors", {"selector": "x" * 20_001}, page=PAGE).status_code == 422
    )


def test_the_headline_states_no_risk_when_only_the_selector_is_unknown(draft, owner, zones):
    del zones.zone[("pdk1._domainkey.shop.example", "TXT")]
    zones.put("unheard-of._domainkey.shop.example", "TXT", "v=DKIM1; p=x")
    checks.request_check(draft, now=utcnow())
    work()
    page = html(owner.get(PAGE))
    assert "Unknown so far" in page
    assert "At risk" not in page
    assert "Source: RFC 6376 and RFC 8301, and the documentation of Mailgun." in page


def test_findings_stored_without_a_source_are_shown(draft, owner):
    checks.request_check(draft, now=utcnow())
    work()
    check = db.session.scalars(select(DomainCheck)).one()
    findings = [{k: v for k, v in one.items() if k != "says"} for one in check.findings["findings"]]
    check.findings = {**check.findings, "findings": findings}
    db.session.commit()
    assert "No problems" in html(owner.get(PAGE))


def test_the_newest_draft_is_shown_beside_the_live_version(live, owner):
    assert owner.submit(SETTINGS, FORM | OTHER).status_code == 303
    page = html(owner.get(PAGE))
    assert "info@shop.example" in page
    assert f"{PAGE}?version=2" in page
    assert "other.shop.example" in html(owner.get(f"{PAGE}?version=2"))
    assert owner.get(f"{PAGE}?version=3").status_code == 404
    assert owner.get(f"{PAGE}?version=x").status_code == 200


def test_too_many_checks_are_refused_with_a_page(draft, owner):
    for _ in range(owner_limits.DOMAIN_CHECKS.amount):
        checks.request_check(draft, now=utcnow())
    answer = owner.submit(f"{PAGE}/versions/1/check", {}, page=PAGE)
    assert answer.status_code == 429
    assert "thirty times an hour" in html(answer)


def test_a_pending_check_shows_the_previous_findings(draft, owner):
    checks.request_check(draft, now=utcnow())
    work()
    checks.request_check(draft, now=utcnow())
    assert the_check().state is DomainCheckState.WAITING
    page = html(owner.get(PAGE))
    assert "Checking" in page
    assert "No problems" in page


def test_a_change_for_the_worse_is_shown(live, owner, zones, clock):
    work()
    del zones.zone[("shop.example", "TXT")]
    clock.shift(90_000)
    work()
    assert "A new problem" in html(owner.get(PAGE))
