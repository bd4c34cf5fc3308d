"""What an owner chooses for an import: the column of each field, the consent, and the emails."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from flask_babel import lazy_gettext as _

from .cells import is_mailbox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .reading import Row


class ColumnField(StrEnum):
    """What a column may hold."""

    MAILBOX = "mailbox"
    NAME = "name"
    FIRST_NAME = "first_name"
    LAST_NAME = "last_name"
    CODE = "code"
    CONSENTED_AT = "consented_at"
    CONSENT_SOURCE = "consent_source"
    UNSUBSCRIBED = "unsubscribed"


FIELD_LABELS: Mapping[ColumnField, Any] = {
    ColumnField.MAILBOX: _("Email address"),
    ColumnField.NAME: _("Name"),
    ColumnField.FIRST_NAME: _("First name"),
    ColumnField.LAST_NAME: _("Last name"),
    ColumnField.CODE: _("Code of the link"),
    ColumnField.CONSENTED_AT: _("Date of the consent"),
    ColumnField.CONSENT_SOURCE: _("Source of the consent"),
    ColumnField.UNSUBSCRIBED: _("Unsubscribed (yes or no)"),
}
# Headings of other systems and languages, without spaces and signs.
_HEADINGS: Mapping[str, ColumnField] = {
    heading: field
    for field, headings in {
        ColumnField.MAILBOX: "email mail emailaddress mailaddress affiliateemail useremail paymentemail correo courriel"
        " emailadresse mailadresse adresseemail adressemail correoelectrónico",
        ColumnField.NAME: "name fullname affiliate affiliatename displayname nom nombre",
        ColumnField.FIRST_NAME: "firstname givenname first vorname prenom prénom",
        ColumnField.LAST_NAME: "lastname surname familyname last nachname familienname nomdefamille apellido apellidos cognome",
        ColumnField.CODE: "code affiliatecode referralcode coupon couponcode ref refcode slug username partnercode"
        " gutscheincode codepromo",
        ColumnField.CONSENTED_AT: "agreedtoemails consent consentdate consentat consentedat optin optindate optintime"
        " einwilligung einwilligungsdatum zustimmung consentement datedeconsentement consentimiento",
        ColumnField.CONSENT_SOURCE: "sourceoftheconsent consentsource optinsource",
        ColumnField.UNSUBSCRIBED: "unsubscribed optedout optout unsubscribe donotemail abgemeldet désinscrit desinscrit"
        " désabonné desabonne dadodebaja",
    }.items()
    for heading in headings.split()
}
HOURS = (1, 2, 4, 8, 12, 24, 48, 72)


@dataclass(frozen=True)
class Choices:
    """The owner's choices. ``columns`` has the index of a column for each field that has one."""

    columns: Mapping[str, int] = field(default_factory=dict)
    has_headings: bool = True
    month_first: bool = False  # 03/04/2026 is the 4th of March
    consented_on: str = ""  # of all lines, if no column holds the date; ISO 8601
    consent_source: str = ""
    welcome: bool = False
    hours: int = 8

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> Choices:
        """Return the choices that ``as_dict`` stored."""
        return cls(**stored)

    def as_dict(self) -> dict[str, Any]:
        """Return the choices as JSON."""
        return asdict(self)

    def column(self, one: ColumnField) -> int | None:
        """Return the index of the column of a field."""
        return self.columns.get(one.value)


def guess(rows: Sequence[Row]) -> Choices:
    """Return the choices that the headings suggest. Without headings, the column with addresses is found by its cells."""
    first = rows[0].cells
    has_headings = not any(is_mailbox(cell) for cell in first)
    found: dict[str, int] = {}
    if has_headings:
        for index, heading in enumerate(first):
            one = _HEADINGS.get("".join(c for c in heading.casefold() if c.isalnum()))
            if one is not None and one.value not in found:
                found[one.value] = index
        _split_names(found)
    sample = rows[1 if has_headings else 0 :][:50]
    if ColumnField.MAILBOX.value not in found and sample:
        width = max(len(row.cells) for row in sample)
        hits = [
            sum(index < len(r.cells) and is_mailbox(r.cells[index]) for r in sample) for index in range(width)
        ]
        if max(hits, default=0):
            found[ColumnField.MAILBOX.value] = hits.index(max(hits))
    return Choices(columns=found, has_headings=has_headings)


def _split_names(found: dict[str, int]) -> None:
    """Read a column "Name" beside first names as last names (Vorname;Name, Prénom;Nom), and beside last names as first ones."""
    parts = ColumnField.FIRST_NAME.value, ColumnField.LAST_NAME.value
    missing = [part for part in parts if part not in found]
    if len(missing) == 1 and ColumnField.NAME.value in found:
        found[missing[0]] = found.pop(ColumnField.NAME.value)
