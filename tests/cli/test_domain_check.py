"""``flask domain check`` prints the findings of the page and returns an exit status for scripts."""

from __future__ import annotations

import json

import pytest

from tests.domains.conftest import _empty_cache as _empty_cache
from tests.domains.conftest import clock as clock
from tests.domains.conftest import config as config
from tests.domains.conftest import zones as zones
from tests.domains.zones import MUTE, text

pytestmark = pytest.mark.thorough


@pytest.fixture
def run(app):
    def run(*arguments: str):
        return app.test_cli_runner().invoke(args=["domain", "check", *arguments])

    return run


def test_a_valid_domain_returns_0(run):
    result = run("shop.example", "--provider", "mailgun")
    assert result.exit_code == 0, result.output
    assert "shop.example by Mailgun: in order" in result.output


def test_a_provider_may_be_named_by_its_server(run):
    assert run("shop.example", "--provider", "smtp.mailgun.org").exit_code == 0


def test_a_problem_returns_1_and_prints_the_record_to_paste(run, zones):
    del zones.zone[("shop.example", "TXT")]
    result = run("shop.example", "--provider", "mailgun")
    assert result.exit_code == 1
    assert "Paste:      shop.example TXT v=spf1 include:mailgun.org ~all" in result.output


def test_json_is_one_object_with_the_same_findings(run):
    result = run("Shop.Example.", "--provider", "mailgun", "--json")
    report = json.loads(result.output)
    assert (report["domain"], report["verdict"]) == ("shop.example", "arrives")
    assert [one["subject"] for one in report["findings"]] == ["mx", "spf", "dkim", "dmarc"]
    assert report["spf"]["terms"][0]["text"] == "include:mailgun.org"


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
def test_a_domain_that_cannot_be_checked_returns_2(run, zones, arguments):
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert zones.queries == []
    assert "error" in json.loads(run(*arguments, "--json").output)


def test_a_name_server_that_does_not_answer_returns_2(run, zones):
    zones.faults["shop.example mx"] = MUTE
    result = run("shop.example", "--provider", "mailgun")
    assert result.exit_code == 2
    assert "not checked" in result.output


def test_control_characters_do_not_reach_the_terminal(run, zones):
    zones.zone[("shop.example", "TXT")] = [text("v=spf1 \x1b]0;owned\x07 -all")]
    assert "\x1b" not in run("shop.example", "--provider", "mailgun").output
