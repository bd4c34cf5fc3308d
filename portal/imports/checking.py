"""Checks each line of an import: what it means, and what is wrong with it. Only reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from sqlalchemy import select

from ..affiliates import address_questions, erased, names, same_mailbox
from ..affiliates.models import Affiliate, FormerCode, Suppression, SuppressionReason, gmail_name
from ..db import db
from ..shop_links import CODE
from ..smtp.protocol.reply import plain_text
from . import cells
from .columns import Choices, ColumnField
from .reading import MAX_LINES, FileRefused, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

_AT_ONCE = 400  # values of one query


@dataclass
class Line:
    """One line of the file. It is valid if ``problems`` is empty. ``consented_at`` None: a confirmation is asked for."""

    number: int
    cells: list[str]
    mailbox: str = ""
    name: str = ""
    code: str = ""
    consented_at: datetime | None = None
    consent_source: str = ""
    unsubscribed: bool = False
    suppressed: bool = False  # it is added, and gets no email
    problems: list[str] = field(default_factory=list)
    doubt: str = ""  # of a valid line: why the address is probably mistyped, or whose mailbox it is as well

    @property
    def key(self) -> str:
        """The mailbox in the form for look-ups."""
        return self.mailbox.casefold()


def read_lines(rows: Sequence[Row], choices: Choices, now: datetime) -> list[Line]:
    """Return every line with the problems that the file alone shows. Raises FileRefused."""
    lines = [_read(row, choices, now) for row in rows_below_headings(rows, choices)]
    _mark_repeated(lines)
    return lines


def rows_below_headings(rows: Sequence[Row], choices: Choices) -> Sequence[Row]:
    """Return the rows that hold a person each. Raises FileRefused for too many."""
    found = rows[1 if choices.has_headings else 0 :]
    if len(found) > MAX_LINES:
        raise FileRefused(_("The file has more than 10,000 lines. Split it."))
    return found


def mark_known(account_id: int, lines: Sequence[Line]) -> None:
    """Add the problems that show only beside what is stored: affiliates, codes, suppressed addresses."""
    for start in range(0, len(lines), _AT_ONCE):
        _mark_known(account_id, lines[start : start + _AT_ONCE])


def mark_doubtful(account_id: int, lines: Sequence[Line]) -> None:
    """Add what an owner should look at: a probable typing error, and a Gmail mailbox that several people seem to have."""
    by_name: dict[str, Line] = {}
    for line in lines:
        question = address_questions.question_about(line.mailbox)
        if question is not None and question.suggestion:
            line.doubt = _("Did you mean %(address)s?", address=question.suggestion)
        name = gmail_name(line.key)
        first = by_name.setdefault(name, line) if name else line
        if first is not line:
            line.doubt = _("The same Gmail mailbox is in line %(number)s.", number=first.number)
    for name in sorted(same_mailbox.known_names(account_id, by_name)):
        by_name[name].doubt = by_name[name].doubt or _(
            "An affiliate on your list has the same Gmail mailbox."
        )


def _read(row: Row, choices: Choices, now: datetime) -> Line:
    line = Line(row.number, row.cells)
    values = {one: cells.untamed(text) for one, text in _values(row, choices)}
    for text in values.values():
        if cells.is_error(text):
            line.problems.append(_("A cell contains a spreadsheet error: %(text)s", text=text))
        elif cells.is_formula(text):
            line.problems.append(_("A cell contains a formula instead of its value."))
        elif cells.is_several_lines(text):
            line.problems.append(_("A cell contains a line break or an invisible character."))
    if not line.problems:
        _read_mailbox(line, values.get(ColumnField.MAILBOX, ""))
        _read_name(line, values)
        _read_code(line, values.get(ColumnField.CODE, ""))
        _read_consent(line, values, choices, now)
    return line


def _values(row: Row, choices: Choices) -> Iterator[tuple[ColumnField, str]]:
    for one in ColumnField:
        index = choices.column(one)
        if index is not None:
            yield one, row.cells[index] if index < len(row.cells) else ""


def _read_mailbox(line: Line, text: str) -> None:
    found = cells.read_mailbox(text)
    line.mailbox = found or ""
    if not text:
        line.problems.append(_("The email address is missing."))
    elif found is None and cells.has_accents_before_at(text):
        line.problems.append(
            _("Use an email address without accents and without letters other than a–z before the @.")
        )
    elif found is None:
        line.problems.append(_("This is not an email address: %(text)s", text=text[:60]))


def _read_name(line: Line, values: dict[ColumnField, str]) -> None:
    """Read the name, or first and last name; a person without one is called by the part before the @."""
    first, last = values.get(ColumnField.FIRST_NAME, ""), values.get(ColumnField.LAST_NAME, "")
    is_whole = bool(first) and last.casefold().startswith(f"{first} ".casefold())  # a column "Name" with both
    parts = (last,) if is_whole else (first, last)
    text = values.get(ColumnField.NAME, "") or " ".join(filter(None, parts)) or _local_part(line.mailbox)
    line.name = names.normalize_name(text) or ""
    if len(line.name) > names.LIMIT_CHARS:
        line.problems.append(_("The name has more than 60 characters."))
    elif line.name and (why := names.why_refused(line.name)):
        line.problems.append(_("The name %(name)s: %(why)s", name=line.name, why=why))


def _local_part(mailbox: str) -> str:
    """Return the part before the @ as words: ``grace.hopper`` would be refused as a link."""
    return " ".join(mailbox.partition("@")[0].replace(".", " ").replace("_", " ").split())


def _read_code(line: Line, text: str) -> None:
    line.code = text
    if text and cells.is_rounded_number(text):
        line.problems.append(_("The spreadsheet has rounded the code. Format the column as text."))
    elif text and not CODE.fullmatch(text):
        line.problems.append(_("A code has up to 32 letters, digits, - and _: %(text)s", text=text[:60]))


def _read_consent(line: Line, values: dict[ColumnField, str], choices: Choices, now: datetime) -> None:
    text = values.get(ColumnField.CONSENTED_AT, choices.consented_on)
    source = plain_text(values.get(ColumnField.CONSENT_SOURCE, ""), 200)
    line.consent_source = source or choices.consent_source[:200]
    if text:
        line.consented_at = cells.read_date(text, now, month_first=choices.month_first)
        if line.consented_at is None:
            line.problems.append(_("The date of the consent cannot be read: %(text)s", text=text[:40]))
        elif not line.consent_source:
            line.problems.append(_("The source of the consent is missing."))
    answer = cells.read_yes_no(values.get(ColumnField.UNSUBSCRIBED, ""))
    line.unsubscribed = bool(answer)
    if answer is None:
        line.problems.append(_("The column “Unsubscribed” must be yes or no."))


def _mark_repeated(lines: Sequence[Line]) -> None:
    """Mark lines whose address or code is in an earlier line."""
    mailboxes: dict[str, int] = {}
    codes: dict[str, int] = {}
    for line in lines:
        if line.mailbox and mailboxes.setdefault(line.key, line.number) != line.number:
            number = mailboxes[line.key]
            line.problems.append(_("The same address is in line %(number)s.", number=number))
        elif line.code and codes.setdefault(line.code.upper(), line.number) != line.number:
            number = codes[line.code.upper()]
            line.problems.append(_("The same code is in line %(number)s.", number=number))


def _mark_known(account_id: int, lines: Sequence[Line]) -> None:
    keys = {line.key for line in lines if line.mailbox}
    hashes = {erased.hash_of(account_id, line.key) or "-": line.key for line in lines if line.mailbox}
    row = Affiliate
    known = set(
        db.session.scalars(
            select(row.mailbox_key).where(row.account_id == account_id, row.mailbox_key.in_(keys))
        )
    )
    spellings = {one for line in lines if line.code for one in (line.code, line.code.upper())}
    codes = set(db.session.scalars(select(row.code).where(row.code.in_(spellings))))
    codes |= set(db.session.scalars(select(FormerCode.code).where(FormerCode.code.in_(spellings))))
    list_ = select(Suppression.mailbox_key, Suppression.reason).where(
        Suppression.account_id == account_id, Suppression.mailbox_key.in_([*keys, *hashes])
    )
    reasons = {hashes.get(key, key): reason for key, reason in db.session.execute(list_)}
    for line in lines:
        reason = reasons.get(line.key) if line.mailbox else None
        if line.mailbox and line.key in known:
            line.problems.append(_("This address is already on your list."))
        elif line.code and codes & {line.code, line.code.upper()}:
            line.problems.append(_("The code is taken: %(code)s", code=line.code))
        if reason is SuppressionReason.ERASED:
            line.problems.append(_("This person was erased and gets no emails."))
        elif reason is not None or line.unsubscribed:
            line.suppressed = True
            if line.consented_at is None:
                line.problems.append(_why_not_asked(reason))


def _why_not_asked(reason: SuppressionReason | None) -> str:
    if reason is None:
        return str(_("This person unsubscribed, so we cannot ask them to confirm."))
    return str(_("This address is on your list of blocked addresses, so we cannot ask it to confirm."))
