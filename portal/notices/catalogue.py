"""The catalogue of automated emails: one declaration each, and one folder of texts in ``templates/mail/<kind>/``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Audience(StrEnum):
    """Whom a notice is for."""

    AFFILIATE = "affiliate"
    OWNER = "owner"


class Category(StrEnum):
    """What a notice is to those who judge mail: all but transactional ones can be unsubscribed from."""

    TRANSACTIONAL = "transactional"
    SUMMARY = "summary"
    PROMOTIONAL = "promotional"


class Type(StrEnum):
    """What a variable holds. All are strings; the type says how to show one."""

    TEXT = "text"
    LINK = "link"
    AMOUNT = "amount"
    NUMBER = "number"
    DATE = "date"
    LINES = "lines"


@dataclass(frozen=True)
class Variable:
    """A value that a text may use. An ``optional`` one may be empty, and may be left out by who causes the mail."""

    name: str
    description: str
    sample: str
    type: Type = Type.TEXT
    optional: bool = False


@dataclass(frozen=True)
class Notice:
    """A kind of automated email. A ``fixed`` one is neither edited nor switched off."""

    kind: str
    name: str
    audience: Audience
    occasions: tuple[str, ...]  # what happens in the programme, by the words of the events
    category: Category
    when: str  # one sentence for the owner
    because: str  # one sentence for the recipient, in the footer; {programme} is filled in
    variables: tuple[Variable, ...]
    fixed: bool = False

    @property
    def optional_mail(self) -> bool:
        """Whether its recipients may unsubscribe from it."""
        return self.category is not Category.TRANSACTIONAL

    @property
    def whom(self) -> str:
        """Whom it is for, as its owner is told: two notices may bear the same name."""
        return "you" if self.audience is Audience.OWNER else "the affiliate"

    @property
    def tells_of_one(self) -> bool:
        """Whether its words are about one affiliate."""
        return any(variable.name in ("first_name", "affiliate_name") for variable in self.variables)

    @property
    def full_name(self) -> str:
        """Its name where it stands alone, told apart from the affiliates’ notice of the same name."""
        return f"{self.name} (to you)" if self.audience is Audience.OWNER else self.name


_PROGRAMME = Variable("programme", "The name of your programme", "Brightleaf")
_AFFILIATE = (
    _PROGRAMME,
    Variable("first_name", "The affiliate’s first name", "Ada"),
    Variable("last_name", "The affiliate’s last name; may be empty", "Lovelace", optional=True),
    Variable("name", "The affiliate’s full name", "Ada Lovelace"),
    Variable("email", "The affiliate’s email address", "ada@lovelace.example"),
    Variable("code", "The code in the affiliate’s link", "ADA7K2PQ"),
    Variable(
        "link", "The affiliate’s own link", "https://signet.example/join/brightleaf?ref=ADA7K2PQ", Type.LINK
    ),
    Variable(
        "dashboard", "The affiliate’s private dashboard", "https://signet.example/affiliate/sample", Type.LINK
    ),
)
_OWNER = (
    _PROGRAMME,
    Variable("owner_name", "Your name", "Grace Hopper"),
)
_ABOUT_AFFILIATE = (
    Variable("affiliate_name", "The affiliate’s full name", "Ada Lovelace"),
    Variable("affiliate_email", "The affiliate’s email address", "ada@lovelace.example"),
    Variable(
        "affiliate_page",
        "The affiliate’s page in this portal",
        "https://signet.example/affiliates",
        Type.LINK,
    ),
)
_REASON = Variable("reason", "The reason given; may be empty", "The order was cancelled.", optional=True)
_ORDER = Variable("order", "The number of the order", "1042")
_COMMISSION = Variable("commission", "The affiliate’s commission", "12.00", Type.AMOUNT)
_CURRENCY = Variable("currency", "The currency of the amounts", "EUR")
_AMOUNT = Variable("amount", "The amount of the purchase", "80.00", Type.AMOUNT)
_PRODUCT = Variable("product", "What was bought; may be empty", "Darjeeling, 250 g", optional=True)
_PURCHASE = (_ORDER, _AMOUNT, _CURRENCY, _COMMISSION, _PRODUCT)
_WEEK = (
    Variable("week_start", "The first day of the week", "16 November 2026", Type.DATE),
    Variable("week_end", "The last day of the week", "22 November 2026", Type.DATE),
    Variable("leads", "New leads in the week", "14", Type.NUMBER),
    Variable("purchases", "Purchases in the week", "3", Type.NUMBER),
    Variable(
        "commission_lines",
        "The week’s commission, one line for each currency",
        "36.00 EUR\n12.50 USD",
        Type.LINES,
        optional=True,
    ),
)
_IS_AFFILIATE = "You receive this email because you are an affiliate of {programme}."
_SIGNED_UP = (
    "You receive this email because this address was signed up for the affiliate programme of {programme}. "
    "If that was not you, simply ignore it."
)
_IS_OWNER = (
    "You receive this email because you look after the affiliate programme of {programme}. "
    "Choose in the portal, under Automated emails, what is sent to you."
)
_FOR_AFFILIATE, _FOR_OWNER = Audience.AFFILIATE, Audience.OWNER
_TRANSACTIONAL = Category.TRANSACTIONAL

NEW_SIGN_UP = Notice(
    kind="new-sign-up",
    name="New Sign-up",
    audience=_FOR_AFFILIATE,
    occasions=("signed-up",),
    category=_TRANSACTIONAL,
    when="As soon as somebody signs up as an affiliate.",
    because=_SIGNED_UP,
    variables=_AFFILIATE,
)
CONFIRM_SIGN_UP = Notice(
    kind="confirm-sign-up",
    name="Confirm sign-up",
    audience=_FOR_AFFILIATE,
    occasions=(),
    category=_TRANSACTIONAL,
    when="When somebody enters an address in your sign-up form, to learn whether it is theirs.",
    because=_SIGNED_UP,
    # None of the visitor's own words: a form that mails strangers what somebody typed would be a spammer's tool.
    variables=(
        _PROGRAMME,
        Variable(
            "confirm_link",
            "Where the address is confirmed",
            "https://signet.example/confirm/sample",
            Type.LINK,
        ),
    ),
    fixed=True,
)
_OTHERS = (
    Notice(
        kind="application-received",
        name="Application received",
        audience=_FOR_AFFILIATE,
        occasions=("applied",),
        category=_TRANSACTIONAL,
        when="When somebody signs up and waits for your approval.",
        because=_SIGNED_UP,
        variables=_AFFILIATE,
    ),
    Notice(
        kind="approved",
        name="Approved",
        audience=_FOR_AFFILIATE,
        occasions=("approved",),
        category=_TRANSACTIONAL,
        when="When you approve somebody who applied.",
        because=_IS_AFFILIATE,
        variables=_AFFILIATE,
    ),
    Notice(
        kind="declined",
        name="Declined",
        audience=_FOR_AFFILIATE,
        occasions=("declined",),
        category=_TRANSACTIONAL,
        when="When you decline somebody who applied.",
        because=_SIGNED_UP,
        variables=(
            *_AFFILIATE,
            Variable(
                "reason", "The reason you gave; may be empty", "We work with tea blogs only.", optional=True
            ),
        ),
    ),
    Notice(
        kind="invited",
        name="Invitation",
        audience=_FOR_AFFILIATE,
        occasions=("invited",),
        category=Category.PROMOTIONAL,
        when="When you invite somebody to become an affiliate.",
        because="You receive this email because {programme} invited you to its affiliate programme.",
        variables=(
            *_AFFILIATE,
            Variable("invited_by", "Who invites", "Grace Hopper"),
            Variable(
                "join_link",
                "Where the invitation is accepted",
                "https://signet.example/join/brightleaf",
                Type.LINK,
            ),
            Variable(
                "message",
                "The personal words of the invitation; may be empty",
                "I love how you write about tea.",
                Type.LINES,
                optional=True,
            ),
        ),
    ),
    Notice(
        kind="new-lead",
        name="New lead",
        audience=_FOR_AFFILIATE,
        occasions=("lead",),
        category=_TRANSACTIONAL,
        when="When somebody comes through an affiliate’s link and shows interest.",
        because=_IS_AFFILIATE,
        variables=(
            *_AFFILIATE,
            Variable("lead_name", "The lead’s name; may be empty", "Katherine Johnson", optional=True),
            Variable(
                "lead_email",
                "The lead’s email address, if your shop sent it; may be empty",
                "katherine@johnson.example",
                optional=True,
            ),
        ),
    ),
    Notice(
        kind="new-purchase",
        name="New purchase",
        audience=_FOR_AFFILIATE,
        occasions=("purchase",),
        category=_TRANSACTIONAL,
        when="When somebody buys through an affiliate’s link.",
        because=_IS_AFFILIATE,
        variables=(*_AFFILIATE, *_PURCHASE),
    ),
    Notice(
        kind="commission-approved",
        name="Commission approved",
        audience=_FOR_AFFILIATE,
        occasions=("commission-approved",),
        category=_TRANSACTIONAL,
        when="When a commission is approved for payout.",
        because=_IS_AFFILIATE,
        variables=(*_AFFILIATE, _ORDER, _COMMISSION, _CURRENCY),
    ),
    Notice(
        kind="commission-declined",
        name="Commission declined",
        audience=_FOR_AFFILIATE,
        occasions=("commission-declined", "refund"),
        category=_TRANSACTIONAL,
        when="When a commission is declined, or its purchase is refunded.",
        because=_IS_AFFILIATE,
        variables=(
            *_AFFILIATE,
            _ORDER,
            _COMMISSION,
            _CURRENCY,
            _REASON,
            Variable("outcome", "What happened: the word declined, or refunded", "declined"),
        ),
    ),
    Notice(
        kind="payout-sent",
        name="Payout sent",
        audience=_FOR_AFFILIATE,
        occasions=("payout",),
        category=_TRANSACTIONAL,
        when="When you pay an affiliate.",
        because=_IS_AFFILIATE,
        variables=(
            *_AFFILIATE,
            Variable("amount", "The amount paid", "148.50", Type.AMOUNT),
            _CURRENCY,
            Variable("method", "How it was paid", "bank transfer", optional=True),
            Variable("reference", "The reference of the payment", "BL-2026-11-ADA", optional=True),
            Variable("period", "What the payment is for", "October 2026", optional=True),
        ),
    ),
    Notice(
        kind="weekly-summary",
        name="Weekly summary",
        audience=_FOR_AFFILIATE,
        occasions=("week-ended",),
        category=Category.SUMMARY,
        when="Once a week, to every affiliate, with the week’s figures.",
        because=_IS_AFFILIATE,
        variables=(*_AFFILIATE, *_WEEK),
    ),
    Notice(
        kind="owner-new-affiliate",
        name="New affiliate",
        audience=_FOR_OWNER,
        occasions=("signed-up", "applied"),
        category=_TRANSACTIONAL,
        when="When somebody signs up or applies as an affiliate.",
        because=_IS_OWNER,
        variables=(*_OWNER, *_ABOUT_AFFILIATE),
    ),
    Notice(
        kind="owner-new-purchase",
        name="New purchase",
        audience=_FOR_OWNER,
        occasions=("purchase",),
        category=_TRANSACTIONAL,
        when="When somebody buys through an affiliate’s link.",
        because=_IS_OWNER,
        variables=(*_OWNER, *_ABOUT_AFFILIATE, *_PURCHASE),
    ),
    Notice(
        kind="owner-weekly-summary",
        name="Weekly summary",
        audience=_FOR_OWNER,
        occasions=("week-ended",),
        category=Category.SUMMARY,
        when="Once a week, with the figures of the whole programme.",
        because=_IS_OWNER,
        variables=(
            *_OWNER,
            *_WEEK,
            Variable("new_affiliates", "New affiliates in the week", "5", Type.NUMBER),
            Variable("emails_sent", "Automated emails sent in the week", "128", Type.NUMBER),
            Variable("emails_failed", "Automated emails that failed in the week", "2", Type.NUMBER),
        ),
    ),
)

CATALOGUE: Mapping[str, Notice] = {notice.kind: notice for notice in (CONFIRM_SIGN_UP, NEW_SIGN_UP, *_OTHERS)}


def caused_by(occasion: str) -> tuple[Notice, ...]:
    """Return the notices that an occasion gives rise to."""
    return tuple(notice for notice in CATALOGUE.values() if occasion in notice.occasions)
