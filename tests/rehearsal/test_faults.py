import smtplib
import time

import pytest

from portal.rehearsal.faults import FAULTS, SLOW_SECONDS, Manner, Stage, Where, named_by

from .conftest import MAIL

pytestmark = pytest.mark.thorough

STEPS = [Stage.AUTH, Stage.MAIL, Stage.RCPT, Stage.DATA]
CHOICES = [(fault, where) for fault in FAULTS for where in fault.where]
ADDRESSES = ["{}@example.org", "ada+{}@example.org"]


def _who(fault, where, shape="{}@example.org"):
    address = shape.format(fault.name)
    return {"username": address} if where is Where.USERNAME else {"recipient": address}


def _played_by(manner):
    chosen = [(fault, where) for fault, where in CHOICES if fault.manner is manner]
    return pytest.mark.parametrize(("fault", "where"), chosen, ids=[f"{f.name}-{w}" for f, w in chosen])


@_played_by(Manner.REPLY)
@pytest.mark.parametrize("shape", ADDRESSES)
def test_a_refusal_is_said_at_its_stage(rehearsal, fault, where, shape):
    replies = rehearsal.say(**_who(fault, where, shape))
    assert replies[-1] == fault.plays
    assert len(replies) == STEPS.index(fault.stage) + 1
    assert not rehearsal.kept()


@_played_by(Manner.REPLY)
def test_a_refusal_stays_as_long_as_it_is_named(rehearsal, fault, where):
    assert rehearsal.say(**_who(fault, where)) == rehearsal.say(**_who(fault, where))


@_played_by(Manner.REPLY_ONCE)
def test_greylisted_mail_passes_at_the_second_try(rehearsal, fault, where):
    assert rehearsal.say(**_who(fault, where))[-1] == fault.plays
    assert rehearsal.say(**_who(fault, where))[-1].startswith("250 2.0.0 OK: queued as ")
    assert len(rehearsal.kept()) == 1


def test_greylisting_knows_each_recipient_apart(rehearsal):
    rehearsal.say("greylisted@example.org", "grace@example.net")
    assert rehearsal.say("greylisted@example.org", "joan@example.net")[-1].startswith("451 4.7.1")


@_played_by(Manner.MUTE)
def test_a_mute_server_says_nothing_more_and_keeps_the_connection(rehearsal, fault, where):
    who = _who(fault, where)
    smtp = rehearsal.dial(timeout=0.5)
    with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected)) as silence:
        smtp.login(who.get("username", "ada@example.org"), "rehearsal")
        smtp.mail("ada@example.org")
        smtp.rcpt(who.get("recipient", "grace@example.net"))
    assert "timed out" in str(silence.value)
    smtp.close()


@_played_by(Manner.SLOW)
def test_a_slow_server_takes_its_time_for_each_reply(rehearsal, fault, where):
    who = _who(fault, where)
    with rehearsal.dial() as smtp:
        begun = time.monotonic()
        assert smtp.login(who.get("username", "ada@example.org"), "rehearsal")[0] == 235
        smtp.mail("ada@example.org")
        assert smtp.rcpt(who.get("recipient", "grace@example.net"))[0] == 250
        replies = 3 if where is Where.USERNAME else 1
        taken = time.monotonic() - begun
        assert replies * SLOW_SECONDS <= taken < (replies + 1) * SLOW_SECONDS
        smtp.close()


@_played_by(Manner.HANG_UP)
def test_a_server_that_hangs_up_has_kept_the_message(rehearsal, fault, where):
    with pytest.raises(smtplib.SMTPServerDisconnected):
        rehearsal.say(**_who(fault, where))
    assert len(rehearsal.kept()) == 1


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
    assert len(rehearsal.kept()) == 1


def test_every_manner_is_tested_above():
    assert {fault.manner for fault in FAULTS} == set(Manner)


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
def test_a_fault_is_named_by_the_tag_or_the_whole_local_part(address, name):
    fault = named_by(address, Where.USERNAME)
    assert (fault.name if fault else None) == name


def test_a_recipient_cannot_name_what_is_about_the_username():
    assert named_by("wrong-password@example.org", Where.RECIPIENT) is None
