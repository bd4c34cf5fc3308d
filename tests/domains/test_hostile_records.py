"""Any published record is parsed, rejected with a reason or ignored; none breaks or delays a check."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portal.domains import dkim, dmarc
from portal.domains.findings import replace_unprintable
from portal.domains.spf.advice import merge_records
from portal.domains.spf.record import InvalidSpf, parse
from tests.domains.sample_domains import assess_domain, good
from tests.domains.zones import Zones, text

ROOT = Path(__file__).resolve().parents[2]
PARSE = """
import sys
from portal.domains.spf.record import InvalidSpf, parse
try:
    parse(sys.stdin.read())
except InvalidSpf:
    pass
"""
OCTETS = st.text(st.characters(max_codepoint=255), max_size=120)
WORDS = st.sampled_from(
    [
        *("a", "mx", "ptr", "all", "-all", "~all", "+all", "?all", "moo", "v=spf1", "x=1", "mx/24//64"),
        *(
            "ip4:192.0.2.1",
            "ip4:192.0.2.0/24",
            "ip6:2001:db8::/32",
            "include:a.example",
            "include:mailgun.org",
        ),
        *("redirect=b.example", "exp=c.example", "a:%{i}.d.example", "exists:%{ir}.%{v}._spf.%{d2}"),
        *("-ptr:e.example", "+include:mailgun.org"),
    ]
)
RECORDS = st.lists(WORDS, max_size=8).map(lambda words: " ".join(["v=spf1", *words]))


@settings(max_examples=300, deadline=None)
@given(OCTETS)
def test_no_text_makes_a_parser_fail(octets: str) -> None:
    for record in (octets, f"v=spf1 {octets}", f"v=spf1 a:{octets} -all"):
        with contextlib.suppress(InvalidSpf):
            parse(record)
    dkim.classify_key(f"v=DKIM1; {octets}")
    dkim.classify_key(f"v=DKIM1; p={octets}")
    dmarc.parse(f"v=DMARC1; {octets}")
    assert replace_unprintable(octets).isprintable()


@settings(max_examples=300, deadline=None)
@given(st.lists(RECORDS, max_size=3))
def test_the_merged_record_is_valid_and_names_the_provider_once(records: list[str]) -> None:
    value = merge_records(records, "mailgun.org")
    record = parse(value)
    named = [term for term in record.mechanisms if term.domain == "mailgun.org"]
    assert [term.kind for term in named] == ["include"]
    endings = [term for term in record.mechanisms if term.kind == "all"]
    assert len(endings) + (record.redirect is not None) == 1
    assert "+all" not in value.split()
    assert merge_records([value], "mailgun.org") == value  # merging is idempotent


@pytest.mark.parametrize(
    "record",
    [
        "v=spf1 a:" + "a" * 4000 + "_ -all",
        "v=spf1 a:x." + "a-" * 2000 + "_ -all",
        "v=spf1 exists:" + "%{d}." * 700 + "example -all",
        "v=spf1 " + "a " * 2000 + "-all",
        "v=spf1 " + "x=%{s}" * 600,
    ],
)
def test_records_that_provoke_backtracking_are_parsed(record: str) -> None:
    # In a process of its own, because a regular expression that backtracks exponentially cannot be interrupted.
    subprocess.run([sys.executable, "-c", PARSE], input=record, text=True, check=True, timeout=300, cwd=ROOT)
    with Zones(good(spf=record)) as server:
        assess_domain(server)


def test_records_of_arbitrary_octets_are_assessed() -> None:
    zone = good()
    raw = text("".join(chr(n) for n in range(256)))
    for name in ("shop.example", "_dmarc.shop.example", "pdk1._domainkey.shop.example"):
        zone[(name, "TXT")] = [raw, text("v=spf1 \xff -all")]
    with Zones(zone) as server:
        report = assess_domain(server)
    assert all(character.isprintable() for character in str(report.as_dict()))
