"""Every fault of the rehearsal server, as a client observes it."""

import asyncio
import smtplib

import pytest

from portal.rehearsal.faults import FAULTS, SLOW_REPLY_S, FaultAddress, FaultCommand, FaultKind, find_fault

from .conftest import MAIL

pytestmark = pytest.mark.thorough

STEPS = [FaultCommand.AUTH, FaultCommand.MAIL, FaultCommand.RCPT, FaultCommand.DATA]
CHOICES = [(fault, selected_by) for fault in FAULTS for selected_by in fault.selected_by]
ADDRESSES = ["{}@example.org", "ada+{}@example.org"]


def _selecting(fault, selected_by, shape="{}@example.org"):
    address = shape.format(fault.name)
    return {"username": address} if selected_by is FaultAddress.USERNAME else {"recipient": address}


def _faults_of(kind):
    chosen = [(fault, selected_by) for fault, selected_by in CHOICES if fault.kind is kind]
    return pytest.mark.parametrize(("fault", "selected_by"), chosen, ids=[f"{f.name}-{w}" for f, w in chosen])


@_faults_of(FaultKind.REPLY)
@pytest.mark.parametrize("shape", ADDRESSES)
def test_a_refusal_is_sent_at_its_command(rehearsal, fault, selected_by, shape):
    replies = rehearsal.submit(**_selecting(fault, selected_by, shape))
    assert replies[-1] == fault.reply
    assert len(replies) == STEPS.index(fault.command) + 1
    assert not rehearsal.stored()


@_faults_of(FaultKind.REPLY)
def test_a_refusal_repeats_on_every_attempt(rehearsal, fault, selected_by):
    assert rehearsal.submit(**_selecting(fault, selected_by)) == rehearsal.submit(
        **_selecting(fault, selected_by)
    )


@_faults_of(FaultKind.REPLY_ONCE)
def test_greylisted_mail_passes_at_the_second_attempt(rehearsal, fault, selected_by):
    assert rehearsal.submit(**_selecting(fault, selected_by))[-1] == fault.reply
    assert rehearsal.submit(**_selecting(fault, selected_by))[-1].startswith("250 2.0.0 OK: queued as ")
    assert len(rehearsal.stored()) == 1


def test_greylisting_applies_to_each_recipient_separately(rehearsal):
    rehearsal.submit("greylisted@example.org", "grace@example.net")
    assert rehearsal.submit("greylisted@example.org", "joan@example.net")[-1].startswith("451 4.7.1")


@_faults_of(FaultKind.MUTE)
def test_a_mute_server_stops_replying_and_keeps_the_connection_open(rehearsal, fault, selected_by):
    selecting = _selecting(fault, selected_by)
    smtp = rehearsal.dial()
    if selected_by is FaultAddress.RECIPIENT:
        smtp.login("ada@example.org", "rehearsal")
        smtp.mail("ada@example.org")
    smtp.sock.settimeout(0.5)  # no reply may arrive, however long the wait is
    with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected), match="timed out"):
        if selected_by is FaultAddress.RECIPIENT:
            smtp.rcpt(selecting["recipient"])
        else:
            smtp.login(selecting["username"], "rehearsal")
    smtp.close()


@_faults_of(FaultKind.SLOW)
def test_a_slow_server_delays_each_reply(rehearsal, monkeypatch, fault, selected_by):
    delays, sleep = [], asyncio.sleep

    def record(delay, *args):
        delays.append(delay)
        return sleep(0, *args)

    monkeypatch.setattr(asyncio, "sleep", record)
    selecting = _selecting(fault, selected_by)
    with rehearsal.dial() as smtp:
        assert smtp.login(selecting.get("username", "ada@example.org"), "rehearsal")[0] == 235
        smtp.mail("ada@example.org")
        assert smtp.rcpt(selecting.get("recipient", "grace@example.net"))[0] == 250
        replies = 3 if selected_by is FaultAddress.USERNAME else 1
        assert delays.count(SLOW_REPLY_S) == replies
        smtp.close()


@_faults_of(FaultKind.HANG_UP)
def test_a_server_that_hangs_up_has_stored_the_message(rehearsal, fault, selected_by):
    with pytest.raises(smtplib.SMTPServerDisconnected):
        rehearsal.submit(**_selecting(fault, selected_by))
    assert len(rehearsal.stored()) == 1


def test_a_busy_server_closes_the_connection(rehearsal):
    smtp = rehearsal.log_in()
    smtp.mail("ada@example.org")
    assert smtp.rcpt("busy@example.net")[0] == 421
    with pytest.raises(smtplib.SMTPServerDisconnected):
        smtp.noop()


def test_one_recipient_is_refused_and_the_other_served(rehearsal):
    with rehearsal.log_in() as smtp:
        refused = smtp.sendmail(
            "ada@example.org", ["recipient-refused@example.net", "grace@example.net"], MAIL
        )
    assert list(refused) == ["recipient-refused@example.net"]
    assert len(rehearsal.stored()) == 1


def test_every_kind_of_fault_is_tested_above():
    assert {fault.kind for fault in FAULTS} == set(FaultKind)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("mute@example.org", "mute"),
        ("Ada+MUTE@example.org", "mute"),
        ("ada+mute", "mute"),
        ("mute", "mute"),
        ("mute+ada@example.org", None),
        ("ada@mute.example", None),
        ("ada@example.org", None),
        ("", None),
        ("@", None),
    ],
)
def test_a_fault_is_selected_by_the_tag_or_the_whole_local_part(address, name):
    fault = find_fault(address, FaultAddress.USERNAME)
    assert (fault.name if fault else None) == name


def test_a_recipient_cannot_select_a_fault_of_the_username():
    assert find_fault("wrong-password@example.org", FaultAddress.RECIPIENT) is None
