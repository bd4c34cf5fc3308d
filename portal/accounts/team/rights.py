"""Roles, rights, and the two tables: which right each endpoint needs, and which need a proof of person.

``access.py`` reads them before every request. An endpoint without a right is refused: an app of the tests is not made
then, and a live portal answers 404.
"""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a person is in one account. The values are stored."""

    OWNER = "owner"
    EDITOR = "editor"
    VIEWER = "viewer"


class Right(StrEnum):
    """What an endpoint needs. All but PUBLIC and OPERATE come with a role in the account that the session shows."""

    PUBLIC = "public"  # answers anybody; what it protects, it protects by a key or a token of its own
    SELF = "self"  # one's own log-in: names, password, devices, the programme that is shown
    SEE = "see"
    WRITE = "write"  # texts, look, affiliates, commissions, waiting emails, test emails
    EXPORT = "export"  # tables with personal data as files
    CONNECT = "connect"  # SMTP settings, mailboxes of notices, secrets, limits, names of the programme
    PEOPLE = "people"  # who belongs to the account
    OPERATE = "operate"  # the operator's pages; others get 404


_VIEWER = frozenset({Right.SELF, Right.SEE})
_EDITOR = _VIEWER | {Right.WRITE, Right.EXPORT}
_OWNER = _EDITOR | {Right.CONNECT, Right.PEOPLE}
_RIGHTS_OF = {Role.VIEWER: _VIEWER, Role.EDITOR: _EDITOR, Role.OWNER: _OWNER}  # lowest first

_ENDPOINTS = {
    Right.PUBLIC: """
        static
        accounts.confirm accounts.forgot accounts.forgot_sent accounts.invited accounts.log_in accounts.log_out
        accounts.register accounts.register_invited accounts.register_sent accounts.reset
        accounts.undo_mailbox
        team.invitation team.accept
        factors.second_step factors.log_in_by_passkey factors.options_to_use
        affiliates.accept affiliates.confirm affiliates.confirm_address affiliates.confirm_address_now
        affiliates.choose_dashboard_language affiliates.choose_unsubscribe_language
        affiliates.confirm_now affiliates.dashboard affiliates.find_page affiliates.find_pages affiliates.invitation
        affiliates.join affiliates.owner_unsubscribe affiliates.preferences affiliates.save_preferences
        affiliates.send_again affiliates.thanks affiliates.unsubscribe
        api.add_affiliate api.change_affiliate api.check_draft api.erase_affiliate api.list_affiliates
        api.list_commissions api.openapi api.save_draft api.send_event api.send_events api.show_affiliate
        api.show_balance api.show_event api.show_message api.show_sending api.show_version
        arrival.mark_received arrival.show_link
        hooks.receive
        links.accent_styles links.follow
        monitoring.healthz monitoring.metrics monitoring.readyz monitoring.security_contact
        notices.confirm_mailbox notices.confirm_mailbox_now notices.logo
        privacy.ask privacy.download privacy.erasure privacy.withdraw
        samples.sample_link
    """,
    Right.SELF: """
        accounts.profile accounts.add_programme accounts.change_language accounts.change_own_zone
        accounts.switch_shortcuts accounts.shortcuts accounts.change_names accounts.change_password accounts.log_out_device
        accounts.log_out_others
        accounts.prove accounts.change_mailbox accounts.confirm_new_mailbox
        team.switch team.leave
        factors.index factors.new_app factors.confirm_app factors.remove_app factors.new_codes
        factors.add_passkey factors.options_to_add factors.remove_passkey factors.options_to_prove factors.prove_by_passkey
    """,
    Right.SEE: """
        activity.index
        team.index
        affiliates.by_code affiliates.index affiliates.show affiliates.sign_up_rules affiliates.suppressions
        api_pages.index api_pages.reference api_pages.simulator
        arrival.show
        deliveries.html deliveries.index deliveries.keep deliveries.order deliveries.show
        domains.sending_domain
        events.index
        home.show home.all_settings
        explain.answer explain.show
        imports.index imports.show
        incidents.alerts incidents.failure incidents.index incidents.limits incidents.show incidents.waiting
        money.index
        notices.branding_page notices.branding_preview notices.html notices.index notices.show notices.version
        programme.settings
        rehearsal.faults rehearsal.html rehearsal.inbox rehearsal.message rehearsal.raw
        settings.email_preferences settings.provider_help
    """,
    Right.WRITE: """
        affiliates.decide affiliates.decide_many affiliates.decline affiliates.edit affiliates.invite
        affiliates.keep_address affiliates.new_decision affiliates.send_link_again affiliates.suppress
        affiliates.unsuppress
        api_pages.simulate
        arrival.paste_headers
        deliveries.give_order deliveries.new_order deliveries.retry_or_cancel deliveries.send_again
        deliveries.stop_order
        imports.choose imports.start imports.stop imports.upload
        incidents.discard incidents.own incidents.platform incidents.release
        money.decide money.new_decision money.save_rule money.send_skipped_week money.skipped_week
        notices.live_preview notices.reset notices.restore notices.save notices.save_branding notices.switch
        privacy.erase privacy.take_part_again
        programme.save
        rehearsal.clear rehearsal.report
        settings.send_test
    """,
    Right.EXPORT: "activity.table affiliates.export deliveries.table imports.faults money.export",
    Right.CONNECT: """
        accounts.change_time_zone
        api_pages.create api_pages.revoke
        bounce_mailbox.read_now bounce_mailbox.remove bounce_mailbox.save bounce_mailbox.save_folder bounce_mailbox.show
        bounces.create bounces.decide bounces.events bounces.index bounces.remove bounces.renew bounces.save_key
        connect.disconnect connect.google connect.index connect.microsoft connect.save_google connect.save_microsoft
        connect_mailbox.app connect_mailbox.begin connect_mailbox.save_app connect_mailbox.save_service_account
        connect_mailbox.service_account connect_mailbox.show
        consent.begin consent.callback consent.show
        guided.account guided.providers
        domains.add_selector domains.check_again domains.remove_selector
        incidents.alerts_by_mail incidents.message_events incidents.remove_webhook incidents.renew_secret
        incidents.save_failure incidents.save_limits incidents.save_webhook incidents.test_webhook
        notices.add_mailbox notices.remove_mailbox notices.send_mailbox_link_again
        settings.discard_drafts settings.prove_domain settings.save settings.stop settings.stop_check
        settings.version_action
    """,
    Right.PEOPLE: """
        team.invite team.resend team.withdraw team.change_role team.remove team.hand_over team.choose_contact
        factors.demand factors.reset_member
    """,
    Right.OPERATE: """
        activity.of_portal
        operator.approve operator.check_platform_sender operator.give_order operator.invite operator.list_accounts
        operator.list_invitations operator.orders operator.outbox operator.renew_invitation operator.resume
        operator.save_platform_limit operator.show_account operator.show_platform_sender operator.suspend
        operator.withdraw_invitation operator.workers
    """,
}
_NEEDED = {endpoint: right for right, names in _ENDPOINTS.items() for endpoint in names.split()}
# What an endpoint needs for other methods than GET and HEAD, where that is more.
_TO_CHANGE = {
    "affiliates.sign_up_rules": Right.WRITE,
    "deliveries.keep": Right.CONNECT,
    "settings.provider_help": Right.CONNECT,
}
# What a person may do in an account that demands a second factor, before there is one.
_WITHOUT_FACTOR = frozenset(
    (
        "factors.index", "factors.new_app", "factors.confirm_app", "factors.options_to_add", "factors.add_passkey",
        "accounts.prove", "factors.options_to_prove", "factors.prove_by_passkey", "team.switch",
    )
)  # fmt: skip
_READING = frozenset({"GET", "HEAD"})

# The endpoints that change something only shortly after a proof of person, by the page that has their form: what a stolen
# session must not do. tests/accounts/test_proof.py lists why the other ones of CONNECT, PEOPLE and EXPORT need none.
_PROVED = {
    "settings.email_preferences": "settings.save settings.stop settings.version_action connect.disconnect",
    "connect.google": "connect.save_google",
    "connect.microsoft": "connect.save_microsoft",
    "consent.show": "consent.begin",
    "bounce_mailbox.show": "bounce_mailbox.save",
    "connect_mailbox.app": "connect_mailbox.save_app",
    "connect_mailbox.service_account": "connect_mailbox.save_service_account",
    "connect_mailbox.show": "connect_mailbox.begin",
    "bounces.index": "bounces.create bounces.renew bounces.save_key",
    "incidents.alerts": "incidents.save_webhook incidents.renew_secret",
    "notices.index": "notices.add_mailbox",
    "api_pages.index": "api_pages.create",
    "team.index": """
        team.invite team.resend team.change_role team.remove team.hand_over team.choose_contact team.leave
        factors.demand factors.reset_member
    """,
    "team.invitation": "team.accept",
    "deliveries.keep": "deliveries.keep",
    "accounts.change_mailbox": "accounts.change_mailbox",
    "accounts.confirm_new_mailbox": "accounts.confirm_new_mailbox",
    "accounts.profile": "accounts.log_out_device accounts.log_out_others",
    "factors.index": """
        factors.remove_app factors.new_codes factors.options_to_add factors.add_passkey factors.remove_passkey
    """,
    "affiliates.show": "privacy.erase",
    "affiliates.index": "affiliates.export",
    "deliveries.index": "deliveries.table",
    "activity.index": "activity.table",
    "money.index": "money.export",
    "imports.show": "imports.faults",
    "operator.list_accounts": "operator.approve operator.invite operator.resume",
    "operator.list_invitations": "operator.renew_invitation operator.withdraw_invitation",
    "operator.orders": "operator.give_order",
    "operator.show_account": "operator.save_platform_limit",
}
_PAGE_OF = {endpoint: page for page, names in _PROVED.items() for endpoint in names.split()}
# Pages that have no other purpose than such a form: they ask before anything is typed.
_ASKED_FIRST = frozenset(
    (
        "connect.google", "connect.microsoft", "consent.show", "factors.new_app",
        "connect_mailbox.app", "connect_mailbox.service_account", "connect_mailbox.show",
        "accounts.change_mailbox", "accounts.confirm_new_mailbox",
    )
)  # fmt: skip


def needed(endpoint: str, method: str) -> Right | None:
    """Return the right that a request needs; None for an endpoint without a row."""
    right = _NEEDED.get(endpoint)
    return right if method in _READING else _TO_CHANGE.get(endpoint, right)


def page_to_prove(endpoint: str, method: str) -> str | None:
    """Return the endpoint of the page to show after a proof of person; None where a request needs no proof."""
    if method in _READING:
        return endpoint if endpoint in _ASKED_FIRST else None
    return _PAGE_OF.get(endpoint)


def needs_factor(endpoint: str) -> bool:
    """Return whether an endpoint is closed to a person without the second factor that the account demands."""
    return endpoint not in _WITHOUT_FACTOR


def endpoints() -> frozenset[str]:
    """Return every endpoint that has a row."""
    return frozenset(_NEEDED)


def may(role: Role, right: Right) -> bool:
    """Return whether a role holds a right."""
    return right in _RIGHTS_OF[role]


def roles_with(right: Right) -> list[Role]:
    """Return the roles that hold a right, the highest first."""
    return [role for role in reversed(_RIGHTS_OF) if may(role, right)]


def is_lower(role: Role, other: Role) -> bool:
    """Return whether a role holds less than another one."""
    return _RIGHTS_OF[role] < _RIGHTS_OF[other]
