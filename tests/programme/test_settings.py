"""The programme settings, and what every page and email says about links and visits because of them."""

from __future__ import annotations

import csv
import io
import re

import pytest

from portal.accounts.models import Account, LinkForm
from portal.affiliates import page_keys
from portal.api.ingest import simulate_event
from portal.api.serializers import event_json
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import signup_rules
from portal.programme import saving, short_links
from portal.web import static_files
from portal.web.static_files import SHOP_SCRIPT, integrity_of
from tests.cases import in_one_test
from tests.enrolment.support import GRACE, account_of, messages, newest_affiliate
from tests.imports.test_importing import own_server
from tests.pages import downloaded
from tests.pictures import png
from tests.programme.conftest import SHOP

FIELDS = {"shop_url": SHOP, "link_form": "short", "link_pattern": "", "visit_days": "30"}
FIELDS |= {"sign_ups_per_network": "20", "sign_ups_at_once": "20"}


def _dashboard(client, affiliate):
    return client.get(f"/affiliate/{page_keys.open_keys(affiliate).dashboard}").get_data(as_text=True)


def _export(owner):
    text = downloaded(owner, "/affiliates.csv").get_data(as_text=True)
    return list(csv.DictReader(io.StringIO(text.lstrip("\ufeff"))))


@pytest.mark.both_databases
def test_the_owner_saves_the_settings(owner):
    more = {
        "visit_days": "45",
        "commission": "15 % of each order",
        "description": "Tea from small gardens.",
        "terms_url": "shop.brightleaf.example/terms",
        "privacy_url": "https://shop.brightleaf.example/privacy",
    }
    answer = owner.submit("/programme", FIELDS | more)
    assert (answer.status_code, answer.location) == (303, "/programme")
    account = account_of()
    assert (account.shop_url, account.link_form, account.visit_days) == (SHOP, LinkForm.SHORT, 45)
    assert account.terms_url == "https://shop.brightleaf.example/terms"
    page = owner.get("/programme").get_data(as_text=True)
    assert "http://127.0.0.1/r/ADA7K2PQ" in page
    assert "Visits are counted." in page
    assert 'value="45"' in page
    assert "15 % of each order" in page


@in_one_test(
    ("field", "typed", "sentence"),
    [
        ("shop_url", "https://shop example", "Enter a web address"),
        ("shop_url", "http://127.0.0.1/x", "the address of this portal"),
        ("visit_days", "-1", "whole number from 0 to 365"),
        ("visit_days", "9999", "whole number from 0 to 365"),
        ("visit_days", "soon", "whole number from 0 to 365"),
        ("terms_url", "javascript:alert(1)", "Enter a web address"),
        ("privacy_url", "ftp://x.example", "Enter a web address"),
        ("description", "x" * 301, "Use 300 characters or fewer"),
        ("link_form", "other", "Not a valid choice"),
        ("sign_ups_per_network", "4", "whole number from 5 to 100000"),
        ("sign_ups_at_once", "many", "whole number from 5 to 100000"),
    ],
)
def test_errors_are_beside_their_field_and_nothing_typed_is_lost(owner, field, typed, sentence):
    answer = owner.submit("/programme", FIELDS | {"commission": "a tenth", field: typed})
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert sentence in page
    assert "a tenth" in page
    if field != "link_form":
        assert typed in page
    assert account_of().shop_url == ""


def test_forms_that_begin_with_the_shops_address_need_one(owner):
    answer = owner.submit("/programme", FIELDS | {"shop_url": "", "link_form": "parameter"})
    assert answer.status_code == 422
    assert "Links in this form start with it" in answer.get_data(as_text=True)
    answer = owner.submit("/programme", FIELDS | {"link_form": "pattern", "link_pattern": "/?x="})
    assert answer.status_code == 422
    assert "Write {code} where" in answer.get_data(as_text=True)


def test_without_a_shop_address_the_pages_name_what_to_set(owner, grace, client):
    page = owner.get("/affiliates").get_data(as_text=True)
    assert "Your shop’s address is missing" in page
    assert "no shop address" in page
    assert f"/r/{grace.code}" not in page
    shown = _dashboard(client, grace)
    assert "has entered the address of its shop" in shown
    assert f"/r/{grace.code}" not in shown
    assert _export(owner)[0]["Link"] == ""


def test_the_banner_waits_for_the_first_affiliate(owner):
    assert "address is missing" not in owner.get("/affiliates").get_data(as_text=True)


def test_every_place_shows_the_same_link_and_a_changed_address_changes_all(owner, set_shop, grace, client):
    lead = {"event": "lead", "affiliate": {"code": grace.code}, "data": {}}
    event_id = simulate_event(grace.account_id, lead, now=utcnow())
    for changes, link in (
        ({}, f"http://127.0.0.1/r/{grace.code}"),
        ({"link_form": LinkForm.PARAMETER}, f"{SHOP}?ref={grace.code}"),
        (
            {"link_form": LinkForm.PARAMETER, "shop_url": "https://new.example/"},
            f"https://new.example/?ref={grace.code}",
        ),
        ({"link_form": LinkForm.PATTERN, "link_pattern": "/p/{code}"}, f"{SHOP}p/{grace.code}"),
    ):
        set_shop(**changes)
        assert f">{link}</code>" in _dashboard(client, grace)
        assert f'data-value="{link}"' in owner.get("/affiliates").get_data(as_text=True)
        assert link in owner.get(f"/affiliates/{grace.id}").get_data(as_text=True)
        assert _export(owner)[0]["Link"] == link
        assert event_json(grace.account_id, event_id)["affiliate"] == {"code": grace.code, "link": link}
        preview = owner.get(f"/automated-emails/new-sign-up/html?as={grace.id}").get_data(as_text=True)
        assert f'href="{link}"' in preview


def test_a_column_of_visits_is_shown_only_where_they_are_counted(
    app, owner, set_shop, grace, visit, counted, client
):
    set_shop()
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        visit(f"/r/{grace.code}", address=address)
    counted(grace.id)
    assert "3 in the last 30 days, 3 in total" in _dashboard(client, grace)
    assert "2 in the last 30 days, each counted once a day" in _dashboard(client, grace)
    assert ">Visits, 30 days<" in owner.get("/affiliates").get_data(as_text=True)
    assert "3 in the last 30 days, 3 in total" in owner.get(f"/affiliates/{grace.id}").get_data(as_text=True)
    assert _export(owner)[0]["Visits"] == "3"

    set_shop(link_form=LinkForm.PARAMETER)  # no script reports
    assert ">Visits, 30 days<" not in owner.get("/affiliates").get_data(as_text=True)
    assert "in the last 30 days" not in _dashboard(client, grace)
    assert "Visits" not in _export(owner)[0]
    assert "It has not reported any yet" in owner.get("/programme").get_data(as_text=True)

    visit(f"/r/{grace.code}", method="POST")
    counted(grace.id)
    assert _export(owner)[0]["Visits"] == "4"
    assert ">Visits, 30 days<" in owner.get("/affiliates").get_data(as_text=True)
    set_shop(link_form=LinkForm.PARAMETER, commission="15 %")
    assert ">Visits, 30 days<" in owner.get("/affiliates").get_data(as_text=True)
    set_shop(
        link_form=LinkForm.PARAMETER, shop_url="https://other.example/"
    )  # whose pages may have no script
    assert ">Visits, 30 days<" not in owner.get("/affiliates").get_data(as_text=True)


def test_the_dashboard_has_the_link_as_a_qr_code(set_shop, grace, client):
    set_shop()
    page = _dashboard(client, grace)
    assert 'src="data:image/svg+xml' in page
    assert 'href="data:image/png;base64,' in page
    assert f'download="{grace.code}.png"' in page


@pytest.mark.parametrize("confirm", [False])
def test_the_welcome_email_promises_only_what_is_true(owner, set_shop, client, confirm):
    signup_rules.save_rules(account_of().id, signup_rules.Rules(confirm=confirm))
    client.submit("/join/brightleaf", GRACE)
    [first] = messages("new-sign-up")
    code = newest_affiliate().code
    assert "counts for you" not in first.text
    assert "Your own link is not ready yet" in first.text
    assert f"/r/{code}" not in first.text
    assert code in first.text

    set_shop()
    client.submit("/join/brightleaf", GRACE | {"mailbox": "hedy@example.org"})
    second = messages("new-sign-up")[-1]
    assert "counts for you" not in second.text
    assert "leads to the shop and carries your code" in second.text
    assert f"http://127.0.0.1/r/{newest_affiliate().code}" in second.text


def test_an_owners_own_text_keeps_its_words_and_its_link(owner, client):
    signup_rules.save_rules(account_of().id, signup_rules.Rules(confirm=False))
    page = "/automated-emails/new-sign-up"
    text = {"subject": "Hi", "html": "<p>It counts: {{ link }}</p>", "text": "", "based_on": "0"}
    assert owner.submit(page, text, page=page).status_code == 303
    client.submit("/join/brightleaf", GRACE)
    assert f"It counts: http://127.0.0.1/r/{newest_affiliate().code}" in messages("new-sign-up")[0].text


def test_the_links_of_samples_lead_to_a_page_that_explains_them(owner, set_shop, client):
    set_shop()
    assert "http://127.0.0.1/r/ADA7K2PQ" in owner.get("/automated-emails/new-sign-up/html").get_data(
        as_text=True
    )
    assert "This link is a sample" in client.get("/r/ADA7K2PQ").get_data(as_text=True)


@pytest.mark.both_databases
def test_another_accounts_settings_stay(app, owner, stranger, set_shop):
    set_shop()
    assert SHOP not in stranger.get("/programme").get_data(as_text=True)
    stranger.submit("/programme", FIELDS | {"shop_url": "https://copper.example"})
    assert account_of().shop_url == SHOP
    assert account_of("copperpot").shop_url == "https://copper.example/"


def test_a_visitor_has_to_log_in(client):
    assert client.get("/programme").status_code == 303


# -- the script for the shop


def test_the_script_is_for_other_sites_and_names_its_hash(app, owner, set_shop, client):
    set_shop()
    answer = client.get(f"/static/{SHOP_SCRIPT}")
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.mimetype == "text/javascript"
    page = owner.get("/programme").get_data(as_text=True)
    assert integrity_of(app, SHOP_SCRIPT) in page
    assert f"http://127.0.0.1/static/{SHOP_SCRIPT}" in page
    other = client.get("/static/js/main.js")
    assert other.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in other.headers


def test_shops_may_embed_an_earlier_version_of_the_script(client, monkeypatch):
    monkeypatch.setattr(static_files, "SHOP_SCRIPT", "shop/signet-2.js")
    answer = client.get("/static/shop/signet-1.js")
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "immutable" in answer.headers["Cache-Control"]


def test_version_1_of_the_script_never_changes(app):
    """Shops name this hash. Put a changed script into a new file, and let SHOP_SCRIPT name that one."""
    assert integrity_of(app, "shop/signet-1.js") == (
        "sha384-/g71Wrwy1Mi5GdN5xNL0QV7OVgTBnDKFRcCCmV7cLtA4stjDPhI/cyvumW6EChwg"
    )


def test_the_tag_follows_the_form_of_the_links(owner, set_shop):
    set_shop(link_form=LinkForm.PATTERN, link_pattern="/?partner={code}", visit_days=7)
    page = owner.get("/programme").get_data(as_text=True)
    assert "data-parameter=&#34;partner&#34;" in page
    assert "data-days=&#34;7&#34;" in page
    set_shop(link_form=LinkForm.PATTERN, link_pattern="/p/{code}")
    assert "There is no script for your pattern" in owner.get("/programme").get_data(as_text=True)


def test_an_unapproved_account_is_shown_what_waits(owner):
    account_of().approved_at = None
    db.session.commit()
    page = owner.get("/programme").get_data(as_text=True)
    assert "Your account is not approved yet" in page
    own_server(account_of().id)
    page = owner.get("/programme").get_data(as_text=True)
    assert "short links ask visitors before they lead to your shop" in page


# -- the public pages


def _save_look(owner, **fields):
    entered = {"accent": "#7a1f3d", "address": "1 Garden Lane", "footer": ""} | fields
    page = "/automated-emails/look"
    assert owner.submit(page, entered, page=page, content_type="multipart/form-data").status_code == 303


def test_public_pages_carry_the_programmes_logo_colour_and_links(owner, set_shop, grace, client):
    set_shop(
        commission="15 % of each order",
        description="Tea from small gardens.",
        terms_url="https://shop.brightleaf.example/terms",
        privacy_url="https://shop.brightleaf.example/privacy",
    )
    _save_look(owner, logo=(io.BytesIO(png(40, 20)), "logo.png"))
    for page in (client.get("/join/brightleaf").get_data(as_text=True), _dashboard(client, grace)):
        assert re.search(
            r'<img class="programme-logo"\s+src="/automated-emails/logo/[^"]+\.png"\s+alt="Brightleaf"', page
        )
        assert 'href="/look/7a1f3d.css"' in page
        assert "15 % of each order" in page
        assert 'href="https://shop.brightleaf.example/terms"' in page
        assert 'href="https://shop.brightleaf.example/privacy"' in page
        assert page.count("Signet") == 1, "in one small line"
    page = client.get("/join/brightleaf").get_data(as_text=True)
    page = " ".join(page.split())
    assert '<meta property="og:description" content="Tea from small gardens.">' in page
    assert '<meta property="og:url" content="http://127.0.0.1/join/brightleaf">' in page
    picture = re.search(r'<meta property="og:image" content="http://127\.0\.0\.1([^"]+)">', page)[1]
    assert client.get(picture).mimetype == "image/png"
    assert re.search(r"<title>Become an affiliate of Brightleaf\s*</title>", page)


def test_a_picture_for_link_previews_replaces_the_logo(owner, client):
    assert 'content="summary"' in client.get("/join/brightleaf").get_data(as_text=True)
    picture = {"picture": (io.BytesIO(png(1200, 630)), "garden.png")}
    assert owner.submit("/programme", FIELDS | picture, content_type="multipart/form-data").status_code == 303
    page = client.get("/join/brightleaf").get_data(as_text=True)
    assert 'content="summary_large_image"' in page
    address = re.search(r'<meta property="og:image" content="http://127\.0\.0\.1([^"]+)">', page)[1]
    assert client.get(address).data == png(1200, 630)
    for _ in range(21):  # logos that are replaced are deleted one day, the picture is not
        _save_look(owner, logo=(io.BytesIO(png(40, 20)), "logo.png"))
    assert client.get(address).status_code == 200
    assert owner.submit("/programme", FIELDS).status_code == 303, "without a file, the picture stays"
    assert account_of().picture in address
    assert owner.submit("/programme", FIELDS | {"remove_picture": "y"}).status_code == 303
    assert account_of().picture == ""
    broken = {"picture": (io.BytesIO(b"GIF"), "x.gif")}
    refused = owner.submit("/programme", FIELDS | broken, content_type="multipart/form-data")
    assert refused.status_code == 422
    assert "This is no PNG, JPEG or GIF picture" in refused.get_data(as_text=True)


def test_a_picture_that_is_replaced_or_removed_is_deleted(owner, client):
    pictures = []
    for width in (1200, 600):
        picture = {"picture": (io.BytesIO(png(width, 630)), "garden.png")}
        answer = owner.submit("/programme", FIELDS | picture, content_type="multipart/form-data")
        assert answer.status_code == 303
        pictures.append(f"/automated-emails/logo/{account_of().picture}")
        db.session.rollback()
    assert [client.get(one).status_code for one in pictures] == [404, 200]
    assert owner.submit("/programme", FIELDS | {"remove_picture": "y"}).status_code == 303
    assert client.get(pictures[1]).status_code == 404


def test_without_settings_the_public_pages_are_complete(owner, client):
    page = client.get("/join/brightleaf").get_data(as_text=True)
    assert "Sign up for the affiliate programme of Brightleaf." in page
    assert "og:image" not in page
    assert "/look/" not in page
    assert "Commission" not in page


def test_an_unapproved_accounts_pictures_and_links_wait(owner, set_shop, client):
    set_shop(terms_url="https://evil.example/terms", commission="a tenth")
    _save_look(owner)
    account_of().approved_at = None
    db.session.commit()
    page = client.get("/join/brightleaf").get_data(as_text=True)
    assert "evil.example" not in page
    assert "/look/" not in page
    assert "a tenth" in page


@pytest.mark.parametrize("accent", ["7a1f3", "7A1F3D", "red", "7a1f3d}body{", "%0a", "GGGGGG"])
def test_a_style_sheet_holds_nothing_but_a_colour(client, accent):
    assert client.get("/look/7a1f3d.css").get_data(as_text=True).count("#7a1f3d") == 2
    assert client.get(f"/look/{accent}.css").status_code == 404


def test_settings_saved_twice_at_once_leave_one_result(app, owner):
    entered = saving.ProgrammeSettings(SHOP, LinkForm.SHORT, "", 30, "", "", "", "")
    for _ in range(2):
        saving.save_settings(account_of().id, entered, now=utcnow())
    short_links.forget_targets(app)
    assert db.session.get(Account, account_of().id).shop_url == SHOP
