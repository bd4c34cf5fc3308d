"""The steps from a new account to a running programme, each computed from the present state. It is shown until all are done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from sqlalchemy import select

from ..accounts.models import Account
from ..accounts.standing import AccountState, state_of
from ..affiliates.models import Affiliate
from ..db import db
from ..domains.models import DomainStatus
from ..enrolment.signup_rules import get_rules
from ..notices import recipients
from ..notices.branding import Branding, branding_of
from ..notices.catalogue import NEW_SIGN_UP
from ..status.model import Code, Through

if TYPE_CHECKING:
    from ..status.model import SendingStatus

CONNECT, SHARE = "connect", "share"


@dataclass(frozen=True)
class Step:
    """One step. ``needed`` is the endpoint that a person's role must include for taking it.

    ``label`` is empty while the step cannot be taken; ``text`` states why.
    """

    key: str
    title: str
    text: str
    is_done: bool
    label: str
    endpoint: str
    needed: str
    values: tuple[tuple[str, Any], ...] = ()


def steps(account_id: int, status: SendingStatus) -> list[Step]:
    """Return the steps of an account; empty if all are done."""
    account = db.session.get_one(Account, account_id)
    found = [*_sending(status), *_programme(account)]
    return [] if all(step.is_done for step in found) else found


def is_connected(status: SendingStatus) -> bool:
    """Return whether the account's own server, which is not the rehearsal's, carries its emails."""
    codes = {one.code for one in status.missing}
    return status.facts.through is Through.OWN and Code.PRACTICE not in codes


def _sending(status: SendingStatus) -> list[Step]:
    facts, connected = status.facts, is_connected(status)
    return [
        Step(
            CONNECT,
            _("Connect your provider"),
            _("Your emails then come from your own domain."),
            connected,
            _("Choose a provider"),
            "guided.providers",
            "settings.save",
        ),
        Step(
            "arrival",
            _("See a test email arrive"),
            _("Send yourself one, open it and choose It arrived."),
            connected and facts.received_at is not None,
            _("Send a test email"),
            "settings.email_preferences",
            "settings.send_test",
            (("_anchor", "sender"),),
        ),
        Step(
            "records",
            _("Set your DNS records"),
            _("They show inboxes that the emails are really yours."),
            connected and facts.domain_status is DomainStatus.ARRIVES,
            _("See the records"),
            "domains.sending_domain",
            "settings.save",
        ),
    ]


def _programme(account: Account) -> list[Step]:
    return [
        Step(
            "design",
            _("Design your emails"),
            _("Your logo, your colour and your postal address."),
            branding_of(account.id) != Branding(),
            _("Open the design"),
            "notices.branding_page",
            "notices.save_branding",
        ),
        Step(
            "shop",
            _("Enter your shop’s address"),
            _("Your affiliates’ links lead there."),
            bool(account.shop_url),
            _("Enter the address"),
            "programme.settings",
            "programme.save",
        ),
        _share(account),
    ]


def _share(account: Account) -> Step:
    """Return the step about the sign-up page, which answers 503 while the account is waiting or suspended."""
    is_on, state = recipients.is_enabled(account.id, NEW_SIGN_UP), state_of(account)
    first = select(Affiliate.id).where(Affiliate.account_id == account.id).limit(1)
    if state is AccountState.WAITING:
        text = _("Your sign-up page is closed until the operator of this portal approves your account.")
    elif state is AccountState.SUSPENDED:
        text = _("Your sign-up page is closed while your account is suspended.")
    elif is_on and not get_rules(account.id).auto_approve:
        text = _("Test it first: sign up as an affiliate yourself. Then approve your application.")
    elif is_on:
        text = _("Test it first: sign up as an affiliate yourself. New Sign-up is on, so you get its email.")
    else:
        text = _("Test it first: switch on New Sign-up, then sign up as an affiliate yourself.")
    label = _("Open the sign-up page") if is_on else _("Open New Sign-up")
    return Step(
        SHARE,
        _("Share your sign-up page"),
        text,
        db.session.scalar(first) is not None,
        label if state is AccountState.ACTIVE else "",
        "affiliates.join" if is_on else "notices.show",
        "affiliates.invite",
        (("slug", account.slug),) if is_on else (("kind", NEW_SIGN_UP.kind),),
    )
