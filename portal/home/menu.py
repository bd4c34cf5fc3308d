"""The menu: every page of the portal once, in its group. Menu, tabs, breadcrumbs and the overview of settings are made from it.

A new page gets a row here: a ``MenuPage`` of its own, or its endpoint in ``behind`` of the page that leads to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flask_babel import lazy_gettext as _

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class MenuPage:
    """A page of the menu. ``behind`` names what one reaches from it: endpoints, and blueprints as ``name.*``."""

    label: str
    endpoint: str
    behind: str = ""
    is_rehearsal: bool = False  # whether the page exists only where the rehearsal server runs


@dataclass(frozen=True)
class Section:
    """An entry of a group: one page, or several shown as tabs. ``about`` is for the overview of settings."""

    label: str
    pages: tuple[MenuPage, ...]
    about: str = ""

    @property
    def endpoint(self) -> str:
        """The page that the entry leads to."""
        return self.pages[0].endpoint


@dataclass(frozen=True)
class Group:
    """A group of the menu; its name leads to the first page. ``is_apart``: beside the account's own groups."""

    label: str
    sections: tuple[Section, ...]
    is_apart: bool = False

    @property
    def endpoint(self) -> str:
        return self.sections[0].endpoint


# What a key opens after "g".
SHORTCUTS = {"h": "home.show", "a": "affiliates.index", "d": "deliveries.index", "s": "home.all_settings"}


@dataclass(frozen=True)
class Place:
    """Where a page is in the menu."""

    group: Group
    section: Section
    page: MenuPage

    @property
    def way(self) -> list[tuple[str, str]]:
        """The labels from the group to the page, with their endpoints. A label equal to the one before is left out."""
        steps = [(one.label, one.endpoint) for one in (self.group, self.section, self.page)]
        return [step for at, step in enumerate(steps) if at == 0 or str(step[0]) != str(steps[at - 1][0])]


def _single(label: str, endpoint: str, behind: str = "", about: str = "") -> Section:
    return Section(label, (MenuPage(label, endpoint, behind),), about)


MENU = (
    Group(_("Home"), (_single(_("Home"), "home.show"),)),
    Group(
        _("Affiliates"),
        (
            _single(_("All affiliates"), "affiliates.index", "affiliates.* privacy.*"),
            _single(_("Invite"), "affiliates.invite"),
            _single(_("Import"), "imports.index", "imports.*"),
            _single(_("Commissions"), "money.index", "money.*"),
            _single(_("Events"), "events.index", "events.*"),
            _single(
                _("Blocked addresses"),
                "affiliates.suppressions",
                "affiliates.suppress affiliates.unsuppress privacy.take_part_again",
            ),
        ),
    ),
    Group(
        _("Emails"),
        (
            _single(_("Automated emails"), "notices.index", "notices.*"),
            _single(
                _("Email design"), "notices.branding_page", "notices.save_branding notices.branding_preview"
            ),
            _single(_("Deliveries"), "deliveries.index", "deliveries.*"),
            _single(
                _("Waiting emails"),
                "incidents.waiting",
                "incidents.release incidents.discard incidents.platform incidents.own",
            ),
            _single(_("Incidents"), "incidents.index", "incidents.*"),
            Section(
                _("Rehearsal inbox"),
                (MenuPage(_("Rehearsal inbox"), "rehearsal.inbox", "rehearsal.*", is_rehearsal=True),),
            ),
            Section(
                _("Simulate a failure"),
                (MenuPage(_("Simulate a failure"), "rehearsal.faults", is_rehearsal=True),),
            ),
        ),
    ),
    Group(
        _("Settings"),
        (
            _single(_("All settings"), "home.all_settings"),
            Section(
                _("Email Preferences"),
                (
                    MenuPage(
                        _("SMTP settings"),
                        "settings.email_preferences",
                        "settings.* connect.* consent.* guided.*",
                    ),
                    MenuPage(_("Sending domain"), "domains.sending_domain", "domains.*"),
                    MenuPage(_("Arrival"), "arrival.show", "arrival.*"),
                    MenuPage(_("Bounces"), "bounces.index", "bounces.* bounce_mailbox.* connect_mailbox.*"),
                    MenuPage(_("Explain a reply"), "explain.show", "explain.*"),
                ),
                _("Which server sends your emails, from which domain, and how they arrive."),
            ),
            Section(
                _("Programme"),
                (
                    MenuPage(_("Programme settings"), "programme.settings", "programme.*"),
                    MenuPage(_("Sign-up rules"), "affiliates.sign_up_rules"),
                ),
                _("The address of your shop, affiliates’ links, your sign-up page, and who may join."),
            ),
            Section(
                _("Alerts and limits"),
                (
                    MenuPage(
                        _("Alerts"),
                        "incidents.alerts",
                        "incidents.alerts_by_mail incidents.message_events incidents.remove_webhook "
                        "incidents.renew_secret incidents.save_webhook incidents.test_webhook",
                    ),
                    MenuPage(_("When sending fails"), "incidents.failure", "incidents.save_failure"),
                    MenuPage(_("Limits"), "incidents.limits", "incidents.save_limits"),
                    MenuPage(_("How long deliveries are kept"), "deliveries.keep"),
                ),
                _("Who is alerted, what happens when your server fails, and how fast emails leave."),
            ),
            Section(
                "API",
                (
                    MenuPage(_("API tokens"), "api_pages.index", "api_pages.*"),
                    MenuPage(_("Send a test event"), "api_pages.simulator", "api_pages.simulate"),
                    MenuPage(_("API reference"), "api_pages.reference"),
                ),
                _("How your shop reports purchases and payouts."),
            ),
            Section(
                _("Team"),
                (
                    MenuPage(_("Team"), "team.index", "team.*"),
                    MenuPage(_("Activity"), "activity.index", "activity.*"),
                ),
                _("Who works on this programme, in which roles, and what they changed."),
            ),
            Section(
                _("Account"),
                (
                    MenuPage(_("Account"), "accounts.profile", "accounts.*"),
                    MenuPage(_("Second factor"), "factors.index", "factors.*"),
                ),
                _("Your name, password, second factor, devices and the programme’s time zone."),
            ),
        ),
    ),
    Group(
        _("Operator"),
        (
            _single(_("Accounts"), "operator.list_accounts", "operator.*"),
            _single(
                _("Invitations"),
                "operator.list_invitations",
                "operator.renew_invitation operator.withdraw_invitation",
            ),
            _single(_("Outbox"), "operator.outbox", "operator.orders operator.give_order"),
            _single(_("Platform sender"), "operator.show_platform_sender", "operator.check_platform_sender"),
            _single(_("Workers"), "operator.workers"),
            _single(_("Activity"), "activity.of_portal"),
        ),
        is_apart=True,
    ),
)


def places() -> Iterator[Place]:
    """Yield the place of every page."""
    for group in MENU:
        for section in group.sections:
            for page in section.pages:
                yield Place(group, section, page)


_PLACES = {place.page.endpoint: place for place in places()}
_BEHIND = {endpoint: place for place in places() for endpoint in place.page.behind.split()}


def find_place(endpoint: str) -> Place | None:
    """Return where an endpoint's page is: its own row, else that of the page it is behind, else that of its blueprint."""
    blueprint = f"{endpoint.partition('.')[0]}.*"
    return _PLACES.get(endpoint) or _BEHIND.get(endpoint) or _BEHIND.get(blueprint)


def visible(may_open: Callable[[MenuPage], bool]) -> list[Group]:
    """Return the menu with the pages that a person may open; entries without one are left out."""
    return [group for one in MENU if (group := _narrow_group(one, may_open)).sections]


def narrow(section: Section, may_open: Callable[[MenuPage], bool]) -> Section:
    """Return an entry with the pages that a person may open."""
    return replace(section, pages=tuple(filter(may_open, section.pages)))


def _narrow_group(group: Group, may_open: Callable[[MenuPage], bool]) -> Group:
    sections = (narrow(section, may_open) for section in group.sections)
    return replace(group, sections=tuple(one for one in sections if one.pages))
