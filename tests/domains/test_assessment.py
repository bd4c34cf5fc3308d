"""Assessments of sample domains over real DNS."""

from __future__ import annotations

import pytest

from portal.domains.findings import Severity
from portal.domains.models import DomainStatus
from tests.domains.sample_domains import DKIM, KEY, PROVIDERS, assess_domain, domain, finding_for, good, rsa
from tests.domains.zones import BROKEN, GARBAGE, MUTE, WRONG_QUESTION, Zones, text

pytestmark = pytest.mark.thorough


def test_a_correct_domain_arrives() -> None:
    with Zones(good()) as server:
        report = assess_domain(server)
    assert report.status is DomainStatus.ARRIVES, report.reasons
    assert {one.subject: one.severity for one in report.findings} == dict.fromkeys(
        ("mx", "spf", "dkim", "dmarc"), Severity.OK
    )
    assert [one.vouches for one in report.alignment] == [True, True]
    assert not any(one.recommended for one in report.findings)


def test_a_record_without_the_provider_is_merged_instead_of_a_second_record() -> None:
    with Zones(good(spf="v=spf1 include:_spf.google.com -all")) as server:
        report = assess_domain(server)
        assert report.status is DomainStatus.AT_RISK
        (recommended,) = finding_for(report, "spf").recommended
        assert recommended.value == "v=spf1 include:_spf.google.com include:mailgun.org -all"
        assert "Replace" in recommended.how
        server.put("shop.example", "TXT", recommended.value)
        assert assess_domain(server).status is DomainStatus.ARRIVES


def test_a_provider_whose_addresses_are_permitted_needs_no_include() -> None:
    spf = "v=spf1 ip4:209.61.151.0/24 ip4:166.78.68.0/22 ip4:161.38.192.0/20 -all"
    with Zones(good(spf=spf)) as server:
        report = assess_domain(server)
    assert report.status is DomainStatus.ARRIVES
    assert "covers Mailgun’s addresses" in finding_for(report, "spf").sentence


def test_a_part_of_the_provider_s_addresses_is_a_warning() -> None:
    with Zones(good(spf="v=spf1 ip4:209.61.151.0/24 -all")) as server:
        finding = finding_for(assess_domain(server), "spf")
    assert finding.severity is Severity.WARNING
    assert "some of Mailgun’s servers" in finding.sentence


@pytest.mark.parametrize(
    ("records", "severity", "words", "recommended"),
    [
        ([], Severity.ERROR, "has no SPF record", "v=spf1 include:mailgun.org ~all"),
        (
            ["v=spf1 mx -all", "v=spf1 include:_spf.google.com ~all"],
            Severity.ERROR,
            "2 SPF records",
            "v=spf1 include:_spf.google.com mx include:mailgun.org ~all",
        ),
        (
            ["v=spf1 a:shop..example ip4:1.2.3.400 -all"],
            Severity.ERROR,
            "cannot be read",
            "v=spf1 a:shop..example include:mailgun.org -all",
        ),
        (
            ["v=spf1 include:mailgun.org +all"],
            Severity.WARNING,
            "allows anyone to send as you",
            "v=spf1 include:mailgun.org ~all",
        ),
        (["v=spf1 include:mailgun.org redirect=shop.example"], Severity.ERROR, "leads back to", ""),
        (
            ["v=spf1 include:nothing.shop.example include:mailgun.org -all"],
            Severity.ERROR,
            "no SPF record",
            "",
        ),
        (
            ["v=spf1 a:x.shop.example a:y.shop.example mx:z.shop.example include:mailgun.org -all"],
            Severity.ERROR,
            "find no record",
            "",
        ),
        (["v=spf1 ptr include:mailgun.org -all"], Severity.OK, "allows Mailgun to send", ""),
    ],
)
def test_a_faulty_spf_record_is_explained(
    records: list[str], severity: Severity, words: str, recommended: str
) -> None:
    zone = good()
    zone[("shop.example", "TXT")] = [text(one) for one in ["else=1", *records]]
    with Zones(zone) as server:
        finding = finding_for(assess_domain(server), "spf")
    assert finding.severity is severity
    assert words in finding.sentence
    assert [one.value for one in finding.recommended] == ([recommended] if recommended else [])


def test_eleven_look_ups_are_counted_and_shown_as_a_tree() -> None:
    zone = good(
        spf="v=spf1 " + " ".join(f"include:s{n}.shop.example" for n in range(8)) + " include:mailgun.org -all"
    )
    zone |= {(f"s{n}.shop.example", "TXT"): [text(f"v=spf1 ip4:198.51.100.{n} -all")] for n in range(8)}
    with Zones(zone) as server:
        report = assess_domain(server)
    assert report.details["look_ups"] == 11
    assert "11 DNS look-ups" in finding_for(report, "spf").sentence
    names = [term["branch"]["domain"] for term in report.details["spf"]["terms"] if term["branch"]]
    assert names == [*(f"s{n}.shop.example" for n in range(8)), "mailgun.org"]
    assert "Remove services that you no longer send with" in finding_for(report, "spf").notes[0]


def test_without_spf_and_dkim_the_status_is_refused() -> None:
    with Zones(PROVIDERS | domain("shop.example", spf="v=spf1 -all")) as server:
        report = assess_domain(server)
    assert report.status is DomainStatus.REFUSED
    assert "pass neither SPF nor DKIM" in report.reasons[0]
    assert [one.name for one in finding_for(report, "dkim").recommended] == [
        "pdk1._domainkey.shop.example",
        "pdk2._domainkey.shop.example",
    ]


@pytest.mark.parametrize(
    ("record", "severity", "words"),
    [
        (f"v=DKIM1; k=rsa; p={rsa(1024)}", Severity.OK, "under pdk1"),
        ("v=DKIM1; k=rsa; p=", Severity.ERROR, "revoked"),
        (f"v=DKIM1; k=rsa; p={KEY[:200]}", Severity.ERROR, "damaged"),
        ("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", Severity.OK, "under pdk1"),
        ("v=DKIM1; k=ed25519; p=11qYAYKx", Severity.ERROR, "32 bytes"),
        (f"k=rsa; p={KEY}", Severity.OK, "under pdk1"),
        (f"v=DKIM1; t=y; p={KEY}", Severity.WARNING, "tested"),
        (f"v=DKIM1; h=sha1; p={KEY}", Severity.ERROR, "SHA-1"),
        (f"v=DKIM1; s=other; p={KEY}", Severity.ERROR, "not for email"),
        ("v=spf1 -all", Severity.ERROR, "not a DKIM key"),
        ("v=DKIM1; k=dsa; p=AAAA", Severity.ERROR, "'dsa'"),
    ],
)
def test_a_dkim_key_is_classified(record: str, severity: Severity, words: str) -> None:
    with Zones(good(dkim=record)) as server:
        finding = finding_for(assess_domain(server), "dkim")
    assert finding.severity is severity
    assert words in finding.sentence


def test_a_key_behind_an_alias_is_read_and_the_alias_shown() -> None:
    zone = good(dkim="")
    zone[("pdk1._domainkey.shop.example", "CNAME")] = ["keys.mailgun.example."]
    zone[("keys.mailgun.example", "TXT")] = [text(DKIM)]
    with Zones(zone) as server:
        finding = finding_for(assess_domain(server), "dkim")
    assert finding.severity is Severity.OK
    assert finding.published[0].value == "keys.mailgun.example"


def test_a_circle_of_aliases_is_an_error() -> None:
    zone = good(dkim="")
    zone[("pdk1._domainkey.shop.example", "CNAME")] = ["round.shop.example."]
    zone[("round.shop.example", "CNAME")] = ["pdk1._domainkey.shop.example."]
    with Zones(zone) as server:
        finding = finding_for(assess_domain(server), "dkim")
    assert finding.severity is Severity.ERROR
    assert "back to itself" in finding.sentence


def test_an_added_selector_is_queried() -> None:
    zone = good(dkim="")
    zone[("mine._domainkey.shop.example", "TXT")] = [text(DKIM)]
    with Zones(zone) as server:
        assert assess_domain(server).status is DomainStatus.AT_RISK
        assert assess_domain(server, "shop.example", "mailgun", "mine").status is DomainStatus.ARRIVES


def test_a_provider_with_individual_selectors_is_asked_for_the_selector() -> None:
    zone = good(dkim="") | {("abcdef._domainkey.shop.example", "TXT"): [text(DKIM)]}
    with Zones(zone) as server:
        report = assess_domain(server, provider="ses")
    finding = finding_for(report, "dkim")
    assert finding.severity is Severity.UNKNOWN
    assert "cannot list the selectors" in finding.sentence
    assert report.status is DomainStatus.AT_RISK
    with Zones(zone) as server:
        report = assess_domain(server, "shop.example", "ses", "mistyped")
    assert finding_for(report, "dkim").sentence == "No key is published under mistyped, which you entered."


@pytest.mark.parametrize("provider", ["ses", "postmark", "other"])
def test_a_domain_without_any_key_is_reported_also_where_selectors_are_individual(provider: str) -> None:
    with Zones(good(dkim="")) as server:
        report = assess_domain(server, provider=provider)
    finding = finding_for(report, "dkim")
    assert finding.severity is Severity.ERROR
    assert "there is no name below _domainkey" in finding.sentence
    assert report.alignment[1].passes is False


def test_a_null_mx_and_a_missing_domain_are_refused() -> None:
    null = good()
    null[("shop.example", "MX")] = ["0 ."]
    with Zones(null) as server:
        report = assess_domain(server)
        assert report.status is DomainStatus.REFUSED
        assert "accepts no email" in report.reasons[0]
        gone = assess_domain(server, "not-there.example")
    assert gone.status is DomainStatus.REFUSED
    assert "does not exist" in gone.reasons[0]


def without(zone: dict, *kinds: str) -> dict:
    """Return a zone without the records of these types at its domain."""
    return {
        key: value for key, value in zone.items() if key not in [("shop.example", kind) for kind in kinds]
    }


def test_without_mx_the_address_is_the_fallback() -> None:
    spf = "v=spf1 include:_spf.google.com ~all"
    with Zones(without(good(spf=spf), "MX")) as server:
        finding = finding_for(assess_domain(server, provider="gmail"), "mx")
    assert finding.severity is Severity.WARNING
    assert "web address" in finding.sentence


@pytest.mark.parametrize("kinds", [("MX",), ("MX", "A")])
def test_no_mx_is_needed_where_the_provider_takes_the_bounces(kinds: tuple[str, ...]) -> None:
    with Zones(without(good(), *kinds)) as server:
        report = assess_domain(server)
    finding = finding_for(report, "mx")
    assert finding.severity is Severity.INFO
    assert (
        "does not need one to send. Mailgun reports the emails that receivers refuse at once."
        in finding.sentence
    )
    assert "reject_unknown_sender_domain" in " ".join(finding.notes) or "A" not in kinds
    assert report.status is DomainStatus.ARRIVES, report.reasons


def test_without_mx_and_address_bounces_to_a_mailbox_provider_are_lost() -> None:
    spf = "v=spf1 include:_spf.google.com ~all"
    with Zones(without(good(spf=spf), "MX", "A")) as server:
        report = assess_domain(server, provider="gmail")
    assert finding_for(report, "mx").severity is Severity.WARNING
    assert "bounces and replies are lost" in finding_for(report, "mx").sentence
    assert report.status is DomainStatus.AT_RISK


@pytest.mark.parametrize("selector", ["k1", "k2", "pic", "mx", "krs", "mailo", "pdk2"])
def test_the_selectors_that_mailgun_gives_are_looked_up(selector: str) -> None:
    zone = good(dkim="") | {(f"{selector}._domainkey.shop.example", "TXT"): [text(DKIM)]}
    with Zones(zone) as server:
        report = assess_domain(server)
    assert report.status is DomainStatus.ARRIVES, report.reasons
    assert finding_for(report, "dkim").sentence == f"A key is published under {selector}."
    assert [key["selector"] for key in report.details["keys"] if key["state"] != "missing"] == [selector]


def test_a_further_selector_whose_key_another_provider_holds_does_not_count() -> None:
    zone = good(dkim="") | {("k1._domainkey.shop.example", "CNAME"): ["dkim.news.example."]}
    zone[("dkim.news.example", "TXT")] = [text(DKIM)]
    with Zones(zone) as server:
        assert finding_for(assess_domain(server), "dkim").severity is Severity.UNKNOWN


@pytest.mark.parametrize("provider", ["mailgun", "gmail", "sendgrid"])
def test_an_unknown_selector_is_asked_for_and_not_called_wrong(provider: str) -> None:
    zone = good(dkim="") | {("unheard-of._domainkey.shop.example", "TXT"): [text(DKIM)]}
    with Zones(zone) as server:
        report = assess_domain(server, provider=provider)
    finding = finding_for(report, "dkim")
    assert finding.severity is Severity.UNKNOWN
    assert "Enter the selector" in finding.sentence
    assert "paste the headers" in finding.sentence
    assert not finding.recommended
    assert report.alignment[1].passes is None
    assert report.status is DomainStatus.AT_RISK


def test_an_unanswered_query_is_not_taken_for_a_missing_key() -> None:
    with Zones(good(dkim=""), {"_domainkey.shop.example": MUTE}) as server:
        assert finding_for(assess_domain(server), "dkim").severity is Severity.UNKNOWN


def test_without_any_key_the_records_to_publish_are_shown() -> None:
    with Zones(good(dkim="")) as server:
        finding = finding_for(assess_domain(server), "dkim")
    assert finding.severity is Severity.ERROR
    assert "No DKIM key is published for shop.example" in finding.sentence
    assert len(finding.recommended) == 2


@pytest.mark.parametrize("provider", ["mailgun", "gmail", "postmark", "brevo", "ses", "other"])
@pytest.mark.parametrize("zone", [good(), without(good(dkim="", dmarc="", spf="v=spf1 -all"), "MX", "A"), {}])
def test_each_finding_names_its_source(provider: str, zone: dict) -> None:
    with Zones(zone) as server:
        report = assess_domain(server, provider=provider)
    assert [one.subject for one in report.findings if not one.source] == []
    assert all(one["says"] for one in report.as_dict()["findings"])


def test_the_documentation_of_the_provider_and_the_rules_of_receivers_are_named() -> None:
    with Zones(good(dkim="", dmarc="")) as server:
        report = assess_domain(server)
    assert finding_for(report, "dkim").source == "RFC 6376 and RFC 8301, and the documentation of Mailgun"
    assert "Google, Yahoo and Microsoft" in finding_for(report, "dmarc").source


def test_a_provider_with_its_own_envelope_sender_needs_no_spf_entry() -> None:
    zone = good(spf="v=spf1 -all", dkim="")
    zone[("brevo1._domainkey.shop.example", "CNAME")] = ["b1.shop-example.dkim.brevo.com."]
    zone[("b1.shop-example.dkim.brevo.com", "TXT")] = [text(DKIM)]
    with Zones(zone) as server:
        report = assess_domain(server, provider="brevo")
    assert report.status is DomainStatus.ARRIVES, report.reasons
    assert [one.vouches for one in report.alignment] == [False, True]
    assert finding_for(report, "spf").severity is Severity.INFO


def test_postmarks_return_path_is_shown_as_a_record_to_paste() -> None:
    zone = good(dkim="")
    zone[("20260101pm._domainkey.shop.example", "TXT")] = [text(DKIM)]
    with Zones(zone) as server:
        report = assess_domain(server, "shop.example", "postmark", "20260101pm")
        (recommended,) = finding_for(report, "return-path").recommended
        assert (recommended.name, recommended.kind, recommended.value) == (
            "pm-bounces.shop.example",
            "CNAME",
            "pm.mtasv.net",
        )
        assert report.status is DomainStatus.ARRIVES  # DKIM alone is sufficient
        server.put("pm-bounces.shop.example", "CNAME", "pm.mtasv.net.")
        server.put("pm.mtasv.net", "TXT", "v=spf1 ip4:50.31.156.0/24 -all")
        assert [
            one.vouches for one in assess_domain(server, "shop.example", "postmark", "20260101pm").alignment
        ] == [
            True,
            True,
        ]


def test_strict_alignment_excludes_a_subdomain() -> None:
    zone = good(dkim="", dmarc="v=DMARC1; p=reject; aspf=s")
    zone[("pm-bounces.shop.example", "CNAME")] = ["pm.mtasv.net."]
    zone[("k._domainkey.shop.example", "TXT")] = [text("v=DKIM1; p=")]
    with Zones(zone) as server:
        report = assess_domain(server, "shop.example", "postmark", "k")
    assert report.status is DomainStatus.REFUSED
    assert "your own DMARC policy" in report.reasons[0]


def test_the_addresses_of_an_unknown_server_are_no_proof() -> None:
    zone = good(spf="v=spf1 ip4:203.0.113.9 -all", dkim="")
    zone[("mail.host.example", "A")] = ["203.0.113.9"]
    with Zones(zone) as server:
        finding = finding_for(assess_domain(server, provider="other", host="mail.host.example"), "spf")
    assert finding.severity is Severity.INFO
    assert "not a proof" in finding.sentence
    assert not finding.recommended


def test_a_mailbox_provider_s_domain_is_refused_with_any_other_provider() -> None:
    with Zones({}) as server:
        assert assess_domain(server, "gmail.com", "mailgun").status is DomainStatus.REFUSED
        assert assess_domain(server, "gmail.com", "gmail").status is DomainStatus.ARRIVES
        assert server.queries == []


def test_a_silent_name_server_does_not_count_as_a_missing_record() -> None:
    with Zones(good(), {"shop.example TXT": MUTE}) as server:
        report = assess_domain(server)
    assert report.status is DomainStatus.UNKNOWN
    finding = finding_for(report, "spf")
    assert finding.severity is Severity.UNKNOWN
    assert "No name server answered" in finding.sentence
    assert "no SPF record" not in finding.sentence


@pytest.mark.parametrize("fault", [BROKEN, GARBAGE, WRONG_QUESTION])
def test_invalid_answers_do_not_count_as_missing_records(fault: str) -> None:
    with Zones(good(), {"_dmarc.shop.example": fault}) as server:
        report = assess_domain(server)
    assert report.status is DomainStatus.UNKNOWN
    assert "No DMARC policy" not in finding_for(report, "dmarc").sentence


def test_a_server_error_names_the_responsible_name_servers() -> None:
    with Zones(good(), {"shop.example MX": BROKEN}) as server:
        finding = finding_for(assess_domain(server), "mx")
    assert "return an error" in finding.sentence
    assert "name servers of shop.example" in finding.action


def test_an_assessment_ends_at_the_total_timeout() -> None:
    with Zones({}, {"slow.example": MUTE}) as server:
        server.faults = _FaultForEveryName()
        report = assess_domain(server, "slow.example", total_timeout_s=3.0)
    assert report.status is DomainStatus.UNKNOWN


def test_after_the_total_timeout_no_query_is_sent() -> None:
    with Zones(good()) as server:
        report = assess_domain(server, total_timeout_s=0.0)
        assert server.queries == []
    assert report.status is DomainStatus.UNKNOWN


class _FaultForEveryName(dict[str, str]):
    def get(self, key: object, default: object = None) -> str:  # type: ignore[override]
        return MUTE


def test_a_very_long_record_is_received_over_tcp_and_shortened_for_the_page() -> None:
    record = (
        "v=spf1 "
        + " ".join(f"ip4:198.51.{n // 250}.{n % 250}" for n in range(900))
        + " include:mailgun.org -all"
    )
    with Zones(good(spf=record)) as server:
        report = assess_domain(server)
    assert finding_for(report, "spf").severity is not Severity.UNKNOWN
    assert len(str(report.as_dict())) < 40_000


def test_the_number_of_queries_for_one_record_is_limited() -> None:
    zone = good(spf="v=spf1 include:w0.shop.example -all")
    for n in range(200):
        more = " ".join(f"include:w{n * 3 + k}.shop.example" for k in (1, 2, 3))
        zone[(f"w{n}.shop.example", "TXT")] = [text(f"v=spf1 {more} -all")]
    with Zones(zone) as server:
        report = assess_domain(server)
        assert len(server.queries) < 200
    assert finding_for(report, "spf").severity is Severity.ERROR


def test_names_of_private_networks_are_never_queried() -> None:
    spf = "v=spf1 a:db.internal mx:printer.local include:vault.corp exists:admin.lan include:mailgun.org -all"
    with Zones(good(spf=spf)) as server:
        assess_domain(server)
        asked = {name for name, _ in server.queries}
    assert not [name for name in asked if name.endswith((".internal", ".local", ".corp", ".lan"))]


def test_the_owner_s_own_names_are_not_cached() -> None:
    with Zones(good()) as server:
        assess_domain(server)
        server.queries.clear()
        assess_domain(server)
        asked = {name for name, _ in server.queries}
    assert "shop.example" in asked
    assert "mailgun.org" not in asked
