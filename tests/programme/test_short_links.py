"""Short links redirect to the shop of their programme only, pass the code on and count visits."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import event, select

from portal.accounts import standing
from portal.accounts.models import Account, LinkForm
from portal.affiliates.models import AffiliateState
from portal.clock import utcnow
from portal.db import db
from portal.programme.models import VisitCount
from portal.programme.short_links import forget_targets
from tests.enrolment.support import account_of
from tests.imports.test_importing import own_server
from tests.programme.conftest import SHOP, add_affiliate

pytestmark = pytest.mark.both_databases


def test_a_visit_is_redirected_with_the_code_and_counted(set_shop, grace, visit, counted):
    set_shop()
    answer = visit(f"/r/{grace.code}")
    assert (answer.status_code, answer.location) == (302, f"{SHOP}?ref={grace.code}")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers
    assert counted(grace.id) == (1, 1, 0)


def test_punctuation_after_a_link_in_a_sentence_is_no_part_of_it(app, set_shop, grace, visit):
    set_shop()
    for end in ("/", ".", "),", "?!"):
        assert visit(f"/r/{grace.code}{end}").location.endswith(f"?ref={grace.code}"), end
    account_of().approved_at = None
    db.session.commit()
    forget_targets(app)
    assert visit(f"/r/{grace.code}/").status_code == 200  # the page that asks
    assert visit("/r/...").status_code == visit("/r//").status_code == 404


def test_the_same_visitor_counts_once_a_day_and_others_apart(set_shop, grace, visit, counted):
    set_shop()
    for address in ("192.0.2.7", "192.0.2.7", "192.0.2.8"):
        visit(f"/r/{grace.code}", address=address)
    assert counted(grace.id) == (3, 2, 0)
    visit(f"/r/{grace.code}")
    assert counted(grace.id) == (4, 2, 0)


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("HEAD", {}),
        ("GET", {"User_Agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}),
        ("GET", {"User_Agent": "WhatsApp/2.23.20.0"}),
        ("GET", {"User_Agent": "curl/8.5.0"}),
        ("GET", {"User_Agent": ""}),
        ("GET", {"Sec_Purpose": "prefetch;prerender"}),
        ("GET", {"Purpose": "prefetch"}),
        ("GET", {"X_Moz": "prefetch"}),
        ("GET", {"Sec_Fetch_Dest": "image"}),
        ("GET", {"Sec_Fetch_Dest": "iframe"}),
    ],
)
def test_bots_prefetches_and_embedded_requests_are_counted_apart(
    set_shop, grace, visit, counted, method, headers
):
    set_shop()
    assert visit(f"/r/{grace.code}", method=method, **headers).location == f"{SHOP}?ref={grace.code}"
    assert counted(grace.id) == (0, 0, 1)


@pytest.mark.parametrize(
    "user_agent",
    [
        "Mozilla/5.0 (Linux; Android 11; CUBOT_X30) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Instagram 333.0",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/131.0.0.0 Safari/537.36",
    ],
)
def test_unusual_browsers_are_people(set_shop, grace, visit, counted, user_agent):
    set_shop()
    visit(f"/r/{grace.code}", User_Agent=user_agent, Sec_Fetch_Dest="document")
    assert counted(grace.id) == (1, 1, 0)


def test_nothing_about_the_visitor_is_stored(set_shop, grace, visit, counted):
    set_shop()
    visit(f"/r/{grace.code}", address="192.0.2.99")
    counted(grace.id)
    row = db.session.scalars(select(VisitCount)).one()
    assert {column.name for column in VisitCount.__table__.columns} == {
        "affiliate_id", "day", "visits", "visitors", "others"
    }  # fmt: skip
    assert row.day == utcnow().date()


def test_a_changed_shop_address_changes_the_next_redirect(set_shop, grace, visit):
    set_shop()
    visit(f"/r/{grace.code}")
    set_shop(shop_url="https://new.example/shop?lang=en&ref=old#top")
    assert visit(f"/r/{grace.code}").location == f"https://new.example/shop?lang=en&ref={grace.code}#top"


def test_the_link_leads_to_the_shop_only(set_shop, grace, visit):
    set_shop()
    for more in ("?to=https://evil.example", "?url=//evil.example", "?ref=OTHER", "?next=%0d%0aX:%20y"):
        answer = visit(f"/r/{grace.code}{more}")
        assert answer.location == f"{SHOP}?ref={grace.code}", more
    for path in (
        f"/r/{grace.code}/https://evil.example",
        f"/r//evil.example/{grace.code}",
        f"/r/{grace.code}%0d%0aLocation:%20https:%2f%2fevil.example",
        f"/r/{grace.code}%00",
        "/r/%F0%9F%98%80",
        f"/r/{'A' * 5000}",
        "/r/",
    ):
        answer = visit(path)
        assert answer.status_code == 404, path
        assert "Location" not in answer.headers


def test_an_unknown_code_is_not_found_and_counts_nothing(set_shop, grace, visit, counted):
    set_shop()
    answer = visit("/r/ZZZZZZZZ")
    page = answer.get_data(as_text=True)
    assert answer.status_code == 404
    assert "This link does not work" in page
    assert "Grace" not in page
    assert counted(grace.id) == (0, 0, 0)


def test_a_code_costs_one_read_whether_it_is_known_or_not(app, set_shop, grace, visit):
    set_shop()
    found = []

    class NotingCursor(psycopg.Cursor):
        def execute(self, query, *args, **more):
            found.append(query)
            return super().execute(query, *args, **more)

    def note(driver, record, _proxy):  # prepared statements run on the cursor of the driver
        if isinstance(driver, psycopg.Connection):
            driver.cursor_factory = NotingCursor
            record.info.pop("cursor", None)  # that of db/postgresql.py, so that it is made anew
        else:
            driver.set_trace_callback(found.append)

    for engine in db.engines.values():
        event.listen(engine, "checkout", note)
    for code in ("ZZZZZZZZ", "zzzzzzzz", grace.code.lower()):
        found.clear()
        visit(f"/r/{code}")
        assert len([one for one in found if one.startswith("SELECT")]) == 1, found


def test_lower_case_is_understood(set_shop, grace, visit):
    set_shop()
    assert visit(f"/r/{grace.code.lower()}").location == f"{SHOP}?ref={grace.code}"


def test_without_a_shop_address_the_page_names_the_programme_only(grace, visit, counted):
    answer = visit(f"/r/{grace.code}")
    page = answer.get_data(as_text=True)
    assert answer.status_code == 404
    assert "Brightleaf" in page
    assert "does not lead to the shop yet" in page
    assert "Grace" not in page
    assert grace.code not in page.replace(f"/r/{grace.code}", "")
    assert counted(grace.id) == (0, 0, 0)


@pytest.mark.parametrize(
    "state", [AffiliateState.PENDING, AffiliateState.SUSPENDED, AffiliateState.UNCONFIRMED]
)
def test_the_code_of_an_affiliate_who_takes_no_part_is_not_passed_on(set_shop, grace, visit, counted, state):
    set_shop()
    grace.state = state
    db.session.commit()
    assert visit(f"/r/{grace.code}").location == SHOP
    assert counted(grace.id) == (0, 0, 0)


def test_each_code_leads_to_the_shop_of_its_own_programme(set_shop, grace, visit, stranger):
    set_shop()
    other = add_affiliate("copperpot", "Bob", "bob@example.org")
    account_of("copperpot").shop_url = "https://copper.example/"
    db.session.commit()
    assert visit(f"/r/{other.code}").location == f"https://copper.example/?ref={other.code}"
    assert visit(f"/r/{grace.code}").location == f"{SHOP}?ref={grace.code}"


def test_links_lead_to_the_shop_while_the_account_is_suspended(app, set_shop, grace, visit):
    set_shop()
    standing.suspend(account_of().id, reason="unpaid", now=utcnow())
    assert visit(f"/r/{grace.code}").location == f"{SHOP}?ref={grace.code}"


def test_a_link_of_an_unapproved_account_asks_before_it_leaves_the_portal(
    app, set_shop, grace, visit, counted
):
    set_shop(link_form=LinkForm.PARAMETER)
    account_of().approved_at = None
    db.session.commit()
    answer = visit(f"/r/{grace.code}")
    page = answer.get_data(as_text=True)
    assert answer.status_code == 200
    assert "You are leaving this site" in page
    assert f'href="{SHOP}?ref={grace.code}"' in page
    assert counted(grace.id) == (1, 1, 0)


def test_settings_of_its_own_do_not_let_an_unapproved_account_redirect_at_once(app, set_shop, grace, visit):
    """A visitor who registered can make any settings live without a check."""
    set_shop()
    account_of().approved_at = None
    own_server(account_of().id)
    forget_targets(app)
    assert visit(f"/r/{grace.code}").status_code == 200


def test_visits_of_an_erased_affiliate_are_dropped(app, set_shop, grace, visit, counted):
    set_shop()
    other = add_affiliate(name="Bob", mailbox="bob@example.org")
    for affiliate in (grace, other):
        visit(f"/r/{affiliate.code}")
    gone = other.id
    db.session.delete(other)
    db.session.commit()
    assert counted(grace.id) == (1, 1, 0)
    assert counted(gone) == (0, 0, 0)


def test_deleting_an_affiliate_deletes_the_counts(set_shop, grace, visit, counted):
    set_shop()
    visit(f"/r/{grace.code}")
    counted(grace.id)
    db.session.delete(grace)
    db.session.commit()
    assert db.session.scalar(select(VisitCount.visits)) is None


def test_links_of_before_lead_on_once_there_is_a_shop(set_shop, grace, visit, stranger):
    old = f"/join/brightleaf?ref={grace.code}"
    assert visit(old).status_code == 200, "the sign-up page"
    set_shop()
    assert visit(old).location == f"/r/{grace.code}"
    for other in ("/join/brightleaf", "/join/brightleaf?ref=ZZZZZZZZ", f"/join/copperpot?ref={grace.code}"):
        assert visit(other).status_code == 200, other


# -- reports of the shop's script


def test_reported_visits_count_where_links_are_not_short_ones(app, set_shop, grace, visit, counted):
    set_shop(link_form=LinkForm.PARAMETER)
    answer = visit(f"/r/{grace.code}", method="POST", Origin="https://shop.brightleaf.example")
    assert (answer.status_code, answer.get_data()) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Set-Cookie" not in answer.headers
    assert counted(grace.id) == (1, 1, 0)
    assert db.session.get(Account, grace.account_id).script_seen_at is not None


def test_a_short_link_is_not_counted_twice(set_shop, grace, visit, counted):
    set_shop()
    visit(f"/r/{grace.code}")
    visit(f"/r/{grace.code}", method="POST")
    assert counted(grace.id) == (1, 1, 0), "its redirect has counted it"
    set_shop(link_form=LinkForm.PARAMETER)
    assert visit(f"/r/{grace.code}").location == f"{SHOP}?ref={grace.code}&ref_counted=1"


def test_reports_of_bots_unknown_codes_and_missing_shops_count_nothing(set_shop, grace, visit, counted):
    assert visit(f"/r/{grace.code}", method="POST").status_code == 204
    set_shop(link_form=LinkForm.PARAMETER)
    assert visit(f"/r/{grace.code}", method="POST", User_Agent="curl/8.5.0").status_code == 204
    assert visit("/r/ZZZZZZZZ", method="POST").status_code == 204
    assert visit("/r/%00", method="POST").status_code == 204
    assert counted(grace.id) == (0, 0, 0)
