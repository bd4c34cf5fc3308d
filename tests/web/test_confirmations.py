"""Each POST that deletes, ends, revokes, cancels, declines or overwrites is confirmed, can be undone, or is harmless."""

from __future__ import annotations

import re
from pathlib import Path

from portal.accounts.team.rights import Right, needed

TEMPLATES = Path(__file__).parents[2] / "templates"
# Words in the names of endpoints that destroy, end or replace something.
_VERBS = re.compile(
    r"chang|choose|clear|decide|declin|delete|demand|discard|disconnect|edit|eras|hand_over|keep|leave|log_out|new_codes|order|"
    r"own$|platform$|release|remove|renew|reset|restore|resume|revoke|retry|save|stop|suspend|suppress|switch|version_action|withdraw"
)
# Endpoints with a second control that states what will happen (ui.confirm).
CONFIRM = """
    accounts.log_out_others affiliates.decline affiliates.keep_address affiliates.unsuppress api_pages.revoke
    bounce_mailbox.remove bounces.decide bounces.remove bounces.renew connect.disconnect
    deliveries.stop_order factors.demand factors.new_codes factors.remove_app factors.remove_passkey
    factors.reset_member imports.stop incidents.discard incidents.platform incidents.remove_webhook incidents.renew_secret
    notices.remove_mailbox notices.reset operator.renew_invitation operator.suspend operator.withdraw_invitation
    privacy.erase rehearsal.clear settings.discard_drafts settings.stop team.change_role team.hand_over team.leave
    team.remove team.withdraw
"""
# Endpoints whose step of confirmation is a page of its own, or a part of a form with further decisions.
CONFIRM_ON = {
    "affiliates.decide_many": "affiliates/decide.html",
    "deliveries.give_order": "deliveries/new_order.html",
    "deliveries.keep": "deliveries/keep.html",
    "money.decide": "money/decide.html",
    "operator.give_order": "operator/orders.html",
    "privacy.take_part_again": "privacy/take_part_again.html",
}
# Endpoints of several operations: those that destroy are confirmed, each by its own ui.confirm.
CONFIRM_FOR = {
    "affiliates.decide": 'decision="suspend"',
    "deliveries.retry_or_cancel": 'operation="cancel"',
    "settings.version_action": 'action="activate"',
}
# Endpoints whose effect another control of the same page takes back.
UNDO = {
    "affiliates.suppress": "affiliates.unsuppress",
    "domains.remove_selector": "domains.add_selector",
    "incidents.own": "incidents.platform",
    "notices.restore": "notices.restore",
    "notices.save": "notices.restore",
    "notices.switch": "notices.switch",
    "operator.resume": "operator.suspend",
    "settings.save": "settings.version_action",
}
_FORM = (
    "the form shows what is stored, and saving the former values brings them back; the activity lists both"
)
HARMLESS = {
    "accounts.change_language": _FORM,
    "accounts.change_mailbox": "the mailbox changes once its reader confirms it; the former one gets a link that undoes it",
    "accounts.change_names": _FORM,
    "accounts.change_own_zone": _FORM,
    "accounts.change_password": "asks for a proof of person; a new password can be set at any time",
    "accounts.change_time_zone": _FORM,
    "accounts.log_out_device": "the device logs in again",
    "accounts.switch_shortcuts": _FORM,
    "affiliates.edit": _FORM,
    "bounce_mailbox.save": _FORM,
    "bounce_mailbox.save_folder": _FORM,
    "bounces.save_key": _FORM,
    "connect.save_google": "replaces nothing before its check has passed",
    "connect.save_microsoft": "replaces nothing before its check has passed",
    "connect_mailbox.save_app": _FORM,
    "connect_mailbox.save_service_account": _FORM,
    "imports.choose": _FORM,
    "incidents.release": "tries waiting emails again; none is lost",
    "incidents.save_failure": _FORM,
    "incidents.save_limits": _FORM,
    "incidents.save_webhook": _FORM,
    "money.save_rule": _FORM,
    "notices.save_branding": _FORM,
    "operator.save_platform_limit": _FORM,
    "programme.save": _FORM,
    "settings.stop_check": "the check can be started again",
    "team.choose_contact": _FORM,
    "team.switch": "shows another programme of the same person",
}


def _sources() -> dict[str, str]:
    return {
        str(path.relative_to(TEMPLATES)): path.read_text(encoding="utf-8")
        for path in TEMPLATES.rglob("*.html")
    }


def _confirmations(sources: dict[str, str]) -> list[str]:
    """Return what follows ``ui.confirm(`` up to the address that it posts to, and the values in that address."""
    return [found for text in sources.values() for found in re.findall(r"ui\.confirm\(.*", text)]


def test_each_endpoint_that_destroys_or_replaces_is_confirmed_undone_or_harmless(app):
    sources = _sources()
    confirmed = _confirmations(sources)
    marked = [*CONFIRM.split(), *CONFIRM_ON, *CONFIRM_FOR, *UNDO, *HARMLESS]
    assert len(marked) == len(set(marked))
    posts = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if "POST" in (rule.methods or ()) and needed(rule.endpoint, "POST") is not Right.PUBLIC
    }
    assert set(marked) - posts == set(), "no such endpoint"
    unmarked = {one for one in posts - set(marked) if _VERBS.search(one.rpartition(".")[2])}
    assert unmarked == set(), "mark it as confirmed, undone or harmless"
    for endpoint in CONFIRM.split():
        assert any(f'url_for("{endpoint}"' in one for one in confirmed), f"{endpoint} has no ui.confirm"
    for endpoint, value in CONFIRM_FOR.items():
        lines = [one for one in confirmed if f'url_for("{endpoint}"' in one]
        assert any(value in one for one in lines), f"{endpoint} has no ui.confirm with {value}"
    for endpoint, template in CONFIRM_ON.items():
        assert re.search(rf"url_for\([\"']{endpoint}[\"']", sources[template]), endpoint
    assert {two for two in UNDO.values() if two not in posts} == set()


def test_no_page_posts_to_a_confirmed_endpoint_without_its_question():
    plain = re.compile(
        r"(?:ui\.form\(url_for\(\"|action=\"\{\{ url_for\('|formaction=\"\{\{ url_for\(')([a-z_.]+)"
    )
    steps = {"affiliates/lift.html": "affiliates.unsuppress"}  # the page of the question itself
    found = {
        (name, endpoint)
        for name, text in _sources().items()
        for endpoint in plain.findall(text)
        if endpoint in CONFIRM.split() and steps.get(name) != endpoint
    }
    assert found == set()
