"""``flask domain check`` gives the page's list, with a status a script can use."""

from __future__ import annotations

import json

import pytest

from tests.domains.zones import MUTE, text

pytestmark = pytest.mark.thorough


@pytest.fixture
def run(app):
    def run(*arguments: str):
        return app.test_cli_runner().invoke(args=["domain", "check", *arguments])

    return run


def test_a_domain_in_order_ends_with_nought(run):
    answer = run("shop.example", "--provider", "mailgun")
    assert answer.exit_code == 0, answer.output
    assert "shop.example by Mailgun: will arrive" in answer.output


def test_a_provider_may_be_named_by_its_server(run):
    assert run("shop.example", "--provider", "smtp.mailgun.org").exit_code == 0


def test_trouble_ends_with_one_and_says_what_to_paste(run, zones):
    del zones.zone[("shop.example", "TXT")]
    answer = run("shop.example", "--provider", "mailgun")
    assert answer.exit_code == 1
    assert "Paste:      shop.example TXT v=spf1 include:mailgun.org ~all" in answer.output


def test_json_is_one_object_with_the_same_list(run):
    answer = run("Shop.Example.", "--provider", "mailgun", "--json")
    told = json.loads(answer.output)
    assert (told["domain"], told["verdict"]) == ("shop.example", "arrives")
    assert [one["subject"] for one in told["findings"]] == ["mx", "spf", "dkim", "dmarc"]
    assert told["spf"]["terms"][0]["text"] == "include:mailgun.org"


@pytest.mark.parametrize(
    "arguments",
    [
        ("localhost",),
        ("db.internal",),
        ("not a domain",),
        ("192.0.2.1",),
        ("shop.example", "--provider", "nobody"),
        ("shop.example", "--selector", "a b"),
    ],
)
def test_what_cannot_be_looked_at_ends_with_two(run, zones, arguments):
    answer = run(*arguments)
    assert answer.exit_code == 2, answer.output
    assert zones.asked == []
    assert "error" in json.loads(run(*arguments, "--json").output)


def test_silence_ends_with_two(run, zones):
    zones.troubles["shop.example mx"] = MUTE
    answer = run("shop.example", "--provider", "mailgun")
    assert answer.exit_code == 2
    assert "could not look" in answer.output


def test_control_characters_do_not_reach_the_terminal(run, zones):
    zones.zone[("shop.example", "TXT")] = [text("v=spf1 \x1b]0;owned\x07 -all")]
    assert "\x1b" not in run("shop.example", "--provider", "mailgun").output
