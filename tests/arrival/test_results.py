"""Authentication-Results in the forms of receivers: only the receiver's own topmost fields count."""

from __future__ import annotations

import pytest

from portal.arrival import authentication_results, comparison, headers
from portal.arrival.models import FromOutcome, TestEmail
from tests.arrival import receivers

AUTHOR = "brightleaf.example"


def observed(text: str) -> comparison.Observed:
    return comparison.observe(headers.parse(text), AUTHOR)


@pytest.mark.parametrize(
    ("name", "receiver", "dmarc"),
    [
        ("gmail", "mx.google.com", "pass"),
        ("outlook", "", "pass"),
        ("yahoo", "atlas-production.v2-mail-prod1-gq1.omega.yahoo.com", "pass"),
        ("fastmail", "phl-mx-08.messagingengine.com", "pass"),
        ("postfix", "mx.fairweather.example", ""),
        ("icloud", "bimi.icloud.com", "pass"),
    ],
)
def test_the_results_of_each_receiver_are_read(name: str, receiver: str, dmarc: str) -> None:
    seen = observed(receivers.received(receivers.ALL[name], "<1@brightleaf.example>"))
    assert seen.has_results
    assert (seen.receiver, seen.from_arc) == (receiver, False)
    assert (seen.spf.result, seen.spf.domain) == ("pass", AUTHOR)
    assert (seen.dkim.result, seen.dkim.domain) == ("pass", AUTHOR)
    assert seen.dmarc.result == dmarc
    assert (seen.author, seen.return_path) == (f"info@{AUTHOR}", f"info@{AUTHOR}")
    assert seen.header_id == "<1@brightleaf.example>"


FORGED = "Authentication-Results: mx.google.com; spf=pass smtp.mailfrom=x@brightleaf.example; dmarc=pass\n"


def test_fields_below_the_receiver_s_own_are_not_read() -> None:
    text = receivers.received(receivers.GMAIL, "<1@x>").replace("dmarc=pass", "dmarc=fail")
    text = text.replace("From:", f"Received: from a by b\n{FORGED}From:")
    assert observed(text).dmarc.result == "fail"
    other = "Authentication-Results: mx.other.example; dmarc=pass\n"
    text = text.replace("DKIM-Signature:", f"{other}DKIM-Signature:")
    assert observed(text).dmarc.result == "fail"


def test_the_upper_field_of_one_server_counts_for_each_method() -> None:
    text = "Authentication-Results: mx.a.example; spf=fail\nAuthentication-Results: mx.a.example; spf=pass; dkim=none\n"
    seen = observed(f"{text}Message-ID: <1@x>")
    assert (seen.spf.result, seen.dkim.result) == ("fail", "none")


def test_arc_is_read_where_the_receiver_wrote_nothing_else() -> None:
    text = (
        "ARC-Authentication-Results: i=2; mx.b.example; dmarc=fail header.from=brightleaf.example; arc=pass\n"
        "ARC-Authentication-Results: i=1; mx.a.example 1; spf=pass smtp.mailfrom=brightleaf.example\n"
        "Message-ID: <1@x>\n"
    )
    seen = observed(text)
    assert (seen.from_arc, seen.receiver, seen.forwarders) == (True, "mx.b.example", 2)
    assert (seen.dmarc.result, seen.spf.result) == ("fail", "")


# Sent through Microsoft 365 and received by a server that writes no results.
FROM_MICROSOFT = """\
Return-Path: <info@brightleaf.example>
Received: from EUR02.outbound.protection.outlook.com (EUR02.outbound.protection.outlook.com [192.0.2.20])
\tby mx.fairweather.example (Postfix) with ESMTPS id 4ABCDE1; Mon,  2 Mar 2026 10:01:02 +0100 (CET)
ARC-Seal: i=1; a=rsa-sha256; s=arcselector10001; d=microsoft.com; cv=none; b=Qm9yZWQ=
ARC-Authentication-Results: i=1; mx.microsoft.com 1; spf=pass
 smtp.mailfrom=brightleaf.example; dmarc=pass action=none header.from=brightleaf.example;
 dkim=pass header.d=brightleaf.example; arc=none
DKIM-Signature: v=1; a=rsa-sha256; d=brightleaf.example; s=selector1; h=From; bh=x; b=Ab3dEf9h
Received: from AM0PR01MB1234.eurprd01.prod.exchangelabs.com (2603:10a6:208::1)
 by AM0PR01MB5678.eurprd01.prod.exchangelabs.com; Mon, 2 Mar 2026 09:01:01 +0000
From: Brightleaf <info@brightleaf.example>
Message-ID: <1@x>
authentication-results: dkim=none (message not signed) header.d=none;dmarc=none action=none header.from=brightleaf.example;
"""


def test_what_the_sender_s_provider_wrote_is_no_receiver_s_result() -> None:
    seen = observed(FROM_MICROSOFT)
    assert (seen.has_results, seen.from_arc, seen.dmarc.result) == (False, False, "")
    gmail = receivers.received(receivers.GMAIL, "<1@x>")
    assert observed(gmail.replace("\nAuthentication-Results:", "\nX-Removed:")).from_arc


def test_an_email_that_its_provider_sealed_is_not_called_forwarded(app) -> None:
    text = receivers.received(receivers.GMAIL, "<1@x>").replace(" i=1;", " i=2;")
    seal = "ARC-Authentication-Results: i=1; mx.microsoft.com 1; dmarc=pass header.from=brightleaf.example"
    with app.test_request_context():
        note = comparison.source_note(observed(text.replace("DKIM-Signature:", f"{seal}\nDKIM-Signature:")))
    assert "Several servers signed the email" in note
    assert "was forwarded" not in note


def test_a_field_about_the_log_in_at_the_submission_is_no_result() -> None:
    text = FROM_MICROSOFT.replace(
        "DKIM-Signature:", "Authentication-Results: mail.relay.example; auth=pass smtp.auth=a\nX:"
    )
    assert not observed(text).has_results


# A relay that writes results, between the receiver's Received field and its own.
RELAYED = """\
{above}Received: from {sender} by {host} with ESMTPS for <ada@{mailbox}>; Mon, 2 Mar 2026 10:01:02 +0100
Authentication-Results: {results}; spf=pass smtp.mailfrom=brightleaf.example; dmarc=pass header.from=brightleaf.example
Received: from signet (portal [192.0.2.7]) by out.relay.example; Mon, 2 Mar 2026 09:01:01 +0000
Authentication-Results: out.relay.example; dmarc=pass
From: Brightleaf <info@brightleaf.example>
Message-ID: <1@x>
"""


@pytest.mark.parametrize(
    ("host", "results", "changes", "is_own"),
    [
        ("mx.fairweather.example", "mx.fairweather.example", {}, True),
        ("mx1.fairweather.example", "fairweather.example", {}, True),
        ("mx1.fairweather.example", "mx2.fairweather.example 1", {}, True),
        ("mx.fairweather.example", "out.relay.example", {}, False),
        ("mx.fairweather.co.uk", "out.relay.co.uk", {"mailbox": "fairweather.co.uk"}, False),
        ("mx.fairweather.co.uk", "fairweather.co.uk", {"mailbox": "fairweather.co.uk"}, True),
        ("st1.me.com", "dmarc.icloud.com", {"mailbox": "brightleaf.example"}, True),
        ("10.253.229.1", "atlas.omega.yahoo.com", {"mailbox": "yahoo.com"}, True),
        ("10.253.229.1", "out.relay.example", {"mailbox": "yahoo.com"}, False),
        ("ft.mail.protection.outlook.com", "dkim=none", {}, True),  # Microsoft writes no authserv-id
        ("mx.fairweather.example", "dkim=none", {}, False),  # Microsoft as the relay
        # A filter on the receiver's own machine.
        (
            "mx.fairweather.example",
            "mx.fairweather.example",
            {"above": "Received: from localhost by store.fairweather.example\n"},
            True,
        ),
        (
            "mx.fairweather.example",
            "mx.fairweather.example",
            {"above": "Received: from filter (filter [10.0.0.7]) by store.fairweather.example\n"},
            True,
        ),
        # A relay that calls itself by one word; its address is public.
        ("mx.fairweather.example", "out.relay.example", {"sender": "unknown (HELO out) (192.0.2.9)"}, False),
        (
            "mx.fairweather.example",
            "out.relay.example",
            {"sender": "out (unknown [IPv6:2001:db8::9])"},
            False,
        ),
        ("mx.fairweather.example", "out.relay.example", {"sender": "localhost ([192.0.2.9])"}, False),
    ],
)
def test_results_of_a_relay_are_not_the_receiver_s(
    host: str, results: str, changes: dict[str, str], *, is_own: bool
) -> None:
    values = {"above": "", "sender": "out.relay.example", "mailbox": "fairweather.example", **changes}
    text = RELAYED.format(host=host, results=results, **values)
    seen = observed(text)
    assert (seen.has_results, seen.dmarc.result) == ((True, "pass") if is_own else (False, ""))


def test_headers_without_results_of_the_receiver_are_called_not_known(app) -> None:
    text = RELAYED.format(
        above="",
        sender="out.relay.example",
        host="mx.b.example",
        mailbox="b.example",
        results="out.relay.example",
    )
    sent = TestEmail(
        sender="Brightleaf <info@brightleaf.example>", reply_to="", return_path="", header_id="<1@x>"
    )
    with app.test_request_context():
        seen = observed(text)
        outcome = comparison.outcome_of(sent, seen)
        assert outcome is FromOutcome.NO_RESULTS
        assert "do not know whether the receiver could verify it" in comparison.headline(outcome, seen)
        assert [row.note for row in comparison.rows(sent, seen)[-3:]] == ["Unknown."] * 3


@pytest.mark.parametrize(
    ("value", "receiver", "results"),
    [
        ("mx.a.example; none", "mx.a.example", []),
        ("mx.a.example 1; spf=pass", "mx.a.example", [("spf", "pass")]),
        ('mx.a.example; dkim=pass reason="good; spf=fail"', "mx.a.example", [("dkim", "pass")]),
        ("mx.a.example; spf=pass (a (nested; spf=fail) comment)", "mx.a.example", [("spf", "pass")]),
        ("mx.a.example; dmarc=pass(p=NONE) header.from=x", "mx.a.example", [("dmarc", "pass")]),
        ("mx.a.example; dkim/1 = pass", "mx.a.example", [("dkim", "pass")]),
        ("spf=none (sender IP is ) smtp.mailfrom=a@b; ", "", [("spf", "none")]),
        ("mx.a.example; spf=pass (never closed; dkim=pass", "mx.a.example", [("spf", "pass")]),
        ("", "", []),
        (";;;=;a=;=b", "", [("a", "")]),
    ],
)
def test_one_field(value: str, receiver: str, results: list[tuple[str, str]]) -> None:
    name, found = authentication_results.parse(value)
    assert name == receiver
    assert [(one.method, one.result) for one in found] == results


def test_a_summary_above_the_source_is_no_header_section() -> None:
    summary = "Original message\nMessage ID\t<9@x>\nFrom:\tBrightleaf <other@x.example>\nSPF:\tPASS\n\n"
    seen = observed(summary + receivers.received(receivers.GMAIL, "<1@x>") + "\n\nFrom: body\n")
    assert (seen.author, seen.header_id) == ("info@brightleaf.example", "<1@x>")


def test_folded_lines_that_lost_their_indentation_continue_their_field() -> None:
    lines = receivers.received(receivers.GMAIL, "<1@x>").splitlines()
    seen = observed("\r\n".join(line.strip() for line in lines))
    assert (seen.spf.result, seen.dkim.result, seen.dmarc.result) == ("pass", "pass", "pass")


@pytest.mark.parametrize(
    ("value", "mailbox"),
    [
        ("Brightleaf <Info@Brightleaf.example>", "info@brightleaf.example"),
        ('"a <x@y>" <info@brightleaf.example>', "info@brightleaf.example"),
        ("info@brightleaf.example", "info@brightleaf.example"),
        ("<>", ""),
        ("Brightleaf", ""),
        ("<" * 5000, ""),
        ("(" * 50_000, ""),
    ],
)
def test_the_mailbox_of_a_field(value: str, mailbox: str) -> None:
    assert headers.mailbox(value) == mailbox


@pytest.mark.parametrize(
    ("domain", "is_aligned"),
    [
        ("brightleaf.example", True),
        ("mg.brightleaf.example", True),
        ("notbrightleaf.example", False),
        ("example", False),
        ("", False),
    ],
)
def test_alignment(domain: str, is_aligned: bool) -> None:
    assert comparison.is_aligned(domain, AUTHOR) is is_aligned
