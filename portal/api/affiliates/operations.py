"""Stores, lists and changes affiliates for the shop. One commit for each request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from ... import audit, rate_limit, recipient_limits
from ...accounts.models import Account
from ...accounts.standing import is_limited
from ...affiliates import codes, directory, names, page_keys, suppressions
from ...affiliates.consent import AgreementWay
from ...affiliates.links import public_url
from ...affiliates.models import Affiliate, AffiliateState, SuppressionReason
from ...affiliates.search_text import search_text
from ...db import db
from ...enrolment import confirmation_links, listing, moderation, signup
from ...enrolment.changing import address_change, editing
from ...events.types import MAX_AHEAD
from ...shop_links import InvalidShopAddress, clean_address
from ...smtp.mailbox import MailboxError, parse_mailbox
from ...state import current_config
from ...web.pagination import newest_first
from ...web.pasted_address import unwrap_address
from .. import ingest
from ..models import ApiRequest
from ..problems import FieldError, Problem, ProblemKind
from ..serializers import Json, timestamp
from ..validation import AHEAD, instant, invalid, validate_component

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Emails to people who have not agreed to anything yet, caused by a shop's program.
CONFIRMATIONS = rate_limit.RateLimit("confirmations by the api", 500, timedelta(days=1))
_LIMITED = "The account is not approved yet, so affiliates sign up on its page only."
_SUPPRESSED = "This address is on the list of those that are not written to, or the person was erased."
_UNSUBSCRIBED = (
    "They have unsubscribed, so they cannot be asked to confirm. State when they agreed, if they did."
)
_STILL_OPEN = (AffiliateState.UNCONFIRMED, AffiliateState.INVITED)


@dataclass(frozen=True)
class ListQuery:
    """Which affiliates to list; empty values list all. ``cursor`` is the id before which the page begins."""

    search: str = ""
    status: AffiliateState | None = None
    external_id: str = ""
    code: str = ""
    email: str = ""
    cursor: int | None = None
    limit: int = 50


def add(account_id: int, body: Any, *, key: str, now: datetime) -> tuple[Json, bool]:
    """Store an affiliate; return it, and whether the same request was answered before. Commits. Raises Problem.

    With the consent that the shop states the affiliate takes part at once and gets no email; otherwise an email asks for
    confirmation.
    """
    validate_component("NewAffiliate", body)
    entered = _cleaned(body)
    if "consent" in entered and instant(entered["consent"]["at"]) > now + MAX_AHEAD:
        raise invalid([FieldError("#/consent/at", AHEAD)])
    hashed_body = {"affiliate": body}
    request_id = ingest.claim_key(account_id, key, hashed_body, now)
    if request_id is None:
        return _replay(account_id, key, hashed_body, now), True
    account = db.session.get_one(Account, account_id)
    errors = _conflicts(account, entered)
    if errors:
        db.session.rollback()  # frees the key
        raise _conflict(errors)
    affiliate = _new_affiliate(account, entered, now)
    try:
        db.session.add(affiliate)
        db.session.flush()
    except IntegrityError:  # stored by another request at this moment
        db.session.rollback()
        raise _conflict(_conflicts(db.session.get_one(Account, account_id), entered)) from None
    if affiliate.consented_at is None:
        _ask_for_confirmation(account, affiliate, now)
    request = update(ApiRequest).where(ApiRequest.id == request_id)
    db.session.execute(request.values(affiliate_id=affiliate.id))
    found = affiliate_json(account, affiliate, pending_email=None)
    target = audit.AuditTarget("affiliate", affiliate.id)
    audit.record(audit.Activity.AFFILIATE_ADDED, account_id, target=target)
    db.session.commit()
    return found, False


def find(account_id: int, affiliate_id: int, *, now: datetime) -> Json | None:
    """Return an affiliate of this account, or None."""
    affiliate = _find(account_id, affiliate_id)
    if affiliate is None:
        return None
    waiting = address_change.pending(affiliate.id, now=now)
    account = db.session.get_one(Account, account_id)
    return affiliate_json(account, affiliate, pending_email=waiting.mailbox if waiting else None)


def list_page(account_id: int, query: ListQuery, *, now: datetime) -> Json:
    """Return one page of affiliates, newest first."""
    account = db.session.get_one(Account, account_id)
    found = select(Affiliate).where(*listing.conditions(account_id, query.search))
    found = found.where(Affiliate.state != AffiliateState.ERASED)
    if query.status is not None:
        found = found.where(Affiliate.state == query.status)
    if query.external_id:
        found = found.where(Affiliate.external_id == query.external_id)
    if query.code:
        affiliate = directory.find_by_code(account_id, query.code)
        found = found.where(Affiliate.id == (affiliate.id if affiliate else 0))
    if query.email:
        found = found.where(Affiliate.mailbox_key == _mailbox_key(query.email))
    page = newest_first(found, Affiliate.id, before=query.cursor, size=query.limit)
    waiting = address_change.pending_addresses([row.id for row in page.rows], now=now)
    rows = [affiliate_json(account, row, pending_email=waiting.get(row.id)) for row in page.rows]
    return {"affiliates": rows, "next_cursor": page.older}


def change(account_id: int, affiliate_id: int, body: Any, *, now: datetime) -> Json | None:
    """Change an affiliate; None if the account has none with this id. Commits. Raises Problem."""
    validate_component("AffiliateChanges", body)
    affiliate = _find(account_id, affiliate_id)
    if affiliate is None:
        return None
    entered = _cleaned(body, present_name=affiliate.name)
    operation = _transition(affiliate, body.get("status"))
    changes = editing.Changes(
        name=entered.get("name"),
        mailbox=entered.get("email"),
        code=entered.get("code"),
        external_id=(entered["external_id"] or "") if "external_id" in entered else None,
        notes=entered.get("notes"),
        website=entered.get("website"),
    )
    account = db.session.get_one(Account, account_id)
    try:
        editing.edit(account, affiliate_id, changes, now=now)
    except address_change.InvalidChange as error:
        by_name = {"email" if name == "mailbox" else name: text for name, text in error.by_field.items()}
        raise _conflict([FieldError(f"#/{name}", text) for name, text in by_name.items()]) from None
    except address_change.AddressChangeLimit:
        raise _too_many(timedelta(days=1), "Too many addresses were asked for confirmation today.") from None
    if operation is not None:
        operation(account, affiliate_id, now=now)
    return find(account_id, affiliate_id, now=now)


def affiliate_json(account: Account, row: Affiliate, *, pending_email: str | None) -> Json:
    """Return an affiliate as responses state it."""
    return {
        "id": row.id,
        "name": row.name,
        "email": row.mailbox,
        "pending_email": pending_email,
        "code": row.code,
        "link": public_url(row, account, current_config()) or None,
        "external_id": row.external_id,
        "status": row.state.value,
        "notes": row.notes,
        "website": row.website,
        "created_at": timestamp(row.created_at),
        "consented_at": timestamp(row.consented_at),
        "confirmed_at": timestamp(row.confirmed_at),
    }


def _find(account_id: int, affiliate_id: int) -> Affiliate | None:
    found = directory.find_affiliate(account_id, affiliate_id)
    return found if found is not None and found.state is not AffiliateState.ERASED else None


def _cleaned(body: Mapping[str, Any], *, present_name: str = "") -> dict[str, Any]:
    """Return the members with the name and the address in their stored form. Raises Problem."""
    entered, errors = dict(body), []
    if "name" in body:
        entered["name"] = names.normalize_name(body["name"]) or ""
        why = names.why_refused(entered["name"]) if entered["name"] != present_name else ""
        errors += [FieldError("#/name", why)] if why else []
    if "email" in body:
        try:
            parsed = parse_mailbox(unwrap_address(body["email"]) or "")
            entered["email"] = str(parsed)
            if not parsed.is_ascii:
                errors.append(FieldError("#/email", "Letters before the @ have to be a–z, without accents."))
        except MailboxError as error:
            errors.append(FieldError("#/email", str(error)))
    if "website" in body:
        try:
            entered["website"] = clean_address(body["website"])
        except InvalidShopAddress as error:
            errors.append(FieldError("#/website", str(error)))
    if errors:
        raise invalid(errors)
    return entered


def _new_affiliate(account: Account, entered: Mapping[str, Any], now: datetime) -> Affiliate:
    row = signup.new_affiliate(account, entered["name"], entered["email"], now)
    if "code" in entered:
        page_keys.give_code(row, entered["code"])
    row.external_id = entered.get("external_id")
    row.notes, row.website = entered.get("notes", ""), entered.get("website", "")
    row.search_text = search_text(row.name, row.mailbox, row.code, row.external_id)
    if "consent" in entered:
        row.consented_at = min(instant(entered["consent"]["at"]), now)
        row.consent_way, row.consent_source = AgreementWay.ELSEWHERE, entered["consent"]["source"]
        row.state = AffiliateState.ACTIVE
    return row


def _conflicts(account: Account, entered: Mapping[str, Any]) -> list[FieldError]:
    if is_limited(account):
        return [FieldError("#", _LIMITED)]
    errors = []
    row = suppressions.find_suppression(account.id, entered["email"])
    if row is not None and row.reason is not SuppressionReason.UNSUBSCRIBED:
        errors.append(FieldError("#/email", _SUPPRESSED))
    elif row is not None and "consent" not in entered:
        errors.append(FieldError("#/email", _UNSUBSCRIBED))
    if directory.find_by_mailbox(account.id, entered["email"].casefold()) is not None:
        errors.append(FieldError("#/email", "Another affiliate has this address."))
    external_id = entered.get("external_id")
    if external_id and directory.find_by_external_id(account.id, external_id) is not None:
        errors.append(FieldError("#/external_id", "Another affiliate has this ID."))
    if "code" in entered and codes.is_taken(entered["code"]):
        errors.append(FieldError("#/code", "Another affiliate has or had this code."))
    return errors


def _ask_for_confirmation(account: Account, affiliate: Affiliate, now: datetime) -> None:
    wait = rate_limit.consume_or_wait(CONFIRMATIONS, account.id, now=now)
    if wait:
        db.session.rollback()  # frees the key
        raise _too_many(wait, f"At most {CONFIRMATIONS.amount} confirmations a day are asked for by the API.")
    if not recipient_limits.consume(recipient_limits.INVITATIONS, affiliate.mailbox_key, now=now):
        db.session.rollback()
        raise _too_many(timedelta(days=1), "This address was written to three times today.")
    confirmation_links.enqueue_confirmation(
        confirmation_links.render_confirmation(account, affiliate.language), affiliate, now=now
    )


def _transition(affiliate: Affiliate, status: str | None) -> Any:
    """Return the operation that leads to a status; None where there is nothing to do. Raises Problem."""
    state = affiliate.state
    if status is None or state.value == status:
        return None
    if state not in _STILL_OPEN:
        match status:
            case "active":
                return moderation.unsuspend if state is AffiliateState.SUSPENDED else moderation.approve
            case "suspended" if state is AffiliateState.ACTIVE:
                return moderation.suspend
            case "declined" if state is AffiliateState.PENDING:
                return moderation.decline_without_reason
    raise _conflict([FieldError("#/status", f"An affiliate who is {state.value} cannot become {status}.")])


def _replay(account_id: int, key: str, hashed_body: Json, now: datetime) -> Json:
    request = ingest.find_request(account_id, key, hashed_body)
    found = find(account_id, request.affiliate_id, now=now) if request.affiliate_id else None
    if found is None:
        raise Problem(ProblemKind.NOT_FOUND, "This affiliate was added before and has been deleted since.")
    return found


def _mailbox_key(text: str) -> str:
    try:
        return str(parse_mailbox(unwrap_address(text) or "")).casefold()
    except MailboxError:
        return ""


def _conflict(errors: Iterable[FieldError]) -> Problem:
    return Problem(ProblemKind.CONFLICT, errors=list(errors))


def _too_many(wait: timedelta, detail: str) -> Problem:
    return Problem(
        ProblemKind.TOO_MANY, detail, headers={"Retry-After": str(max(1, int(wait.total_seconds())))}
    )
