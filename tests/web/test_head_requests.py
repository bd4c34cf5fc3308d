"""HEAD answers as GET does and changes nothing (RFC 9110, section 9.3.2)."""

from __future__ import annotations

import pytest
from flask import Flask
from werkzeug.routing import Rule

from portal.enrolment.signup_rules import Rules, get_rules, save_rules
from tests.pages import LintingClient

_VALUES = {"id_": 1, "message_id": 1, "number": 1, "event_id": 1, "incident_id": 1, "bulk_id": 1}


def _addresses(app: Flask) -> list[str]:
    """Return one address of each route that a page and a form share."""
    rules = [rule for rule in app.url_map.iter_rules() if {"GET", "POST"} <= (rule.methods or set())]
    with app.test_request_context():
        return sorted(app.url_for(rule.endpoint, **_arguments(rule)) for rule in rules)


def _arguments(rule: Rule) -> dict[str, object]:
    return {name: _VALUES.get(name, "unknown") for name in rule.arguments}


@pytest.mark.parametrize("who", ["client", "owner"])
def test_head_answers_as_get_on_every_page_with_a_form(app, request, who):
    browser: LintingClient = request.getfixturevalue(who)
    addresses = _addresses(app)
    assert "/forgot-password" in addresses
    answers = {one: (browser.get(one).status_code, browser.head(one).status_code) for one in addresses}
    assert {one: codes for one, codes in answers.items() if codes[0] != codes[1]} == {}


def test_head_saves_no_sign_up_rules(app, owner):
    saved = Rules(auto_approve=True, confirm=True)
    save_rules(1, saved)
    assert owner.head("/affiliates/rules").status_code == 200
    assert get_rules(1) == saved
