"""Every place states the same sending status in each state, and the seal stands only where everything agrees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, select

from portal.accounts import standing
from portal.accounts.models import Account
from portal.arrival.models import FromOutcome, TestEmail
from portal.clock import utcnow
from portal.db import db
from portal.domains.models import DomainCheck, DomainStatus
from portal.incidents.models import Incident, IncidentKind
from portal.jobs.models import WorkerHeartbeat
from portal.outbox import rate_limits
from portal.outbox.models import Outcome
from portal.outbox.overview import count_waiting
from portal.outbox.queue import get_queue, hold
from portal.settings import providers, versions
from portal.settings.models import SettingsCheck, SmtpSettings
from portal.state import get_state
from portal.status import evidence
from portal.status.model import Code, SendingStatus
from portal.status.sending import status_of, statuses_of
from tests.incidents.conftest import DOWN, REFUSED, enqueue, process_attempt
from tests.pages import LintingClient
from tests.status.conftest import Places, report, the_row

pytestmark = pytest.mark.both_databases


def suspend(account: int) -> None:
    db.session.get_one(Account, account).suspended_at = utcnow()


def wait_for_approval(account: int) -> None:
    db.session.get_one(Account, account).is_waiting = True


def hold_queue(account: int) -> None:
    enqueue(account, 1)
    process_attempt(account, Outcome.HELD, REFUSED)
    hold(account, REFUSED, now=utcnow())


def end_worker(_account: int) -> None:
    the_row(WorkerHeartbeat).seen_at = utcnow() - timedelta(hours=1)


def fail_over(_account: int) -> None:
    the_row(SmtpSettings).failover_since = utcnow()


def fail(account: int) -> None:
    enqueue(account, 1)
    process_attempt(account, Outcome.DEFERRED, DOWN)


def limit_by_provider(account: int) -> None:
    enqueue(account, 1)
    slow = DOWN | {"code": "rate", "cause": "smtp.example.com says too fast.", "retry_class": "rate"}
    process_attempt(account, Outcome.DEFERRED, slow, reply_code=450)


def limit_by_owner(account: int) -> None:
    rate_limits.set_limits(account, None, 2, None)
    rate_limits.consume(account, 1, utcnow())
    enqueue(account, 1)


def use_platform(account: int) -> None:
    versions.stop_using(account, now=utcnow())


def practise(_account: int) -> None:
    the_row(SmtpSettings).provider = providers.REHEARSAL


def practise_by_consent(_account: int) -> None:
    the_row(SmtpSettings).provider = "rehearsal-consent"


def lose_password(_account: int) -> None:
    the_row(SmtpSettings).sealed_password = b"k9:nothing"


def forget_check(_account: int) -> None:
    db.session.delete(the_row(SettingsCheck))


def from_is(outcome: str) -> Callable[[int], None]:
    def change(_account: int) -> None:
        the_row(TestEmail).outcome = outcome

    return change


def domain_is(status: DomainStatus, **findings: str) -> Callable[[int], None]:
    def change(_account: int) -> None:
        row = the_row(DomainCheck)
        row.status, row.findings = status, report(status.value, **findings)

    return change


def forget_domain(_account: int) -> None:
    db.session.delete(the_row(DomainCheck))


def use_public_mailbox(_account: int) -> None:
    the_row(SmtpSettings).domain = "gmail.com"


def open_incident(kind: IncidentKind) -> Callable[[int], None]:
    def change(account: int) -> None:
        now = utcnow()
        row = Incident(account_id=account, kind=kind, cause=kind.value, diagnosis=REFUSED)
        row.opened_at = row.episode_started_at = row.last_seen_at = now
        db.session.add(row)

    return change


def nothing(_account: int) -> None:
    """Leave everything in order."""


STATES = [
    (Code.OWN_DOMAIN, True, nothing),
    (Code.ACCOUNT_SUSPENDED, False, suspend),
    (Code.ACCOUNT_WAITING, False, wait_for_approval),
    (Code.SETTINGS_UNUSABLE, False, lose_password),
    (Code.ON_HOLD, False, hold_queue),
    (Code.NO_WORKER, False, end_worker),
    (Code.FAILOVER, False, fail_over),
    (Code.SERVER_FAILING, False, fail),
    (Code.PLATFORM, False, use_platform),
    (Code.PRACTICE, False, practise),
    (Code.PRACTICE, False, practise_by_consent),
    (Code.CONNECTION_UNPROVEN, False, forget_check),
    (Code.FROM_REPLACED, False, from_is(FromOutcome.REPLACED)),
    (Code.FROM_REFUTED, False, from_is(FromOutcome.REFUTED)),
    (Code.FROM_UNCONFIRMED, False, from_is(FromOutcome.NO_RESULTS)),
    (Code.FROM_UNCONFIRMED, False, from_is("")),
    (Code.DOMAIN_REFUSED, False, domain_is(DomainStatus.REFUSED, spf="bad", dkim="bad")),
    (Code.DOMAIN_AT_RISK, False, domain_is(DomainStatus.AT_RISK, spf="good", dkim="care")),
    (Code.DOMAIN_QUESTION, False, domain_is(DomainStatus.AT_RISK, dkim="unknown")),
    (Code.DOMAIN_UNKNOWN, False, domain_is(DomainStatus.UNKNOWN, dkim="unknown")),
    (Code.DOMAIN_UNCHECKED, False, forget_domain),
    (Code.PUBLIC_MAILBOX, False, use_public_mailbox),
    (Code.BOUNCES, True, open_incident(IncidentKind.BOUNCES)),
    (Code.INCIDENT, True, open_incident(IncidentKind.DEADLINE)),
    (Code.RATE_LIMITED, True, limit_by_provider),
    (Code.RATE_LIMITED, True, limit_by_owner),
]


@pytest.mark.parametrize(
    ("code", "seal", "change"), STATES, ids=lambda one: getattr(one, "__name__", str(one))
)
def test_all_places_state_the_same_code(
    owner: LintingClient,
    account: int,
    in_order: SmtpSettings,
    places: Places,
    code: Code,
    seal: bool,
    change: Callable[[int], None],
) -> None:
    change(account)
    db.session.commit()
    statuses = places.statuses()
    codes = places.codes(statuses)
    assert set(codes.values()) == {code.value}, codes
    status = statuses["api"]
    assert status["seal"] is seal
    assert status == statuses["shell"] == statuses["readiness"]
    page = owner.get("/settings/email-preferences").get_data(as_text=True)
    assert ("Your own domain</span>" in page) is seal
    assert status["missing"] == [] or status["missing"][0]["code"] == code.value


def test_no_sender_at_all(app: Flask, owner: LintingClient, account: int, places: Places) -> None:
    state = get_state(app)
    state.config = replace(state.config, platform=replace(state.config.platform, server=""))
    assert set(places.codes(places.statuses()).values()) == {Code.NO_SENDER.value}
    assert places.api()["through"] == "none"
    assert "Send test email" not in owner.get("/settings/email-preferences").get_data(as_text=True)


def test_every_code_is_tried() -> None:
    assert {code for code, _, _ in STATES} | {Code.NO_SENDER} == set(Code)


def test_what_is_missing_is_listed_in_order(account: int, in_order: SmtpSettings, places: Places) -> None:
    for change in (
        from_is(""),
        domain_is(DomainStatus.AT_RISK, dkim="care"),
        forget_check,
        hold_queue,
        end_worker,
    ):
        change(account)
        db.session.commit()
    codes = [one["code"] for one in places.api()["missing"]]
    assert codes == ["on-hold", "no-worker", "connection-unproven", "domain-at-risk", "from-unconfirmed"]


def test_what_waits_for_the_owner_is_named_before_other_incidents(
    account: int, in_order: SmtpSettings
) -> None:
    for cause in ("mass-refusals", "receiver-blocks", "bounce-rate"):
        open_incident(IncidentKind.BOUNCES)(account)
        db.session.flush()
        row = db.session.scalars(select(Incident).order_by(Incident.id.desc()).limit(1)).one()
        row.cause = row.server = cause
        row.diagnosis = REFUSED | {"cause": cause}
    db.session.commit()
    found = [one.sentence for one in status_of(account).missing if one.code is Code.BOUNCES]
    assert found == ["mass-refusals", "bounce-rate"]


def test_the_sentence_names_the_sender_and_what_to_fix(
    account: int, in_order: SmtpSettings, places: Places
) -> None:
    domain_is(DomainStatus.AT_RISK, spf="good", dkim="care")(account)
    db.session.commit()
    assert places.api()["sentence"] == (
        "Sending as info@brightleaf.example. Some receivers may refuse emails from brightleaf.example. "
        "To fix: DKIM, 1 record."
    )
    fail_over(account)
    db.session.commit()
    assert places.api()["sentence"].startswith("The platform’s server has sent your emails since")


def test_headers_of_a_former_version_prove_nothing_for_the_live_one(
    account: int, in_order: SmtpSettings, places: Places
) -> None:
    the_row(TestEmail).version_number = 7
    db.session.commit()
    assert places.api()["code"] == Code.FROM_UNCONFIRMED


def test_a_token_for_events_reads_no_status_and_a_status_token_reports_no_event(
    app: Flask, owner: LintingClient, places: Places
) -> None:
    page = owner.submit("/settings/api", {"name": "shop", "form_key": "f" * 43}).get_data(as_text=True)
    token = page[page.index("sig_") :][:47]
    client = app.test_client()
    refused = client.get("/api/v1/sending", headers={"Authorization": f"Bearer {token}"})
    assert (refused.status_code, refused.get_json()["type"].rpartition("-")[2]) == (403, "scope")
    assert 'error="insufficient_scope", scope="sending"' in refused.headers["WWW-Authenticate"]
    headers = {"Authorization": f"Bearer {places.token}", "Idempotency-Key": "a"}
    assert client.post("/api/v1/events", json={}, headers=headers).status_code == 403
    assert client.get("/api/v1/sending").status_code == 401
    listed = owner.get("/settings/api").get_data(as_text=True)
    assert "Report events and read their emails" in listed
    assert "Read the sending status" in listed


def test_readiness_shows_no_status_without_the_operator_s_token(app: Flask, account: int) -> None:
    client = app.test_client()
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert "sending" not in client.get("/readyz?account=brightleaf", headers=headers).get_json()


def test_readiness_of_an_unknown_account_has_none(app: Flask, account: int, places: Places) -> None:
    headers = {"Authorization": "Bearer a-token-of-the-operator-0123456789"}
    for name in ("nobody", "a%00b", "x" * 5000):
        answer = app.test_client().get(f"/readyz?account={name}", headers=headers)
        assert answer.get_json()["sending"] is None


def test_a_status_is_of_its_own_account_only(
    app: Flask, stranger: LintingClient, account: int, in_order: SmtpSettings
) -> None:
    page = stranger.get("/settings/email-preferences").get_data(as_text=True)
    assert 'data-code="platform"' in page
    assert "brightleaf.example" not in page


@pytest.mark.parametrize("change", [nothing, hold_queue, use_platform, lose_password, fail_over])
def test_many_statuses_are_those_of_each_account_and_take_as_many_statements_as_one(
    app: Flask,
    stranger: LintingClient,
    account: int,
    in_order: SmtpSettings,
    change: Callable[[int], None],
) -> None:
    change(account)
    db.session.commit()
    (other,) = db.session.scalars(select(Account.id).where(Account.id != account))
    ids = [account, other]
    one, alone = statements(lambda: statuses_of(ids[:1]))
    both, together = statements(lambda: statuses_of(ids))
    assert alone <= together <= 6
    assert both[account] == one[account] == status_of(account)
    assert both[other] == status_of(other)


def test_counting_what_waits_reads_the_index_of_open_messages(app: Flask, account: int) -> None:
    if db.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL reads small tables as a whole")
    executed: list[str] = []
    driver: Any = db.session.connection().connection.dbapi_connection
    driver.set_trace_callback(executed.append)
    count_waiting(account)
    driver.set_trace_callback(None)
    plan = driver.execute(f"EXPLAIN QUERY PLAN {executed[-1]}").fetchall()
    assert "ix_outbox_message_due" in " ".join(str(row[-1]) for row in plan)


def statements(work: Callable[[], dict[int, SendingStatus]]) -> tuple[dict[int, SendingStatus], int]:
    """Return what the work returns, and how many statements it executes."""
    db.session.commit()
    db.session.expunge_all()
    executed: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        executed.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        return work(), len(executed)
    finally:
        event.remove(db.engine, "before_cursor_execute", note)


def test_a_status_changes_nothing(account: int, in_order: SmtpSettings) -> None:
    get_queue(account)
    db.session.commit()
    status_of(account)
    assert not db.session.dirty
    assert not db.session.new


def test_a_reached_limit_of_the_platforms_sender_is_named(
    owner: LintingClient, account: int, in_order: SmtpSettings
) -> None:
    use_platform(account)
    enqueue(account, 1)
    db.session.commit()
    assert "has reached its limit" not in owner.get("/affiliates").get_data(as_text=True)
    standing.set_platform_limit(account, 0)
    page = owner.get("/affiliates").get_data(as_text=True)
    assert "The platform’s sender has reached its limit." in page
    assert "It sends up to 0 emails in 24 hours for your account." in page


def test_a_limit_is_read_anew_each_time(account: int, in_order: SmtpSettings) -> None:
    use_platform(account)
    enqueue(account, 1)
    standing.set_platform_limit(account, 0)
    now = utcnow()
    assert evidence.read(account, now).platform_limit == 0
    standing.set_platform_limit(account, 100)
    assert evidence.read(account, now).platform_limit is None
