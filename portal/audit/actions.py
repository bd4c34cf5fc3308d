"""The actions of the audit trail, their kinds for the filter, and the labels of both. The values are stored."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from flask_babel import lazy_gettext as _

if TYPE_CHECKING:
    from collections.abc import Mapping


class ActivityKind(StrEnum):
    """What an action is about."""

    LOG_IN = "log-in"
    PEOPLE = "people"
    SETTINGS = "settings"
    TEXTS = "texts"
    PROGRAMME = "programme"
    AFFILIATES = "affiliates"
    COMMISSIONS = "commissions"
    DELIVERIES = "deliveries"
    CONNECTIONS = "connections"
    EXPORTS = "exports"
    OPERATOR = "operator"


class AuditOutcome(StrEnum):
    """What became of it."""

    DONE = "done"
    REFUSED = "refused"


class Activity(StrEnum):
    """What was done."""

    LOGGED_IN = "logged-in"
    LOG_IN_FAILED = "log-in-failed"
    LOGGED_OUT = "logged-out"
    LOGGED_OUT_DEVICE = "logged-out-device"
    LOGGED_OUT_OTHERS = "logged-out-others"
    PROVED = "proved"
    PASSWORD_CHANGED = "password-changed"
    RESET_REQUESTED = "reset-requested"
    PASSWORD_RESET = "password-reset"
    MAILBOX_CHANGE_ASKED = "mailbox-change-asked"
    MAILBOX_CHANGED = "mailbox-changed"
    MAILBOX_RESTORED = "mailbox-restored"
    NAME_CHANGED = "name-changed"
    FACTOR_ADDED = "factor-added"
    FACTOR_REMOVED = "factor-removed"
    RECOVERY_CODES_MADE = "recovery-codes-made"
    REFUSED_BY_ROLE = "refused-by-role"
    REGISTERED = "registered"
    INVITED = "invited"
    INVITED_AGAIN = "invited-again"
    INVITATION_WITHDRAWN = "invitation-withdrawn"
    JOINED = "joined"
    ROLE_CHANGED = "role-changed"
    PERSON_REMOVED = "person-removed"
    LEFT = "left"
    OWNERSHIP_OFFERED = "ownership-offered"
    HANDED_OVER = "handed-over"
    CONTACT_CHOSEN = "contact-chosen"
    FACTOR_DEMANDED = "factor-demanded"
    FACTOR_RESET = "factor-reset"
    SERVER_SAVED = "server-saved"
    SERVER_CHECKED = "server-checked"
    SERVER_LIVE = "server-live"
    SERVER_STOPPED = "server-stopped"
    CHECK_STOPPED = "check-stopped"
    DRAFTS_DISCARDED = "drafts-discarded"
    MAILBOX_CONNECTED = "mailbox-connected"
    MAILBOX_DISCONNECTED = "mailbox-disconnected"
    DOMAIN_PROVED = "domain-proved"
    SELECTOR_ADDED = "selector-added"
    SELECTOR_REMOVED = "selector-removed"
    TEXT_SAVED = "text-saved"
    TEXT_RESET = "text-reset"
    TEXT_RESTORED = "text-restored"
    NOTICE_SWITCHED = "notice-switched"
    LOOK_SAVED = "look-saved"
    FURTHER_MAILBOX_ADDED = "further-mailbox-added"
    FURTHER_MAILBOX_REMOVED = "further-mailbox-removed"
    PROGRAMME_SAVED = "programme-saved"
    SIGN_UP_RULES_SAVED = "sign-up-rules-saved"
    AFFILIATE_ADDED = "affiliate-added"
    AFFILIATE_INVITED = "affiliate-invited"
    AFFILIATE_APPROVED = "affiliate-approved"
    AFFILIATE_DECLINED = "affiliate-declined"
    AFFILIATE_SUSPENDED = "affiliate-suspended"
    AFFILIATE_UNSUSPENDED = "affiliate-unsuspended"
    AFFILIATE_CHANGED = "affiliate-changed"
    AFFILIATE_ADDRESS_KEPT = "affiliate-address-kept"
    AFFILIATE_LINK_SENT = "affiliate-link-sent"
    AFFILIATE_ERASED = "affiliate-erased"
    MAILBOX_SUPPRESSED = "mailbox-suppressed"
    MAILBOX_LIFTED = "mailbox-lifted"
    IMPORT_UPLOADED = "import-uploaded"
    IMPORT_STARTED = "import-started"
    IMPORT_STOPPED = "import-stopped"
    COMMISSION_DECIDED = "commission-decided"
    COMMISSION_RULE_SAVED = "commission-rule-saved"
    SKIPPED_WEEK_SENT = "skipped-week-sent"
    ORDER_GIVEN = "order-given"
    ORDER_STOPPED = "order-stopped"
    MESSAGE_RETRIED = "message-retried"
    MESSAGE_CANCELLED = "message-cancelled"
    MESSAGE_COPIED = "message-copied"
    RETENTION_SAVED = "retention-saved"
    QUEUE_RELEASED = "queue-released"
    QUEUE_DISCARDED = "queue-discarded"
    FAILOVER_STARTED = "failover-started"
    FAILOVER_ENDED = "failover-ended"
    FAILURE_POLICY_SAVED = "failure-policy-saved"
    LIMITS_SAVED = "limits-saved"
    ALERTS_SWITCHED = "alerts-switched"
    TOKEN_CREATED = "token-created"
    TOKEN_REVOKED = "token-revoked"
    WEBHOOK_SAVED = "webhook-saved"
    WEBHOOK_SECRET_RENEWED = "webhook-secret-renewed"
    WEBHOOK_REMOVED = "webhook-removed"
    WEBHOOK_EVENTS_SWITCHED = "webhook-events-switched"
    BOUNCE_ADDRESS_MADE = "bounce-address-made"
    BOUNCE_ADDRESS_RENEWED = "bounce-address-renewed"
    BOUNCE_ADDRESS_REMOVED = "bounce-address-removed"
    BOUNCE_KEY_SAVED = "bounce-key-saved"
    BOUNCES_DECIDED = "bounces-decided"
    BOUNCE_MAILBOX_SAVED = "bounce-mailbox-saved"
    BOUNCE_MAILBOX_REMOVED = "bounce-mailbox-removed"
    AFFILIATES_EXPORTED = "affiliates-exported"
    DELIVERIES_EXPORTED = "deliveries-exported"
    COMMISSIONS_EXPORTED = "commissions-exported"
    IMPORT_FAULTS_EXPORTED = "import-faults-exported"
    ACTIVITY_EXPORTED = "activity-exported"
    ACCOUNT_APPROVED = "account-approved"
    ACCOUNT_SUSPENDED = "account-suspended"
    ACCOUNT_RESUMED = "account-resumed"
    REGISTRATION_OFFERED = "registration-offered"
    REGISTRATION_WITHDRAWN = "registration-withdrawn"
    PLATFORM_LIMIT_SAVED = "platform-limit-saved"
    OPERATOR_PROMOTED = "operator-promoted"
    OPERATOR_DEMOTED = "operator-demoted"
    OUTBOX_RETRIED = "outbox-retried"
    OUTBOX_CANCELLED = "outbox-cancelled"
    OUTBOX_RELEASED = "outbox-released"
    KEYS_ROTATED = "keys-rotated"
    NAME_EMPTIED = "name-emptied"


_LABELS: Mapping[ActivityKind, Mapping[Activity, str]] = {
    ActivityKind.LOG_IN: {
        Activity.LOGGED_IN: _("Logged in"),
        Activity.LOG_IN_FAILED: _("Log-in failed"),
        Activity.LOGGED_OUT: _("Logged out"),
        Activity.LOGGED_OUT_DEVICE: _("Logged out a device"),
        Activity.LOGGED_OUT_OTHERS: _("Logged out other devices"),
        Activity.PROVED: _("Confirmed that it is them"),
        Activity.PASSWORD_CHANGED: _("Changed the password"),
        Activity.RESET_REQUESTED: _("Asked for a new password"),
        Activity.PASSWORD_RESET: _("Set a new password"),
        Activity.MAILBOX_CHANGE_ASKED: _("Asked for another email address to log in with"),
        Activity.MAILBOX_CHANGED: _("Changed the email address to log in with"),
        Activity.MAILBOX_RESTORED: _("Restored the former email address to log in with"),
        Activity.NAME_CHANGED: _("Changed their name"),
        Activity.FACTOR_ADDED: _("Added a second factor"),
        Activity.FACTOR_REMOVED: _("Removed a second factor"),
        Activity.RECOVERY_CODES_MADE: _("Made new recovery codes"),
        Activity.REFUSED_BY_ROLE: _("Was refused because of the role"),
    },
    ActivityKind.PEOPLE: {
        Activity.REGISTERED: _("Registered the programme"),
        Activity.INVITED: _("Invited a person"),
        Activity.INVITED_AGAIN: _("Sent an invitation again"),
        Activity.INVITATION_WITHDRAWN: _("Withdrew an invitation"),
        Activity.JOINED: _("Joined the team"),
        Activity.ROLE_CHANGED: _("Changed a role"),
        Activity.PERSON_REMOVED: _("Removed a person"),
        Activity.LEFT: _("Left the team"),
        Activity.OWNERSHIP_OFFERED: _("Offered the ownership"),
        Activity.HANDED_OVER: _("Accepted the ownership"),
        Activity.CONTACT_CHOSEN: _("Chose the contact"),
        Activity.FACTOR_DEMANDED: _("Changed whether everyone needs a second factor"),
        Activity.FACTOR_RESET: _("Reset a person’s second factor"),
    },
    ActivityKind.SETTINGS: {
        Activity.SERVER_SAVED: _("Saved SMTP settings"),
        Activity.SERVER_CHECKED: _("Started a check"),
        Activity.SERVER_LIVE: _("SMTP settings went live"),
        Activity.SERVER_STOPPED: _("Stopped using custom SMTP"),
        Activity.CHECK_STOPPED: _("Stopped a check"),
        Activity.DRAFTS_DISCARDED: _("Discarded drafts"),
        Activity.MAILBOX_CONNECTED: _("Connected a mailbox"),
        Activity.MAILBOX_DISCONNECTED: _("Disconnected a mailbox"),
        Activity.DOMAIN_PROVED: _("Proved a domain"),
        Activity.SELECTOR_ADDED: _("Added a DKIM selector"),
        Activity.SELECTOR_REMOVED: _("Removed a DKIM selector"),
    },
    ActivityKind.TEXTS: {
        Activity.TEXT_SAVED: _("Changed the text of an email"),
        Activity.TEXT_RESET: _("Reset an email to the default text"),
        Activity.TEXT_RESTORED: _("Restored an earlier text"),
        Activity.NOTICE_SWITCHED: _("Switched an email on or off"),
        Activity.LOOK_SAVED: _("Changed the email design"),
        Activity.FURTHER_MAILBOX_ADDED: _("Added a mailbox for the emails to the owner"),
        Activity.FURTHER_MAILBOX_REMOVED: _("Removed a mailbox for the emails to the owner"),
    },
    ActivityKind.PROGRAMME: {
        Activity.PROGRAMME_SAVED: _("Changed the programme"),
        Activity.SIGN_UP_RULES_SAVED: _("Changed the sign-up rules"),
    },
    ActivityKind.AFFILIATES: {
        Activity.AFFILIATE_ADDED: _("Added an affiliate"),
        Activity.AFFILIATE_INVITED: _("Invited an affiliate"),
        Activity.AFFILIATE_APPROVED: _("Approved an affiliate"),
        Activity.AFFILIATE_DECLINED: _("Declined an affiliate"),
        Activity.AFFILIATE_SUSPENDED: _("Suspended an affiliate"),
        Activity.AFFILIATE_UNSUSPENDED: _("Ended the suspension of an affiliate"),
        Activity.AFFILIATE_CHANGED: _("Changed an affiliate"),
        Activity.AFFILIATE_ADDRESS_KEPT: _("Withdrew a new address"),
        Activity.AFFILIATE_LINK_SENT: _("Sent an affiliate’s link again"),
        Activity.AFFILIATE_ERASED: _("Erased an affiliate"),
        Activity.MAILBOX_SUPPRESSED: _("Blocked an address"),
        Activity.MAILBOX_LIFTED: _("Unblocked an address"),
        Activity.IMPORT_UPLOADED: _("Uploaded a file of affiliates"),
        Activity.IMPORT_STARTED: _("Started an import"),
        Activity.IMPORT_STOPPED: _("Stopped an import"),
    },
    ActivityKind.COMMISSIONS: {
        Activity.COMMISSION_DECIDED: _("Decided about a commission"),
        Activity.COMMISSION_RULE_SAVED: _("Changed the rule for approvals"),
        Activity.SKIPPED_WEEK_SENT: _("Sent a skipped weekly summary"),
    },
    ActivityKind.DELIVERIES: {
        Activity.ORDER_GIVEN: _("Started a bulk action on emails"),
        Activity.ORDER_STOPPED: _("Stopped a bulk action on emails"),
        Activity.MESSAGE_RETRIED: _("Retried an email"),
        Activity.MESSAGE_CANCELLED: _("Cancelled an email"),
        Activity.MESSAGE_COPIED: _("Sent another copy of an email"),
        Activity.RETENTION_SAVED: _("Changed how long emails are kept"),
        Activity.QUEUE_RELEASED: _("Released waiting emails"),
        Activity.QUEUE_DISCARDED: _("Discarded waiting emails"),
        Activity.FAILOVER_STARTED: _("Switched to the platform’s server"),
        Activity.FAILOVER_ENDED: _("Switched back to their own server"),
        Activity.FAILURE_POLICY_SAVED: _("Changed what happens when sending fails"),
        Activity.LIMITS_SAVED: _("Changed the sending limits"),
        Activity.ALERTS_SWITCHED: _("Switched alerts by email on or off"),
    },
    ActivityKind.CONNECTIONS: {
        Activity.TOKEN_CREATED: _("Created an API token"),
        Activity.TOKEN_REVOKED: _("Revoked an API token"),
        Activity.WEBHOOK_SAVED: _("Saved the webhook"),
        Activity.WEBHOOK_SECRET_RENEWED: _("Replaced the secret of the webhook"),
        Activity.WEBHOOK_REMOVED: _("Removed the webhook"),
        Activity.WEBHOOK_EVENTS_SWITCHED: _("Changed which events the webhook gets"),
        Activity.BOUNCE_ADDRESS_MADE: _("Created an address for bounce reports"),
        Activity.BOUNCE_ADDRESS_RENEWED: _("Replaced an address for bounce reports"),
        Activity.BOUNCE_ADDRESS_REMOVED: _("Removed an address for bounce reports"),
        Activity.BOUNCE_KEY_SAVED: _("Saved a key for bounce reports"),
        Activity.BOUNCES_DECIDED: _("Decided about many bounces of one domain"),
        Activity.BOUNCE_MAILBOX_SAVED: _("Saved the mailbox that is read for bounces"),
        Activity.BOUNCE_MAILBOX_REMOVED: _("Removed the mailbox that is read for bounces"),
    },
    ActivityKind.EXPORTS: {
        Activity.AFFILIATES_EXPORTED: _("Exported affiliates"),
        Activity.DELIVERIES_EXPORTED: _("Exported deliveries"),
        Activity.COMMISSIONS_EXPORTED: _("Exported commissions"),
        Activity.IMPORT_FAULTS_EXPORTED: _("Exported the errors of an import"),
        Activity.ACTIVITY_EXPORTED: _("Exported the activity"),
    },
    ActivityKind.OPERATOR: {
        Activity.ACCOUNT_APPROVED: _("Approved the account"),
        Activity.ACCOUNT_SUSPENDED: _("Suspended the account"),
        Activity.ACCOUNT_RESUMED: _("Ended the suspension of the account"),
        Activity.REGISTRATION_OFFERED: _("Invited a person to register"),
        Activity.REGISTRATION_WITHDRAWN: _("Withdrew an invitation to register"),
        Activity.PLATFORM_LIMIT_SAVED: _("Changed the limit of the platform’s sender"),
        Activity.OPERATOR_PROMOTED: _("Made a person an operator"),
        Activity.OPERATOR_DEMOTED: _("Ended a person’s rights as an operator"),
        Activity.OUTBOX_RETRIED: _("Retried emails"),
        Activity.OUTBOX_CANCELLED: _("Cancelled emails"),
        Activity.OUTBOX_RELEASED: _("Released queues"),
        Activity.KEYS_ROTATED: _("Encrypted secrets with the first key"),
        Activity.NAME_EMPTIED: _("Removed the name of an erased person"),
    },
}
KIND_OF: Mapping[Activity, ActivityKind] = {
    action: kind for kind, labels in _LABELS.items() for action in labels
}
LABELS: Mapping[Activity, str] = {
    action: label for labels in _LABELS.values() for action, label in labels.items()
}

KIND_LABELS: Mapping[ActivityKind, str] = {
    ActivityKind.LOG_IN: _("Log-ins and passwords"),
    ActivityKind.PEOPLE: _("Team"),
    ActivityKind.SETTINGS: _("SMTP settings and domain"),
    ActivityKind.TEXTS: _("Automated emails"),
    ActivityKind.PROGRAMME: _("Programme settings"),
    ActivityKind.AFFILIATES: _("Affiliates"),
    ActivityKind.COMMISSIONS: _("Commissions"),
    ActivityKind.DELIVERIES: _("Deliveries and incidents"),
    ActivityKind.CONNECTIONS: _("API tokens, webhooks and bounces"),
    ActivityKind.EXPORTS: _("Exports"),
    ActivityKind.OPERATOR: _("Operator"),
}
