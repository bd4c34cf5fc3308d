"""Each endpoint that changes something, and each command, leaves a row in the audit trail, or has a reason why not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import click
import pytest
import sqlalchemy as sa

from portal import create_app
from portal.accounts.models import Account
from portal.affiliates.models import Affiliate, Suppression
from portal.api.models import ApiToken
from portal.audit import Activity, AuditOutcome, Way
from portal.clock import utcnow
from portal.db import db
from portal.notices.models import NoticeMailbox
from tests.accounts.conftest import path_in, portal_emails
from tests.audit.support import actions, rows
from tests.conftest import PASSWORD, make_config

A = Activity
CANARY = "canary-8f3a1c"
PORTAL = Path(__file__).parents[2] / "portal"

# What each endpoint records, besides log-ins that go with it.
RECORDED = {
    "accounts.add_programme": (A.REGISTERED,),
    "accounts.change_mailbox": (A.MAILBOX_CHANGE_ASKED,),
    "accounts.change_names": (A.NAME_CHANGED, A.PROGRAMME_SAVED),
    "accounts.change_password": (A.PASSWORD_CHANGED,),
    "accounts.change_time_zone": (A.PROGRAMME_SAVED,),
    "accounts.confirm": (A.REGISTERED, A.LOGGED_IN),
    "accounts.confirm_new_mailbox": (A.MAILBOX_CHANGED,),
    "accounts.forgot": (A.RESET_REQUESTED,),
    "accounts.log_in": (A.LOGGED_IN, A.LOG_IN_FAILED),
    "accounts.log_out": (A.LOGGED_OUT,),
    "accounts.log_out_device": (A.LOGGED_OUT_DEVICE,),
    "accounts.log_out_others": (A.LOGGED_OUT_OTHERS,),
    "accounts.register": (A.REGISTERED,),
    "accounts.register_invited": (A.REGISTERED, A.LOGGED_IN),
    "accounts.reset": (A.PASSWORD_RESET,),
    "accounts.prove": (A.PROVED,),
    "accounts.undo_mailbox": (A.MAILBOX_RESTORED,),
    "activity.table": (A.ACTIVITY_EXPORTED,),
    "affiliates.decide": (A.AFFILIATE_APPROVED, A.AFFILIATE_SUSPENDED, A.AFFILIATE_UNSUSPENDED),
    "affiliates.decide_many": (A.AFFILIATE_APPROVED, A.AFFILIATE_DECLINED),
    "affiliates.decline": (A.AFFILIATE_DECLINED,),
    "affiliates.edit": (A.AFFILIATE_CHANGED,),
    "affiliates.export": (A.AFFILIATES_EXPORTED,),
    "affiliates.invite": (A.AFFILIATE_INVITED,),
    "affiliates.keep_address": (A.AFFILIATE_ADDRESS_KEPT,),
    "affiliates.send_link_again": (A.AFFILIATE_LINK_SENT, A.AFFILIATE_INVITED),
    "affiliates.sign_up_rules": (A.SIGN_UP_RULES_SAVED,),
    "affiliates.suppress": (A.MAILBOX_SUPPRESSED,),
    "affiliates.unsuppress": (A.MAILBOX_LIFTED,),
    "api.add_affiliate": (A.AFFILIATE_ADDED,),
    "api.change_affiliate": (A.AFFILIATE_CHANGED,),
    "api.erase_affiliate": (A.AFFILIATE_ERASED,),
    "api.check_draft": (A.SERVER_CHECKED,),
    "api.save_draft": (A.SERVER_SAVED,),
    "api_pages.create": (A.TOKEN_CREATED,),
    "api_pages.revoke": (A.TOKEN_REVOKED,),
    "bounce_mailbox.remove": (A.BOUNCE_MAILBOX_REMOVED,),
    "bounce_mailbox.save": (A.BOUNCE_MAILBOX_SAVED,),
    "bounce_mailbox.save_folder": (A.BOUNCE_MAILBOX_SAVED,),
    "bounces.create": (A.BOUNCE_ADDRESS_MADE,),
    "bounces.decide": (A.BOUNCES_DECIDED,),
    "bounces.remove": (A.BOUNCE_ADDRESS_REMOVED,),
    "bounces.renew": (A.BOUNCE_ADDRESS_RENEWED,),
    "bounces.save_key": (A.BOUNCE_KEY_SAVED,),
    "connect.disconnect": (A.MAILBOX_DISCONNECTED,),
    "connect.save_google": (A.MAILBOX_CONNECTED,),
    "connect.save_microsoft": (A.MAILBOX_CONNECTED,),
    "connect_mailbox.save_app": (A.BOUNCE_MAILBOX_SAVED,),
    "connect_mailbox.save_service_account": (A.BOUNCE_MAILBOX_SAVED,),
    "deliveries.give_order": (A.ORDER_GIVEN,),
    "deliveries.keep": (A.RETENTION_SAVED,),
    "deliveries.retry_or_cancel": (A.MESSAGE_RETRIED, A.MESSAGE_CANCELLED),
    "deliveries.send_again": (A.MESSAGE_COPIED,),
    "deliveries.stop_order": (A.ORDER_STOPPED,),
    "deliveries.table": (A.DELIVERIES_EXPORTED,),
    "domains.add_selector": (A.SELECTOR_ADDED,),
    "domains.remove_selector": (A.SELECTOR_REMOVED,),
    "factors.add_passkey": (A.FACTOR_ADDED,),
    "factors.confirm_app": (A.FACTOR_ADDED,),
    "factors.demand": (A.FACTOR_DEMANDED,),
    "factors.log_in_by_passkey": (A.LOGGED_IN,),
    "factors.new_codes": (A.RECOVERY_CODES_MADE,),
    "factors.prove_by_passkey": (A.PROVED,),
    "factors.remove_app": (A.FACTOR_REMOVED,),
    "factors.remove_passkey": (A.FACTOR_REMOVED,),
    "factors.reset_member": (A.FACTOR_RESET,),
    "factors.second_step": (A.LOGGED_IN, A.LOG_IN_FAILED),
    "imports.faults": (A.IMPORT_FAULTS_EXPORTED,),
    "imports.start": (A.IMPORT_STARTED,),
    "imports.stop": (A.IMPORT_STOPPED,),
    "imports.upload": (A.IMPORT_UPLOADED,),
    "incidents.alerts_by_mail": (A.ALERTS_SWITCHED,),
    "incidents.discard": (A.QUEUE_DISCARDED,),
    "incidents.message_events": (A.WEBHOOK_EVENTS_SWITCHED,),
    "incidents.own": (A.FAILOVER_ENDED,),
    "incidents.platform": (A.FAILOVER_STARTED,),
    "incidents.release": (A.QUEUE_RELEASED,),
    "incidents.remove_webhook": (A.WEBHOOK_REMOVED,),
    "incidents.renew_secret": (A.WEBHOOK_SECRET_RENEWED,),
    "incidents.save_failure": (A.FAILURE_POLICY_SAVED,),
    "incidents.save_limits": (A.LIMITS_SAVED,),
    "incidents.save_webhook": (A.WEBHOOK_SAVED,),
    "money.decide": (A.COMMISSION_DECIDED,),
    "money.export": (A.COMMISSIONS_EXPORTED,),
    "money.save_rule": (A.COMMISSION_RULE_SAVED,),
    "money.send_skipped_week": (A.SKIPPED_WEEK_SENT,),
    "notices.add_mailbox": (A.FURTHER_MAILBOX_ADDED,),
    "notices.remove_mailbox": (A.FURTHER_MAILBOX_REMOVED,),
    "notices.reset": (A.TEXT_RESET,),
    "notices.restore": (A.TEXT_RESTORED,),
    "notices.save": (A.TEXT_SAVED,),
    "notices.save_branding": (A.LOOK_SAVED,),
    "notices.switch": (A.NOTICE_SWITCHED,),
    "operator.approve": (A.ACCOUNT_APPROVED,),
    "operator.give_order": (A.OUTBOX_RETRIED, A.OUTBOX_CANCELLED, A.OUTBOX_RELEASED),
    "operator.invite": (A.REGISTRATION_OFFERED,),
    "operator.renew_invitation": (A.REGISTRATION_OFFERED,),
    "operator.resume": (A.ACCOUNT_RESUMED,),
    "operator.save_platform_limit": (A.PLATFORM_LIMIT_SAVED,),
    "operator.suspend": (A.ACCOUNT_SUSPENDED,),
    "operator.withdraw_invitation": (A.REGISTRATION_WITHDRAWN,),
    "privacy.erase": (A.AFFILIATE_ERASED,),
    "privacy.take_part_again": (A.MAILBOX_LIFTED,),
    "programme.save": (A.PROGRAMME_SAVED,),
    "settings.discard_drafts": (A.DRAFTS_DISCARDED,),
    "settings.prove_domain": (A.DOMAIN_PROVED, A.SERVER_LIVE),
    "settings.save": (A.SERVER_SAVED,),
    "settings.stop": (A.SERVER_STOPPED,),
    "settings.stop_check": (A.CHECK_STOPPED,),
    "settings.version_action": (A.SERVER_SAVED, A.SERVER_CHECKED, A.SERVER_LIVE),
    "team.accept": (A.JOINED, A.HANDED_OVER),
    "team.change_role": (A.ROLE_CHANGED,),
    "team.choose_contact": (A.CONTACT_CHOSEN,),
    "team.hand_over": (A.OWNERSHIP_OFFERED,),
    "team.invite": (A.INVITED,),
    "team.leave": (A.LEFT,),
    "team.remove": (A.PERSON_REMOVED,),
    "team.resend": (A.INVITED_AGAIN,),
    "team.withdraw": (A.INVITATION_WITHDRAWN,),
}
_MEASURED = "a measured path; its own table is the record"
_BY_AFFILIATE = "by an affiliate about themselves; the affiliate's history is the record"
_CHANGES_NOTHING = "changes no setting and no data"
_TRIES = "sends, reads or checks once more; the result is in a table of its own"
REASONS = {
    "accounts.change_language": "chooses how the portal speaks to one person",
    "accounts.change_own_zone": "chooses how the portal shows times to one person",
    "accounts.switch_shortcuts": "chooses what keys do for one person",
    "affiliates.accept": _BY_AFFILIATE,
    "affiliates.choose_dashboard_language": "chooses how the portal speaks to one affiliate",
    "affiliates.choose_unsubscribe_language": "chooses how the portal speaks to one affiliate",
    "affiliates.confirm_address_now": _BY_AFFILIATE,
    "affiliates.confirm_now": _BY_AFFILIATE,
    "affiliates.find_page": _BY_AFFILIATE,
    "affiliates.find_pages": _BY_AFFILIATE,
    "affiliates.join": _MEASURED,
    "affiliates.owner_unsubscribe": "by the reader of a mailbox, who may be no person of the team",
    "affiliates.save_preferences": _BY_AFFILIATE,
    "affiliates.send_again": _BY_AFFILIATE,
    "affiliates.unsubscribe": _BY_AFFILIATE,
    "api.send_event": _MEASURED,
    "api.send_events": _MEASURED,
    "api_pages.simulate": "stores a test event, which the page Events lists",
    "arrival.mark_received": _TRIES,
    "arrival.paste_headers": _TRIES,
    "bounce_mailbox.read_now": _TRIES,
    "connect_mailbox.begin": "leads to the issuer; consent.callback records what comes of it",
    "consent.begin": "leads to the issuer; consent.callback records what comes of it",
    "domains.check_again": _TRIES,
    "explain.answer": _CHANGES_NOTHING,
    "factors.options_to_add": _CHANGES_NOTHING,
    "factors.options_to_prove": _CHANGES_NOTHING,
    "factors.options_to_use": _CHANGES_NOTHING,
    "hooks.receive": _MEASURED,
    "imports.choose": "prepares an import, whose start is recorded",
    "incidents.test_webhook": _TRIES,
    "notices.confirm_mailbox_now": "by the reader of a mailbox, who may be no person of the team",
    "notices.live_preview": _CHANGES_NOTHING,
    "notices.send_mailbox_link_again": _TRIES,
    "operator.check_platform_sender": _CHANGES_NOTHING,
    "privacy.ask": _BY_AFFILIATE,
    "privacy.withdraw": _BY_AFFILIATE,
    "rehearsal.clear": "the rehearsal's inbox on one machine",
    "rehearsal.report": "the rehearsal's inbox on one machine",
    "samples.sample_link": _CHANGES_NOTHING,
    "settings.provider_help": _CHANGES_NOTHING,
    "settings.send_test": _TRIES,
    "team.switch": "chooses what one's own session shows",
}
_READS = "only reads"
COMMANDS = {
    "accounts approve": (A.ACCOUNT_APPROVED,),
    "accounts invite": (A.REGISTRATION_OFFERED,),
    "accounts resume": (A.ACCOUNT_RESUMED,),
    "accounts suspend": (A.ACCOUNT_SUSPENDED,),
    "create-owner": (A.REGISTERED,),
    "keys rotate": (A.KEYS_ROTATED,),
    "outbox cancel": (A.OUTBOX_CANCELLED,),
    "outbox release": (A.OUTBOX_RELEASED,),
    "outbox retry": (A.OUTBOX_RETRIED,),
    "owners demote": (A.OPERATOR_DEMOTED,),
    "owners forget-name": (A.NAME_EMPTIED,),
    "owners forget-second-factor": (A.FACTOR_RESET,),
    "owners give-programme": (A.REGISTERED,),
    "owners promote": (A.OPERATOR_PROMOTED,),
    "reset-link": (A.RESET_REQUESTED,),
    "seed-demo": (A.REGISTERED,),
    "accounts list": _READS,
    "backup": "only reads the database, usually each night without a person",
    "bounces read": _READS,
    "doctor": _READS,
    "domain check": _READS,
    "keys new": "prints a key and stores nothing",
    "keys status": _READS,
    "outbox status": _READS,
    "rehearsal": "a process, not a change",
    "restore": "replaces the database, and with it this table",
    "smtp check": _READS,
    "smtp explain": _READS,
    "worker": "a process, not a change",
}


@pytest.fixture(scope="module")
def any_app(tmp_path_factory):
    return create_app(make_config(tmp_path_factory.mktemp("app") / "instance", env={"DATABASE_URL": ""}))


def test_each_changing_endpoint_has_an_action_or_a_reason(any_app):
    reading = {"GET", "HEAD", "OPTIONS"}
    changing = {rule.endpoint for rule in any_app.url_map.iter_rules() if rule.methods - reading}
    assert changing - RECORDED.keys() - REASONS.keys() == set(), "no action and no reason"
    assert not RECORDED.keys() & REASONS.keys()
    present = {rule.endpoint for rule in any_app.url_map.iter_rules()}
    assert (RECORDED.keys() | REASONS.keys()) <= present


def commands(group, before=""):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}"


def test_each_command_has_an_action_or_a_reason(any_app):
    assert set(commands(any_app.cli)) == COMMANDS.keys()


def test_each_action_is_recorded_somewhere_and_expected_somewhere():
    used = set()
    for path in PORTAL.rglob("*.py"):
        if path.parent != PORTAL / "audit":
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and node.attr in Activity.__members__:
                    used.add(Activity[node.attr])
    assert set(Activity) - used == set()
    lists = (*RECORDED.values(), *(one for one in COMMANDS.values() if not isinstance(one, str)))
    # These are recorded by the guard.
    assert set(Activity) - {one for found in lists for one in found} == {A.REFUSED_BY_ROLE}


def account():
    found = db.session.scalars(sa.select(Account.id)).first()
    db.session.rollback()
    return found


def newest(column):
    found = db.session.scalars(sa.select(column).order_by(column.desc())).first()
    db.session.rollback()
    return found


EDITOR = "/automated-emails/new-sign-up"


def test_what_an_owner_changes_leaves_a_row_each_with_no_secret(app, owner):
    """Each step posts a form, and the newest row is its own."""

    def step(action, url, fields=None, page="/account", status=303):
        answer = owner.submit(url, fields or {}, page=page)
        assert answer.status_code == status, (url, answer.get_data(as_text=True)[:3000])
        row = rows()[-1]
        assert row.action is action, (url, actions()[-3:])
        assert (row.account_id, row.actor_name, row.way) == (account(), "Ada Fairweather", Way.PAGE)
        return row

    names = {"programme": "Brightleaf Teas", "name": "Ada Fairweather"}
    row = step(A.PROGRAMME_SAVED, "/account/names", names)
    assert (row.values_before, row.values_after) == ({"name": "Brightleaf"}, {"name": "Brightleaf Teas"})
    row = step(A.PROGRAMME_SAVED, "/account/time-zone", {"time_zone": "Europe/Rome"})
    assert (row.values_before, row.values_after) == ({"time_zone": "UTC"}, {"time_zone": "Europe/Rome"})

    hook = f"https://hooks.x.example/{CANARY}?key={CANARY}"
    row = step(A.WEBHOOK_SAVED, "/incidents/alerts/webhook", {"url": hook}, status=200)
    assert row.values_after == {"address": "https://hooks.x.example", "secret": "changed"}
    step(A.WEBHOOK_SECRET_RENEWED, "/incidents/alerts/webhook/secret", status=200)
    row = step(A.WEBHOOK_EVENTS_SWITCHED, "/incidents/alerts/webhook/messages/on")
    assert row.values_after == {"events_about_emails": True}
    row = step(A.WEBHOOK_REMOVED, "/incidents/alerts/webhook/stop")
    assert row.values_before == {"address": "https://hooks.x.example"}
    row = step(A.ALERTS_SWITCHED, "/incidents/alerts/mail/off")
    assert (row.values_before, row.values_after) == ({"on": True}, {"on": False})
    row = step(A.LIMITS_SAVED, "/incidents/limits", {"per_hour": "30"})
    assert row.values_after == {"per_hour": 30}
    step(
        A.FAILURE_POLICY_SAVED, "/incidents/when-sending-fails", {"action": "platform", "after_minutes": "60"}
    )
    step(A.QUEUE_RELEASED, "/incidents/waiting/release")
    row = step(
        A.RETENTION_SAVED, "/deliveries/keep", {"body_days": "30", "row_days": "400", "confirmed": "1"}
    )
    assert (row.values_before, row.values_after) == ({"body_days": 90}, {"body_days": 30})
    step(A.BOUNCE_ADDRESS_MADE, "/settings/bounces/sendgrid")
    step(A.BOUNCE_ADDRESS_RENEWED, "/settings/bounces/sendgrid/secret")
    step(A.BOUNCE_ADDRESS_REMOVED, "/settings/bounces/sendgrid/remove")
    row = step(A.COMMISSION_RULE_SAVED, "/commissions/rule", {"days": "14", "active": "y"})
    assert row.values_after == {"days": 14}
    row = step(A.NOTICE_SWITCHED, f"{EDITOR}/switch", {"on": "0"})
    assert row.target_name
    step(
        A.LOOK_SAVED, "/automated-emails/look", {"accent": "#204060", "address": "1 Leaf St", "footer": "Bye"}
    )
    row = step(
        A.FURTHER_MAILBOX_ADDED, "/automated-emails/mailboxes", {"mailbox": "books@brightleaf.example"}
    )
    assert row.target_name == "b•••@brightleaf.example"
    step(A.FURTHER_MAILBOX_REMOVED, f"/automated-emails/mailboxes/{newest(NoticeMailbox.id)}/remove")
    step(A.MAILBOX_SUPPRESSED, "/affiliates/not-written-to", {"mailbox": f"{CANARY}@x.example", "note": "n"})
    url = f"/affiliates/not-written-to/{newest(Suppression.id)}/remove"
    step(A.MAILBOX_LIFTED, url, {"why": "asked"})

    step(A.AFFILIATE_INVITED, "/affiliates/invite", {"name": f"{CANARY}", "mailbox": f"{CANARY}2@x.example"})
    person = newest(Affiliate.id)
    step(A.AFFILIATE_INVITED, f"/affiliates/{person}/send-again")
    step(A.AFFILIATE_ERASED, f"/affiliates/{person}/erase")
    assert CANARY not in repr([vars(row) for row in rows()])


def test_what_the_api_and_links_do_names_the_token_and_the_person(app, owner):
    made = owner.submit("/settings/api", {"name": "Shop", "scope": "affiliates"})
    token = re.search(r"sig_[\w-]{43}", made.get_data(as_text=True))[0]
    client = app.test_client()
    head = {"Authorization": f"Bearer {token}"}
    body = {
        "name": "Lin",
        "email": f"{CANARY}@x.example",
        "consent": {"at": utcnow().isoformat(), "source": "shop"},
    }
    added = client.post("/api/v1/affiliates", json=body, headers={**head, "Idempotency-Key": "k-1"})
    assert added.status_code == 201, added.get_data(as_text=True)
    url = f"/api/v1/affiliates/{added.json['id']}"
    assert client.patch(url, json={"notes": CANARY, "status": "suspended"}, headers=head).status_code == 200
    assert client.patch(url, json={"status": "active"}, headers=head).status_code == 200
    assert client.delete(url, headers=head).status_code == 204
    found = rows(way=Way.API)
    assert [row.action for row in found] == [
        A.AFFILIATE_ADDED, A.AFFILIATE_CHANGED, A.AFFILIATE_SUSPENDED, A.AFFILIATE_UNSUSPENDED, A.AFFILIATE_ERASED,
    ]  # fmt: skip
    assert {(row.actor_name, row.actor_id) for row in found} == {("Shop", newest(ApiToken.id))}
    assert found[1].values_after == {"fields": "notes"}

    mailbox = "ada@brightleaf.example"
    stranger = app.test_client()
    assert stranger.submit("/forgot-password", {"mailbox": mailbox}).status_code == 303
    path = path_in(portal_emails("password-reset")[-1][1])
    assert stranger.submit(path, {"password": f"{CANARY} a new one"}).status_code == 303
    asked, reset = rows()[-2:]
    assert (asked.action, asked.actor_id, asked.target_name) == (A.RESET_REQUESTED, None, "Ada Fairweather")
    assert (reset.action, reset.actor_name) == (A.PASSWORD_RESET, "Ada Fairweather")
    assert CANARY not in repr([vars(row) for row in rows()])
    assert path.rpartition("/")[2] not in repr([vars(row) for row in rows()])


def test_commands_name_themselves_and_never_their_arguments(app, owner):
    run = app.test_cli_runner()

    def command(*words, code=0):
        result = run.invoke(args=list(words))
        assert result.exit_code == code, result.output
        return rows()[-1]

    row = command("accounts", "suspend", "brightleaf", "--reason", "spam")
    assert (row.action, row.way, row.actor_name, row.account_id) == (
        A.ACCOUNT_SUSPENDED, Way.COMMAND, "flask accounts suspend", account(),
    )  # fmt: skip
    assert row.values_after == {"reason": "spam"}
    assert command("accounts", "resume", "brightleaf").action is A.ACCOUNT_RESUMED
    row = command("accounts", "invite", f"{CANARY}@x.example")
    assert (row.action, row.account_id, row.target_name) == (A.REGISTRATION_OFFERED, None, "c•••@x.example")
    assert command("owners", "promote", "ada@brightleaf.example").action is A.OPERATOR_PROMOTED
    assert command("owners", "demote", "ada@brightleaf.example").target_name == "Ada Fairweather"
    assert command("reset-link", "ada@brightleaf.example").action is A.RESET_REQUESTED
    assert command("keys", "rotate").values_after == {"key": "k1"}
    assert command("owners", "forget-name", "ada@brightleaf.example").action is A.NAME_EMPTIED
    assert "Ada" not in repr([vars(row) for row in rows()])
    before = len(rows())
    run.invoke(args=["outbox", "cancel", "--all", "--dry-run"])
    assert len(rows()) == before
    assert CANARY not in repr([vars(row) for row in rows()])
    assert {row.outcome for row in rows()} == {AuditOutcome.DONE}
    assert PASSWORD not in repr([vars(row) for row in rows()])
