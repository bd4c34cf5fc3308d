"""What the owner does at each provider: where the address is pasted, which events are ticked, where its own list is.

The steps are those of the providers' consoles as their documentation describes them; names of buttons may change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_babel import lazy_gettext as _

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Setup:
    """The set-up at one provider. ``events`` are names in its console; ``list_page`` is where its suppression list begins."""

    steps: Sequence[str]
    events: Sequence[str] = ()
    list_page: str = ""
    list_path: str = ""
    note: str = ""


SETUPS: Mapping[str, Setup] = {
    "mailgun": Setup(
        steps=(
            _("In Mailgun open Sending, then Webhooks, and choose your sending domain."),
            _("Add a webhook with the address above for each of the events below."),
            _("Copy the HTTP webhook signing key from the same page and save it here."),
        ),
        events=(
            "Delivered Messages",
            "Permanent Failure",
            "Temporary Failure",
            "Spam Complaints",
            "Unsubscribes",
        ),
        list_page="https://app.mailgun.com/",
        list_path=_("Sending, Suppressions"),
    ),
    "ses": Setup(
        steps=(
            _(
                "In Amazon SNS, create a standard topic in the region of your SES identity. Use one topic for all events."
            ),
            _(
                "Create a subscription to it with the protocol HTTPS and the address above as the endpoint. Leave "
                "raw message delivery off, because raw messages have no signature. Signet confirms the subscription "
                "automatically."
            ),
            _(
                "In Amazon SES open your identity, then Notifications, and choose the topic for the feedback below. Tick "
                "“Include original email headers”."
            ),
            _("Turn off email feedback forwarding if you do not want the bounces as emails too."),
        ),
        events=("Bounce feedback", "Complaint feedback", "Delivery feedback"),
        list_page="https://console.aws.amazon.com/ses/home",
        list_path=_("Configuration, Suppression list"),
        note=_(
            "By default SNS retries a failed call three times within a minute. If the portal may be "
            "unavailable for longer, give the subscription a delivery policy of up to an hour. "
            "Otherwise events are lost."
        ),
    ),
    "sendgrid": Setup(
        steps=(
            _(
                "In SendGrid open Settings, then Mail Settings, then Event Webhooks, and create a new webhook."
            ),
            _("Paste the address above as Post URL, and tick the events below."),
            _("Enable Signed Event Webhook, save, copy the Verification Key and save it here."),
        ),
        events=("Dropped", "Deferred", "Delivered", "Bounced", "Spam Reports", "Unsubscribes"),
        list_page="https://app.sendgrid.com/suppressions/bounces",
        list_path=_("Suppressions"),
    ),
    "postmark": Setup(
        steps=(
            _("In Postmark open your server, then the message stream, then Webhooks, and add a webhook."),
            _("Paste the address above as Webhook URL, and tick the events below."),
        ),
        events=("Delivery", "Bounce", "Spam complaint", "Subscription change"),
        list_page="https://account.postmarkapp.com/servers",
        list_path=_("your server, the message stream, Suppressions"),
        note=_(
            "Postmark does not sign its calls: the secret in the address is the proof, so treat it as a password."
        ),
    ),
    "brevo": Setup(
        steps=(
            _("In Brevo open Transactional, then Settings, then Webhook, and add a new webhook."),
            _("Paste the address above as URL, and tick the events below."),
        ),
        events=(
            "Delivered",
            "Soft Bounce",
            "Hard Bounce",
            "Invalid email",
            "Deferred",
            "Complaint",
            "Blocked",
            "Error",
            "Unsubscribed",
        ),
        list_page="https://app.brevo.com/",
        list_path=_("Transactional, Settings, Blocked contacts"),
        note=_(
            "Brevo does not sign its calls: the secret in the address is the proof, so treat it as a password."
        ),
    ),
    "mailjet": Setup(
        steps=(
            _("In Mailjet open Account settings, then Event notifications (webhooks)."),
            _("Paste the address above for each of the events below; grouped events are fine."),
        ),
        events=("Sent", "Bounce", "Blocked", "Spam", "Unsub"),
        list_page="https://app.mailjet.com/",
        list_path=_("Contacts, Exclusion list"),
        note=_(
            "Mailjet does not sign its calls: the secret in the address is the proof, so treat it as a password."
        ),
    ),
    "sparkpost": Setup(
        steps=(
            _("In SparkPost open Configuration, then Webhooks, and create a webhook."),
            _("Paste the address above as target URL, choose single events and tick those below."),
        ),
        events=(
            "Bounce",
            "Delivery",
            "Delay",
            "Spam Complaint",
            "Out of Band",
            "Policy Rejection",
            "Generation Rejection",
            "List Unsubscribe",
            "Link Unsubscribe",
        ),
        list_page="https://app.sparkpost.com/lists/suppressions",
        list_path=_("Recipients, Suppressions"),
        note=_(
            "SparkPost does not sign its calls: the secret in the address is the proof, so treat it as a password."
        ),
    ),
    "resend": Setup(
        steps=(
            _("In Resend open Webhooks and add a webhook with the address above and the events below."),
            _("Copy its Signing Secret, which begins with whsec_, and save it here."),
        ),
        events=(
            "email.delivered",
            "email.delivery_delayed",
            "email.bounced",
            "email.complained",
            "email.failed",
            "email.suppressed",
        ),
        list_page="https://resend.com/emails/suppressions",
        list_path=_("Emails, Suppressions"),
    ),
    "generic": Setup(
        steps=(
            _("Set up your mail server, a script or another provider to post JSON to the address above."),
            _("The file docs/bounces.md of Signet describes the format: one event, or a list of events."),
        ),
    ),
}


def setup_of(provider: str) -> Setup:
    """Return the set-up at a provider; an empty one if there is none."""
    return SETUPS.get(provider, Setup(steps=()))
