"""What is read from bounce mails, complaints and replies of mail systems, in the likeness of real ones."""

from __future__ import annotations

import base64
import json
from typing import NamedTuple

import pytest

from portal.bounces.parsing.mime import MAX_BYTES
from portal.bounces.parsing.model import MAX_FINDINGS, MAX_REASON_CHARS, BounceClass, Form, MailReport
from portal.bounces.parsing.read import read_report

from .mails import ADA, MESSAGE_ID, complaint, mail, notification, original, status_fields


def _short(report: MailReport) -> list[tuple[str, str, str]]:
    return [(one.outcome.value, one.cause.value, one.recipient) for one in report.findings]


class Words(NamedTuple):
    """What a receiving server says, and what it means."""

    diagnostic: str
    status: str
    outcome: str
    cause: str


@pytest.mark.parametrize(
    "words",
    [
        Words(
            "smtp; 550 5.1.1 <ada@receiver.example>: User unknown in virtual table",
            "5.1.1",
            "hard",
            "unknown-mailbox",
        ),
        Words(
            "smtp; 550 5.7.1 Requested action not taken: no such user here",
            "5.7.1",
            "hard",
            "unknown-mailbox",
        ),
        Words("smtp; 450 4.1.1 <ada@receiver.example>: user unknown", "4.1.1", "hard", "unknown-mailbox"),
        Words(
            "smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
            "5.1.10",
            "hard",
            "unknown-mailbox",
        ),
        Words(
            "x-postfix; Host or domain name not found. Name service error for name=receiver.example type=A: Host not found",
            "5.4.4",
            "hard",
            "unknown-domain",
        ),
        # Refusals that say nothing about the mailbox, with codes or words that look as if they did.
        Words("smtp; 550 Administrative prohibition - envelope blocked", "5.4.1", "blocked", "policy"),
        Words("smtp; 541 5.4.1 Mail rejected by destination domain", "5.4.1", "soft", "unreachable"),
        Words(
            "smtp; 550 5.4.1 Recipient address rejected: Access denied.", "5.4.1", "hard", "unknown-mailbox"
        ),
        Words(
            "smtp; 550 permanent failure for one or more recipients (ada@receiver.example:blocked)",
            "5.0.0",
            "blocked",
            "policy",
        ),
        Words("Sie sind nicht berechtigt, an diesen Empfänger zu senden.", "5.0.0", "blocked", "policy"),
        *(
            Words(
                f"smtp; 550 5.4.1 The recipient{named} rejected the message", "5.4.1", "soft", "unreachable"
            )
            for named in ("'s mail server", "’s server", " server", " email system")
        ),
        Words("smtp; 550 5.4.5 Daily user sending quota exceeded", "5.4.5", "blocked", "rate"),
        Words("", "5.4.5", "blocked", "rate"),
        Words(
            "smtp; 554 IP=192.0.2.1 - A problem occurred. Ask your postmaster for help or to contact tosa@rx.receiver.example",
            "5.0.0",
            "blocked",
            "reputation",
        ),
        Words("smtp; 550 5.1.1 Adresse de destinataire non valide", "5.1.1", "hard", "unknown-mailbox"),
        Words("smtp; 550 local server don't exists that user", "5.0.0", "hard", "unknown-mailbox"),
        *(
            Words(words, "5.0.0", "hard", "unknown-mailbox")
            for words in (
                "Het e-mailadres dat u hebt ingevoerd, kan niet worden gevonden.",
                "Impossibile trovare l'indirizzo di posta elettronica immesso.",
                "Não foi possível encontrar o endereço de email que você inseriu.",
                "Nie można odnaleźć wprowadzonego adresu e-mail.",
                "Det gick inte att hitta den e-postadress som du angav.",
                "Den mailadresse, du angav, blev ikke fundet.",
                "E-mailovou adresu, kterou jste zadali, nelze najít.",
                "입력한 전자 메일 주소를 찾을 수 없습니다.",
                "Benutzer ada (ada@receiver.example) nicht im Domino-Verzeichnis aufgeführt",
            )
        ),
        Words("La boîte aux lettres du destinataire est pleine.", "5.0.0", "soft", "mailbox-full"),
        Words(
            "smtp; 551 5.1.6 recipient no longer on server: ada@receiver.example", "5.1.6", "hard", "moved"
        ),
        Words(
            "smtp; 552 5.2.2 <ada@receiver.example>: mailbox is over quota", "5.2.2", "soft", "mailbox-full"
        ),
        Words("smtp; 550 5.1.1 sorry, the mailbox is full", "5.1.1", "soft", "mailbox-full"),
        Words(
            "x-postfix; connect to mx.receiver.example[192.0.2.7]:25: Connection timed out",
            "4.4.1",
            "soft",
            "unreachable",
        ),
        Words("smtp; 554 5.4.6 Too many hops", "5.4.6", "soft", "loop"),
        Words("smtp; 552 5.3.4 Message size exceeds fixed limit", "5.3.4", "soft", "too-big"),
        Words(
            "smtp; 554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
            "5.7.1",
            "blocked",
            "reputation",
        ),
        Words(
            "smtp; 550 5.7.26 This mail is unauthenticated: SPF and DKIM did not pass",
            "5.7.26",
            "blocked",
            "authentication",
        ),
        Words("smtp; 554 5.7.1 Message rejected: it looks like spam", "5.7.1", "blocked", "content"),
        Words("smtp; 554 5.7.9 Message not accepted for policy reasons", "5.7.9", "blocked", "policy"),
        Words(
            "smtp; 550 5.7.1 Your message was rejected by the recipient domain: access denied",
            "5.7.1",
            "blocked",
            "policy",
        ),
        Words("smtp; 550 5.1.8 Sender address rejected: Domain not found", "5.1.8", "blocked", "sender"),
        Words("", "5.1.1", "hard", "unknown-mailbox"),
        Words("", "5.0.0", "soft", "other"),
        Words("", "5.2.2", "soft", "mailbox-full"),
        Words("", "5.7.1", "blocked", "policy"),
        Words("", "4.1.1", "soft", "unreachable"),
    ],
    ids=lambda words: words.diagnostic[:40] or words.status,
)
def test_a_notification_is_classified_by_the_words_of_the_receiver_then_by_its_code(words: Words) -> None:
    report = read_report(
        notification(status_fields(status=words.status, diagnostic=words.diagnostic), text="Hello.")
    )
    assert report.form is Form.DELIVERY_STATUS
    assert _short(report) == [(words.outcome, words.cause, ADA)]
    assert report.findings[0].status == words.status


def test_a_notification_names_the_message_that_it_is_about() -> None:
    per_message = "Reporting-MTA: dns; relay.sender.example\nOriginal-Envelope-Id: ref-k3f7q2w8"
    report = read_report(
        notification(per_message=per_message, Delivered_To="bounces+k3f7q2w8@sender.example")
    )
    assert (report.message_id, report.reference, report.envelope_id) == (
        MESSAGE_ID,
        "k3f7q2w8",
        "ref-k3f7q2w8",
    )
    assert "bounces+k3f7q2w8@sender.example" in report.delivered_to
    finding = report.findings[0]
    assert (finding.status, finding.reply_code) == ("5.1.1", "550")
    assert "User unknown" in finding.reason


@pytest.mark.parametrize("returned_type", ["text/rfc822-headers", "message/global-headers", "message/global"])
def test_the_message_is_also_known_by_its_headers_alone(returned_type: str) -> None:
    headers = original().partition("\n\n")[0] + "\n"
    assert read_report(notification(returned=headers, returned_type=returned_type)).message_id == MESSAGE_ID


@pytest.mark.parametrize(
    ("action", "status", "outcome"),
    [
        ("delayed", "4.4.1", "delayed"),
        ("Delayed (will retry)", "4.2.2", "delayed"),
        ("delivered", "2.0.0", "delivered"),
        ("relayed", "2.0.0", "delivered"),
        ("expanded", "2.0.0", "delivered"),
        ("deliverable", "2.1.5", "none"),
        ("failure", "5.1.1", "hard"),
        ("", "5.1.1", "hard"),
        ("", "2.1.5", "delivered"),
    ],
)
def test_the_action_decides_whether_it_is_a_bounce(action: str, status: str, outcome: str) -> None:
    report = read_report(
        notification(status_fields(action=action, status=status, diagnostic=""), text="Hello.")
    )
    assert [one.outcome.value for one in report.findings] == [outcome]


def test_each_recipient_has_its_own_outcome() -> None:
    report = read_report(
        notification(
            status_fields("ada@receiver.example"),
            status_fields("bob@receiver.example", status="5.2.2", diagnostic="smtp; 552 5.2.2 mailbox full"),
            status_fields("cyd@receiver.example", "delivered", "2.0.0", "smtp; 250 2.0.0 ok"),
        )
    )
    assert _short(report) == [
        ("hard", "unknown-mailbox", "ada@receiver.example"),
        ("soft", "mailbox-full", "bob@receiver.example"),
        ("delivered", "", "cyd@receiver.example"),
    ]


def test_the_address_that_was_mailed_is_kept_beside_the_one_that_failed() -> None:
    group = "Original-Recipient: rfc822;ada@receiver.example\n" + status_fields("ada.l@elsewhere.example")
    finding = read_report(notification(group)).findings[0]
    assert (finding.recipient, finding.original_recipient) == ("ada.l@elsewhere.example", ADA)


@pytest.mark.parametrize(
    ("field", "recipient"),
    [
        ("rfc822; <Ada@Receiver.example>", "Ada@Receiver.example"),
        ("utf-8; \\x{C4}da@receiver.example", "Äda@receiver.example"),
        ("utf-8; Ädá@bücher.example", "Ädá@bücher.example"),
        ('RFC822;"ada..l"@receiver.example', '"ada..l"@receiver.example'),
        ("rfc822;ada+list=x@receiver.example", "ada+list=x@receiver.example"),
        ("<ada@receiver.example>", ADA),
    ],
)
def test_addresses_are_read_in_every_notation(field: str, recipient: str) -> None:
    group = f"Final-Recipient: {field}\nAction: failed\nStatus: 5.1.1"
    report = read_report(notification(group, status_type="message/global-delivery-status"))
    assert [one.recipient for one in report.findings] == [recipient]


def test_encoded_status_parts_and_foreign_line_ends_are_read() -> None:
    fields = base64.b64encode(f"Reporting-MTA: dns; x.example\n\n{status_fields()}\n".encode()).decode()
    body = (
        "--edge\nContent-Type: text/plain\n\nHello.\n"
        f"--edge\nContent-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n{fields}\n--edge--\n"
    )
    raw = mail(body, Content_Type="multipart/report; report-type=delivery-status; boundary=edge")
    for ends in (b"\n", b"\r\n", b"\r"):
        assert _short(read_report(raw.replace(b"\n", ends))) == [("hard", "unknown-mailbox", ADA)]


class Letter(NamedTuple):
    """A report in words, and what it says."""

    name: str
    raw: bytes
    outcome: str
    cause: str


_MARK = "------ This is a copy of the message, including all the headers. ------\n\n"
IN_WORDS = [
    Letter(
        "indented, reply below",
        mail(
            "A message that you sent could not be delivered. This is a permanent error.\n\n"
            "  ada@receiver.example\n    host mx.receiver.example [192.0.2.7]\n"
            "    SMTP error after RCPT TO:<ada@receiver.example>:\n"
            f"    550 5.1.1 No such mailbox\n\n{_MARK}{original()}",
            "Mail delivery failed: returning message to sender",
            X_Failed_Recipients=ADA,
        ),
        "hard",
        "unknown-mailbox",
    ),
    Letter(
        "address and colon",
        mail(
            "Hi. This is the mail program at relay.sender.example.\nI could not deliver your message.\n\n"
            "<ada@receiver.example>:\n192.0.2.7 does not like recipient.\nRemote host said: 550 no mailbox here by that name\n"
            f"Giving up on 192.0.2.7.\n\n--- Below this line is a copy of the message.\n\n{original()}",
            "failure notice",
            From="MAILER-DAEMON@relay.sender.example",
        ),
        "hard",
        "unknown-mailbox",
    ),
    Letter(
        "quota in words",
        mail(
            f"The user's mailbox exceeds allowed size: ada@receiver.example\n\nOriginal message follows.\n\n{original()}",
            "Undeliverable Mail",
        ),
        "soft",
        "mailbox-full",
    ),
    Letter(
        "session transcript",
        mail(
            "   ----- The following addresses had permanent fatal errors -----\n<ada@receiver.example>\n\n"
            "   ----- Transcript of session follows -----\n... while talking to mx.receiver.example.:\n"
            ">>> RCPT To:<ada@receiver.example>\n<<< 550 5.1.1 <ada@receiver.example>... User unknown\n"
            f"550 5.1.1 <ada@receiver.example>... User unknown\n\n   ----- Original message follows -----\n{original()}",
            "Returned mail: see transcript for details",
        ),
        "hard",
        "unknown-mailbox",
    ),
    Letter(
        "error of another server",
        mail(
            "Delivery to the following recipient failed permanently:\n\n     ada@receiver.example\n\n"
            "Technical details of permanent failure:\n"
            "The error that the other server returned was:\n550 5.7.1 Our system has detected that this message is spam\n\n"
            f"----- Original message -----\n\n{original()}",
            "Delivery Status Notification (Failure)",
        ),
        "blocked",
        "content",
    ),
    Letter(
        "a warning",
        mail(
            "THIS IS A WARNING MESSAGE ONLY. YOU DO NOT NEED TO RESEND YOUR MESSAGE.\n\n"
            "Delivery to the following recipient has been delayed:\n\n"
            f"     ada@receiver.example\n\nMessage will be retried for 2 more day(s)\n\n"
            f"----- Original message -----\n\n{original()}",
            "Delivery Status Notification (Delay)",
        ),
        "delayed",
        "other",
    ),
    Letter(
        "German",
        mail(
            "Ihre Nachricht konnte nicht zugestellt werden.\n\nEmpfänger: ada@receiver.example\n"
            f"Grund: Der Empfänger ist unbekannt.\n\nUrsprüngliche Nachricht:\n\n{original()}",
            "Unzustellbar: Your application",
            From="postmaster@receiver.example",
        ),
        "hard",
        "unknown-mailbox",
    ),
    Letter(
        "Japanese",
        mail(
            "次の宛先へのメッセージは配信できませんでした。\n\n<ada@receiver.example>: ユーザが存在しません\n\n"
            f"元のメッセージ:\n\n{original()}",
            "配信エラー",
            From="postmaster@receiver.example",
        ),
        "hard",
        "unknown-mailbox",
    ),
    Letter(
        "French",
        mail(
            "Votre message n'a pas pu être remis.\n\nDestinataire : ada@receiver.example\nRaison : boîte aux lettres pleine\n\n"
            f"Message d'origine\n\n{original()}",
            "Échec de la remise",
            From="postmaster@receiver.example",
        ),
        "soft",
        "mailbox-full",
    ),
    Letter(
        "HTML only",
        mail(
            "<html><body><p>Delivery has failed to these recipients:</p><p><a "
            "href='mailto:ada@receiver.example'>ada@receiver.example</a><br>"
            "The email address you entered couldn't be found.</p></body></html>",
            "Undeliverable: Your application",
            From="postmaster@receiver.example",
            Content_Type="text/html; charset=utf-8",
            In_Reply_To=f"<{MESSAGE_ID}>",
        ),
        "hard",
        "unknown-mailbox",
    ),
]


@pytest.mark.parametrize("letter", IN_WORDS, ids=lambda letter: letter.name)
def test_a_report_in_words_is_read(letter: Letter) -> None:
    report = read_report(letter.raw)
    assert report.form is Form.TEXT
    assert _short(report) == [(letter.outcome, letter.cause, ADA)]
    assert report.message_id == MESSAGE_ID


def test_several_recipients_in_words_have_their_own_reasons() -> None:
    text = (
        "Your message did not reach the following recipients:\n\n"
        "<ada@receiver.example>: 550 5.1.1 user unknown\n<bob@receiver.example>: 552 5.2.2 mailbox full\n\n"
        f"Original message follows.\n\n{original('ada@receiver.example, bob@receiver.example')}"
    )
    assert _short(read_report(mail(text))) == [
        ("hard", "unknown-mailbox", "ada@receiver.example"),
        ("soft", "mailbox-full", "bob@receiver.example"),
    ]


@pytest.mark.parametrize(
    ("kind", "outcome", "cause"),
    [
        ("abuse", "complaint", "abuse"),
        ("fraud", "complaint", "fraud"),
        ("opt-out", "unsubscribed", "opt-out"),
        ("not-spam", "none", "not-spam"),
        ("auth-failure", "none", "authentication"),
    ],
)
def test_a_complaint_is_read(kind: str, outcome: str, cause: str) -> None:
    report = read_report(complaint(kind, f"Original-Rcpt-To: <{ADA}>"))
    assert _short(report) == [(outcome, cause, ADA)]
    assert (report.form, report.message_id, report.reference) == (Form.FEEDBACK, MESSAGE_ID, "k3f7q2w8")


def test_a_complaint_that_withholds_the_recipient_names_the_message() -> None:
    report = read_report(complaint("abuse", returned=original("undisclosed-recipients:;")))
    assert (report.findings[0].outcome, report.findings[0].recipient) == (BounceClass.COMPLAINT, "")
    assert report.message_id == MESSAGE_ID


@pytest.mark.parametrize(
    "raw",
    [
        mail(
            "I am away until Monday.",
            "Out of office",
            From="Ada <ada@receiver.example>",
            Auto_Submitted="auto-replied",
        ),
        mail("Bin bis Montag nicht im Haus.", "Abwesenheitsnotiz: Re: Your application", From=ADA),
        mail("Je suis absent.", "Réponse automatique : Your application", From=ADA, X_Autoreply="yes"),
        mail(
            "My address will stop: this mailbox is disabled soon.",
            "Automatic reply: Your application",
            From=ADA,
            X_Auto_Response_Suppress="All",
        ),
        mail(
            "Your message was displayed.",
            "Read: Your application",
            From=ADA,
            Content_Type="multipart/report; report-type=disposition-notification; boundary=x",
        ),
    ],
)
def test_an_automatic_reply_is_no_bounce(raw: bytes) -> None:
    report = read_report(raw)
    assert [one.outcome for one in report.findings] == [BounceClass.AUTO_REPLY]
    assert report.form is Form.AUTO_REPLY


@pytest.mark.parametrize(
    "raw",
    [
        mail(
            "When do you pay? My bank rejected the last transfer.",
            "Re: Your application",
            From=ADA,
            Return_Path=f"<{ADA}>",
        ),
        mail(
            f"I got this:\n\n> <bob@receiver.example>: 550 5.1.1 user unknown\n\n{original()}",
            "Fwd: Undelivered Mail",
            From=ADA,
            Return_Path=f"<{ADA}>",
        ),
        mail(
            "Our newsletter: ten ways to avoid failed deliveries. Write to bob@receiver.example.",
            "News",
            From="news@shop.example",
            Return_Path="<news@shop.example>",
        ),
        b"",
        b"\n\n\n",
        b"no header here",
        bytes(range(256)) * 40,
    ],
)
def test_an_ordinary_mail_is_no_report(raw: bytes) -> None:
    assert [one.outcome for one in read_report(raw).findings] == [BounceClass.NONE]


def test_an_event_of_amazon_ses_that_came_by_email_is_read() -> None:
    event = {
        "notificationType": "Bounce",
        "mail": {
            "messageId": "0100-ses-id",
            "destination": [ADA],
            "commonHeaders": {"messageId": f"<{MESSAGE_ID}>"},
        },
        "bounce": {
            "bounceType": "Permanent",
            "bounceSubType": "General",
            "bouncedRecipients": [
                {
                    "emailAddress": ADA,
                    "action": "failed",
                    "status": "5.1.1",
                    "diagnosticCode": "smtp; 550 5.1.1 user unknown",
                }
            ],
        },
    }
    for text in (json.dumps(event), json.dumps({"Type": "Notification", "Message": json.dumps(event)})):
        report = read_report(
            mail(text, "AWS Notification Message", From="no-reply@sns.example", Return_Path="")
        )
        assert (_short(report), report.message_id) == ([("hard", "unknown-mailbox", ADA)], MESSAGE_ID)


def _nested(levels: int) -> bytes:
    raw = "text\n"
    for level in range(levels):
        raw = f'Content-Type: multipart/mixed; boundary="b{level}"\n\n--b{level}\n{raw}\n--b{level}--\n'
    return f"From: MAILER-DAEMON@x.example\nSubject: failure notice\n{raw}".encode()


def _big(filling: bytes, size: int = 10_000_000) -> bytes:
    head = b"From: MAILER-DAEMON@x.example\nSubject: Undelivered\nContent-Type: text/%s\n\nThe delivery failed:\n"
    return head + filling * (size // len(filling))


_HOSTILE = {
    "nested": _nested(4000),
    "addresses": _big(b"<ada@receiver.example>: 550 user unknown\n"),
    "one word": _big(b"a"),
    "at signs": _big(b"@"),
    "tags": _big(b"<").replace(b"%s", b"html"),
    "codes": _big(b"550 5.1.1 "),
    "digits": _big(b"5.1."),
    "quotes": _big(b'"'),
    "header lines": b"From: x\n" + b"Received: from a\n" * 600_000,
    "one header": b"Subject: " + b"=?utf-8?q?a" * 900_000,
    "folded header": b"Subject: a\n" + b" a\n" * 3_000_000,
    "parts": b"Content-Type: multipart/report; boundary=b\n\n"
    + b"--b\nContent-Type: message/delivery-status\n\nAction: failed\n" * 160_000,
    "status groups": notification(per_message="\n\n".join([status_fields("a@b.example")] * 60_000)),
    "boundary": b"Content-Type: multipart/mixed; " + b"boundary=" * 900_000,
    "dashes": b"Content-Type: multipart/mixed; boundary=b\n\n" + b"-" * 10_000_000,
    "open json": _big(b'{"mail":'),
    "spaces": _big(b" \t"),
    "message id": b"From: MAILER-DAEMON@a.example\nSubject: Undelivered Mail\n\nCould not deliver to <a@b.example>\n\n"
    + b"Message-ID:"
    + b" " * 10_000_000,
    "escapes": _big(b"\x1b$B").replace(b"text/%s", b"text/plain; charset=iso-2022-jp"),
    "quadratic charset": _big(b"a-").replace(b"text/%s", b"text/plain; charset=punycode"),
}


@pytest.mark.parametrize("name", _HOSTILE)
def test_a_hostile_mail_of_ten_megabytes_is_read_within_bounds(name: str) -> None:
    """A step that takes quadratic time would not end here within hours."""
    report = read_report(_HOSTILE[name])
    assert 1 <= len(report.findings) <= MAX_FINDINGS
    assert all(len(one.reason) <= MAX_REASON_CHARS and one.reason.isprintable() for one in report.findings)


def test_bytes_beyond_the_limit_are_not_read() -> None:
    raw = notification(status_fields())
    assert _short(read_report(raw + b"x" * 20_000_000)) == _short(read_report(raw))
    assert _short(read_report(b"X-Padding: " + b"x" * MAX_BYTES + b"\n" + raw)) == [("none", "", "")]


@pytest.mark.parametrize("sender", [b"", b"m\xffiler-daemon@receiver.example"])
def test_a_malformed_sender_leaves_no_traceback_in_the_log(sender, caplog):
    raw = b"From: %b\nReturn-Path: <>\nSubject: failure notice\n\nSorry, this did not work.\n" % sender
    assert _short(read_report(raw)) == [("none", "", "")]
    assert caplog.text == ""
