"""Findings about the own domain: whether the connection is proved, From arrives as promised, and the records agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_babel import gettext as _
from flask_babel import ngettext

from ..arrival.models import FromOutcome
from ..domains.findings import Severity, has_open_question
from ..domains.models import DomainStatus
from ..incidents import presenter
from ..incidents.bounces import MASS_REFUSALS
from ..incidents.models import IncidentKind
from ..smtp.providers import load_catalogue
from ..web.translations import translated
from .model import Code, Link, StatusItem, Tone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..domains.models import DomainCheck
    from ..settings.models import SmtpSettings
    from .evidence import Evidence

_SETTINGS = "settings.email_preferences"
_MAX_OTHERS = 2  # incidents that do not concern sending


def find(seen: Evidence) -> Iterator[StatusItem]:
    """Yield what keeps the account's emails from leaving as its own domain and arriving as such, the worst first."""
    live = seen.live
    if live is None:
        if seen.route is not None:
            yield _platform()
    elif seen.is_practice:
        yield _practice()
    else:
        yield from _of_version(seen, live)
    yield from _others(seen)


def _platform() -> StatusItem:
    link = Link(_("Set up your own domain"), _SETTINGS, (("_anchor", "custom-smtp"),))
    sentence = _("The platform sends your emails, not your own domain.")
    return StatusItem(Code.PLATFORM, Tone.INFO, sentence, "", (link,))


def _practice() -> StatusItem:
    sentence = _("Emails go to the rehearsal server of this portal and reach no real inbox.")
    return StatusItem(
        Code.PRACTICE, Tone.INFO, sentence, _("Save the settings of a real provider to send emails.")
    )


def _of_version(seen: Evidence, live: SmtpSettings) -> Iterator[StatusItem]:
    if seen.proved_at is None:
        sentence = _("Version %(number)d has never passed its check.", number=live.number)
        link = Link(_("See its check"), _SETTINGS, (("_anchor", "check"),))
        yield StatusItem(Code.CONNECTION_UNPROVEN, Tone.WARNING, sentence, "", (link,))
    yield from _from_received(seen, live)
    yield from _domain(seen.domain, live)
    if seen.proof.outcome in (None, FromOutcome.NO_RESULTS):
        yield _from_unconfirmed(seen, live)
    if load_catalogue().is_public_mail(live.domain):
        sentence = _("%(domain)s is not your own domain.", domain=live.domain)
        yield StatusItem(Code.PUBLIC_MAILBOX, Tone.INFO, sentence)


def _from_received(seen: Evidence, live: SmtpSettings) -> Iterator[StatusItem]:
    link = Link(_("See what the receiver saw"), "arrival.show")
    if seen.proof.outcome is FromOutcome.REPLACED:
        sentence = _(
            "Your provider replaces the From address: receivers do not see %(sender)s.", sender=live.sender
        )
        yield StatusItem(Code.FROM_REPLACED, Tone.DANGER, sentence, "", (link,))
    elif seen.proof.outcome is FromOutcome.REFUTED:
        sentence = _("A receiver could not verify that %(sender)s is yours.", sender=live.sender)
        yield StatusItem(Code.FROM_REFUTED, Tone.DANGER, sentence, "", (link,))


def _from_unconfirmed(seen: Evidence, live: SmtpSettings) -> StatusItem:
    if seen.proof.outcome is FromOutcome.NO_RESULTS:
        sentence = _(
            "A receiver saw the right From address, but we do not know whether your emails passed SPF, "
            "DKIM and DMARC, the receiver’s checks of your domain. Try another mailbox."
        )
    elif seen.proof.received_at is not None:
        sentence = _(
            "A test email arrived. Paste its headers to confirm that receivers see %(sender)s.",
            sender=live.sender,
        )
    else:
        sentence = _(
            "You have not confirmed yet that emails arrive as %(sender)s. Open the test email, choose "
            "It arrived, and paste its headers.",
            sender=live.sender,
        )
    link = Link(_("Paste the headers"), "arrival.show", (("_anchor", "paste"),))
    return StatusItem(Code.FROM_UNCONFIRMED, Tone.INFO, sentence, "", (link,))


def _domain(check: DomainCheck | None, live: SmtpSettings) -> Iterator[StatusItem]:
    link, domain = (
        Link(_("See the records"), "domains.sending_domain", (("version", live.number),)),
        live.domain,
    )
    if check is None or check.status is None:
        sentence = _("The DNS records of %(domain)s have not been checked.", domain=domain)
        yield StatusItem(Code.DOMAIN_UNCHECKED, Tone.INFO, sentence, "", (link,))
        return
    reason = _first_reason(check)
    match check.status:
        case DomainStatus.REFUSED:
            sentence = _("Many receivers refuse emails from %(domain)s.", domain=domain)
            yield StatusItem(
                Code.DOMAIN_REFUSED, Tone.DANGER, f"{sentence} {_to_do(check)}".strip(), reason, (link,)
            )
        case DomainStatus.AT_RISK if has_open_question(check.findings):
            sentence = _("We do not know everything about %(domain)s yet.", domain=domain)
            yield StatusItem(Code.DOMAIN_QUESTION, Tone.INFO, sentence, reason, (link,))
        case DomainStatus.AT_RISK:
            sentence = _("Some receivers may refuse emails from %(domain)s.", domain=domain)
            yield StatusItem(
                Code.DOMAIN_AT_RISK, Tone.WARNING, f"{sentence} {_to_do(check)}".strip(), reason, (link,)
            )
        case DomainStatus.UNKNOWN:
            sentence = _("The DNS records of %(domain)s could not be read.", domain=domain)
            yield StatusItem(Code.DOMAIN_UNKNOWN, Tone.INFO, sentence, reason, (link,))


def _to_do(check: DomainCheck) -> str:
    """Return which subjects need a change, and how many records are to be added or changed."""
    found = check.findings["findings"] if check.findings else []
    wrong = [one for one in found if one["mark"] in (Severity.WARNING, Severity.ERROR)]
    records = sum(len(one["wanted"]) for one in wrong)
    if not wrong:
        return ""
    subjects = ", ".join(str(one["title"]) for one in wrong)
    if not records:
        return str(_("To fix: %(subjects)s.", subjects=subjects))
    return str(
        ngettext(
            "To fix: %(subjects)s, %(num)s record.",
            "To fix: %(subjects)s, %(num)s records.",
            records,
            subjects=subjects,
        )
    )


def _first_reason(check: DomainCheck) -> str:
    reasons = check.findings.get("why", []) if check.findings else []
    return translated(str(reasons[0])) if reasons else ""


def _others(seen: Evidence) -> Iterator[StatusItem]:
    """Yield the open incidents that do not concern sending, first those that wait for a decision of the owner."""
    others = [one for one in seen.incidents if one.kind is not IncidentKind.SENDING]
    others.sort(key=lambda one: one.cause != MASS_REFUSALS)
    for incident in others[:_MAX_OTHERS]:
        link = Link(_("What to do"), "incidents.show", (("incident_id", incident.id),))
        code = Code.BOUNCES if incident.kind is IncidentKind.BOUNCES else Code.INCIDENT
        yield StatusItem(code, Tone.WARNING, presenter.sentence(incident), "", (link,), is_banner=True)
