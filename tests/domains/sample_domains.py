"""Records of sample domains, and the assessment of a domain on a test name server."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from portal.domains.assessment import Target, assess
from portal.domains.findings import DomainReport, Finding
from portal.domains.resolver import Resolver
from portal.smtp.providers import load_catalogue
from tests.domains.zones import Zones, text


def rsa(bits: int = 2048) -> str:
    """Return a public key in the encoding of the p= tag."""
    key = generate_private_key(65537, bits).public_key()
    return base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


KEY = rsa()
DKIM = f"v=DKIM1; k=rsa; p={KEY}"
DMARC = "v=DMARC1; p=none"
PROVIDERS = {
    ("mailgun.org", "TXT"): [text("v=spf1 include:_spf1.mailgun.org include:_spf2.mailgun.org ~all")],
    ("_spf1.mailgun.org", "TXT"): [text("v=spf1 ip4:209.61.151.0/24 ip4:166.78.68.0/22 ~all")],
    ("_spf2.mailgun.org", "TXT"): [text("v=spf1 ip4:161.38.192.0/20 ~all")],
    ("_spf.google.com", "TXT"): [text("v=spf1 ip4:74.125.0.0/16 ip6:2607:f8b0:4000::/36 ~all")],
    ("amazonses.com", "TXT"): [text("v=spf1 ip4:199.255.192.0/22 -all")],
}


def domain(name: str, *, spf: str = "", dkim: str = "", dmarc: str = DMARC, mx: bool = True) -> dict:
    """Return the records of a domain, without those whose value is empty."""
    zone = {(name, "A"): ["198.51.100.7"]}
    if mx:
        zone |= {(name, "MX"): [f"10 mx.{name}."], (f"mx.{name}", "A"): ["198.51.100.8"]}
    if spf:
        zone[(name, "TXT")] = [text("some-verification=1"), text(spf)]
    if dkim:
        zone[(f"pdk1._domainkey.{name}", "TXT")] = [text(dkim)]
    if dmarc:
        zone[(f"_dmarc.{name}", "TXT")] = [text(dmarc)]
    return zone


GOOD_SPF = "v=spf1 include:mailgun.org ~all"


def good(name: str = "shop.example", **changes: str) -> dict:
    return PROVIDERS | domain(name, **{"spf": GOOD_SPF, "dkim": DKIM, **changes})


def assess_domain(
    server: Zones,
    name: str = "shop.example",
    provider: str = "mailgun",
    *selectors: str,
    host: str = "",
    **limits: float,
) -> DomainReport:
    """Assess a domain as the worker does. The timeouts are short only if the name server simulates faults."""
    short = {"timeout_s": 3.0, "total_timeout_s": 120.0}
    timeouts = short if server.faults else {"timeout_s": 60.0, "total_timeout_s": 600.0}
    card = load_catalogue().get(provider)
    assert card
    resolver = Resolver((server.at,), **{**timeouts, "uncached_domain": name, **limits})  # type: ignore[arg-type]
    return assess(Target(name, card, host, tuple(selectors)), resolver)


def finding_for(report: DomainReport, subject: str) -> Finding:
    return next(one for one in report.findings if one.subject == subject)
