"""Pasted servers are taken apart; a plain host name and anything unclear are left alone."""

import pytest

from portal.smtp.network.pasted_host import PastedHost, take_apart


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("https://smtp.example.com:587/", "smtp.example.com", 587),
        ("smtps://smtp.example.com:465", "smtp.example.com", 465),
        ("ssl://smtp.example.com", "smtp.example.com", None),
        ("https://smtp.example.com/settings?a=1#top", "smtp.example.com", None),
        ("Host: smtp.example.com", "smtp.example.com", None),
        ("SMTP Server: smtp.example.com, port 587", "smtp.example.com", 587),
        ("Outgoing mail server = mail.example.org", "mail.example.org", None),
        ("smtp.example.com:2525", "smtp.example.com", 2525),
        ("smtp.example.com port 465", "smtp.example.com", 465),
        ("smtp.example.com/", "smtp.example.com", None),
        ('"smtp.example.com"', "smtp.example.com", None),
        ("<smtp.example.com>;", "smtp.example.com", None),
        ("[2001:db8::25]:587", "[2001:db8::25]", 587),
        ("smtp.example.com:465 (SSL/TLS)", "smtp.example.com", 465),
        ("smtp.example.com (port 587)", "smtp.example.com", 587),
        ("smtp.example.com：587", "smtp.example.com", 587),
        ("\u200bsmtp.example.com", "smtp.example.com", None),
        ("MAIL_HOST=smtp.example.com", "smtp.example.com", None),
        ("Outgoing Mail (SMTP) Server: smtp.example.com", "smtp.example.com", None),
        ("Postausgangsserver: smtp.example.de", "smtp.example.de", None),
        ("SMTP server\tsmtp.example.com\t587", "smtp.example.com", 587),
        ("host: mail-server", "mail-server", None),
        ("mailserver:25", "mailserver", 25),  # a container's name is no label
        ("smtp:587", "smtp", 587),
        ("my-smtp-host:1025", "my-smtp-host", 1025),
    ],
)
def test_a_pasted_server_is_taken_apart(text: str, host: str, port: int | None) -> None:
    assert take_apart(text) == PastedHost(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "smtp.example.com",
        "localhost",
        "::1",
        "[::1]",
        "2001:db8::587",
        "smtp example com",
        "smtp.example.com:0",
        "smtp.example.com:99999",
        "smtp.example.com:mail",
        "smtp.example.com or mail.example.com",
        "smtp.example.com ports 25, 465 or 587",
        "https://ada:secret@smtp.example.com:587/",
        "ada@example.com",
        "http://",
        "x" * 5000 + ":587",
    ],
)
def test_anything_else_is_left_alone(text: str) -> None:
    assert take_apart(text) is None
