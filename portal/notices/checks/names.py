"""The variable that corresponds to a name of another product, such as ``FNAME`` or ``contact.firstname``."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..catalogue import Notice

_SIMILARITY = 0.5  # the least that difflib must find between a name and a variable to suggest it
_WORD = re.compile(r"[a-z0-9]+")
_PREFIXES = {
    "contact", "customer", "data", "member", "merge", "params", "people", "person", "profile", "recipient",
    "subscriber", "subtag", "user", "var", "affiliate", "partner", "system", "v", "your", "insert", "enter", "model", "the",
}  # fmt: skip
# The variables that a meaning can have, the first that the notice has counts; and the names for it, without separators.
_MEANINGS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("first_name", "affiliate_name", "owner_name"),
        "firstname fname first name givenname forename namefirst displayfirstname firstnamefix vorname prenom nombre",
    ),
    (("last_name",), "lastname lname last surname familyname namelast nachname"),
    (
        ("name", "affiliate_name", "owner_name"),
        "fullname displayname affiliatename username userfullname partnername namefull",
    ),
    (("email", "affiliate_email"), "email emailaddress mail emailaddr mailaddress useremail affiliateemail"),
    (
        ("link",),
        "link url referralurl referrallink referurl refurl reflink affiliateurl affiliatelink trackingurl "
        "trackinglink partnerlink partnerurl sharelink shareurl viralurl",
    ),
    (
        ("code",),
        "code affiliatecode referralcode refcode refid affiliateid couponcode coupon discountcode referralid",
    ),
    (
        ("dashboard",),
        "dashboard dashboardurl dashboardlink affiliatedashboard affiliatedashboardurl affiliatedashboardlink "
        "loginurl affiliatearea affiliateareaurl accounturl panelurl portalurl",
    ),
    (
        ("programme",),
        "programme program company companyname listcompany listname sitename site siteurl store storename shop "
        "shopname brand brandname programname programmename merchant merchantname business businessname",
    ),
    (
        ("commission",),
        "commission commissionamount referralamount earnings earning reward rewardamount commissiontotal payout",
    ),
    (
        ("amount",),
        "amount total ordertotal saleamount price ordervalue purchaseamount salevalue payoutamount",
    ),
    (("currency",), "currency currencycode"),
    (
        ("order",),
        "order orderid ordernumber ordernr orderno ordername purchasecode transactionid invoice invoicenumber",
    ),
    (("product",), "product productname item itemname products productnames lineitems"),
    (("lead_name",), "leadname leadfirstname leadfullname"),
    (("lead_email",), "leademail leademailaddress"),
    (("reason",), "reason rejectionreason declinereason"),
    (("method",), "method payoutmethod paymentmethod"),
    (("reply_to",), "replyto replytoaddress"),
)
# Words of a sentence; the other names have no space where a sentence has one.
_ORDINARY = {
    "first", "name", "last", "forename", "surname", "email", "mail", "link", "url", "code", "coupon", "dashboard", "programme",
    "program", "company", "site", "store", "shop", "brand", "merchant", "business", "commission", "earnings", "earning", "reward",
    "payout", "amount", "total", "price", "currency", "order", "invoice", "product", "item", "products", "reason", "method",
    "vorname", "nachname", "prenom", "nombre", "username", "shopname",
}  # fmt: skip
_ALIASES: Mapping[str, tuple[str, ...]] = {
    alias: variables for variables, aliases in _MEANINGS for alias in aliases.split()
}


def variable_meant(name: str, notice: Notice) -> str:
    """Return the variable of the notice that corresponds to a name of another product, or an empty string."""
    return _meant(name, notice.variable_names)


@lru_cache(maxsize=1024)  # a text names the same few variables in each check
def _meant(name: str, known: frozenset[str]) -> str:
    words = _WORD.findall(name.lower())
    while words:
        underscored, joined = "_".join(words), "".join(words)
        candidates = (*((underscored,) if joined != "name" else ()), *_ALIASES.get(joined, ()))
        found = next((one for one in candidates if one in known), "")
        if found or words[0] not in _PREFIXES:
            return found
        words = words[1:]
    return ""


def is_compound(name: str) -> bool:
    """Return whether a name is written as no sentence writes words: ``first_name``, ``user.firstName``, ``FNAME``."""
    return "_" in name or "." in name.strip(".") or name.lower() in _ALIASES.keys() - _ORDINARY


def nearest_variable(name: str, notice: Notice) -> str:
    """Return the variable that a name stands for or is most similar to, or an empty string."""
    meant = variable_meant(name, notice)
    if meant:
        return meant
    variables = [variable.name for variable in notice.variables]
    simple = name.lower().replace("-", "_").replace(" ", "_")
    close = get_close_matches(simple, variables, n=1, cutoff=_SIMILARITY)
    if close:
        return close[0]
    return next((one for one in variables if one in simple or simple in one), "") if len(simple) > 2 else ""
