"""The catalogue of automated emails, read from one folder each: ``templates/mail/<kind>/notice.toml`` beside its texts.

The file declares the audience of the notice, the events that cause it and its variables. Variables of several notices
and the sentences of the footer are in ``templates/mail/shared.toml``. Their translations are in
``shared.<language>.toml`` and in a folder of that name beside each text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from flask_babel import gettext

from ..languages import ENGLISH, LANGUAGES, language_of, shipped_language
from ..smtp.toml_tables import read_toml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..smtp.toml_tables import TomlTable

FOLDER = Path(__file__).resolve().parents[2] / "templates" / "mail"
_COMMON = "common"  # the group of variables that every notice begins with


class Audience(StrEnum):
    """The recipients of a notice."""

    AFFILIATE = "affiliate"
    OWNER = "owner"


class Category(StrEnum):
    """The kind of mail in the sense of anti-spam law and mailbox providers.

    Recipients can unsubscribe from all but transactional mail.
    """

    TRANSACTIONAL = "transactional"
    SUMMARY = "summary"
    PROMOTIONAL = "promotional"


class VariableType(StrEnum):
    """The format of a variable's value. All values are strings; amounts and numbers are written for programs, as 1234.50."""

    TEXT = "text"
    LINK = "link"
    AMOUNT = "amount"
    NUMBER = "number"
    DATE = "date"  # as 2026-11-16
    LINES = "lines"


@dataclass(frozen=True)
class Variable:
    """A value that a text can use. If ``optional``, the value can be empty or missing."""

    name: str
    description: str
    sample: str
    type: VariableType = VariableType.TEXT
    optional: bool = False


@dataclass(frozen=True)
class Notice:
    """A kind of automated email. ``locked``: it can be neither edited nor switched off. ``always_on``: not switched off."""

    kind: str
    name: str
    audience: Audience
    event_types: tuple[str, ...]  # values of ``events.types.EventType`` that cause it
    category: Category
    when: str  # one sentence for the owner
    reason: str  # key of the sentence in the footer, see ``Wording``
    variables: tuple[Variable, ...]
    locked: bool = False
    always_on: bool = False

    @cached_property
    def variable_names(self) -> frozenset[str]:
        """The names of the variables."""
        return frozenset(variable.name for variable in self.variables)

    @cached_property
    def link_names(self) -> frozenset[str]:
        """The names of the variables that hold a whole address."""
        return frozenset(one.name for one in self.variables if one.type is VariableType.LINK)

    @property
    def can_be_unsubscribed(self) -> bool:
        """Whether recipients can unsubscribe from this notice."""
        return self.category is not Category.TRANSACTIONAL

    @property
    def addressee(self) -> str:
        """The recipient in words for the owner. Distinguishes two notices of the same name."""
        return gettext("you") if self.audience is Audience.OWNER else gettext("the affiliate")

    @property
    def is_about_one_affiliate(self) -> bool:
        """Whether the values of this notice describe one affiliate."""
        return any(variable.name in ("first_name", "affiliate_name") for variable in self.variables)

    @property
    def full_name(self) -> str:
        """The name, with the audience added for notices to owners, since affiliates can have one of the same name."""
        return (
            gettext("%(name)s (to you)", name=gettext(self.name))
            if self.audience is Audience.OWNER
            else gettext(self.name)
        )


@dataclass(frozen=True)
class Wording:
    """Sentences of emails in one language besides their texts.

    ``reasons``: the sentence of the footer that gives the reason for the email; {programme} is replaced. ``names`` of
    notices, and ``samples`` of variables: those that differ from the English ones.
    """

    reasons: Mapping[str, str]
    preferences: str
    unsubscribe: str
    names: Mapping[str, str]
    samples: Mapping[str, str]


def read_wording(language: str, folder: Path = FOLDER) -> Wording:
    """Return the wording of a complete language. Raises MalformedData."""
    is_english = language == ENGLISH.code
    table = read_toml(folder / ("shared.toml" if is_english else f"shared.{language}.toml"))
    reasons, footer = table.table("reasons", required=True), table.table("footer", required=True)
    names, samples = table.table("names"), table.table("samples")
    return Wording(
        reasons={key: reasons.text(key) for key in reasons},
        preferences=footer.text("preferences"),
        unsubscribe=footer.text("unsubscribe"),
        names={key: names.text(key) for key in names},
        samples={key: samples.text(key) for key in samples},
    )


def read_catalogue(folder: Path = FOLDER) -> dict[str, Notice]:
    """Return the notices of a folder by kind, in the order of their positions.

    Raises:
        MalformedData: a file is malformed; the message names the file and the field.
    """
    shared = _Shared(read_toml(folder / "shared.toml"))
    by_position: dict[int, Notice] = {}
    for path in sorted(one / "notice.toml" for one in folder.iterdir() if one.is_dir()):
        table = read_toml(path, name=f"{path.parent.name}/{path.name}")
        position = table.number("position")
        if position in by_position:
            raise table.error("position", f"is that of {by_position[position].kind}, too")
        by_position[position] = _read_notice(path.parent.name, table, shared)
    return {notice.kind: notice for _, notice in sorted(by_position.items())}


class _Shared:
    """The reasons and groups of variables from ``shared.toml``."""

    def __init__(self, table: TomlTable) -> None:
        reasons, groups = table.table("reasons", required=True), table.table("variables", required=True)
        self.reasons = tuple(reasons)
        for key in ("footer", "names", "samples"):
            table.table(key)  # see ``read_wording``
        self.groups = {key: _read_variables(groups.table(key)) for key in groups}
        if _COMMON not in self.groups:
            raise groups.error(_COMMON, "is missing")
        table.reject_unknown_keys()

    def find(self, reference: str) -> Iterator[Variable]:
        """Return the variables of ``group.name`` or ``group.*``; an unknown reference has none."""
        group, _, name = reference.partition(".")
        variables = self.groups.get(group, {})
        return (one for one in variables.values() if name in ("*", one.name))


def _read_notice(kind: str, table: TomlTable, shared: _Shared) -> Notice:
    notice = Notice(
        kind=kind,
        name=table.text("name"),
        audience=table.choice("audience", Audience),
        event_types=table.texts("events"),
        category=table.choice("category", Category),
        when=table.text("when"),
        reason=_read_reason(table, shared),
        variables=tuple(_resolve_variables(table, shared)),
        locked=table.flag("locked"),
        always_on=table.flag("always_on") or table.flag("locked"),
    )
    table.reject_unknown_keys()
    return notice


def _read_reason(table: TomlTable, shared: _Shared) -> str:
    """Return the key of a shared sentence."""
    key = table.text("reason")
    if key not in shared.reasons:
        raise table.error("reason", f"{key!r} is none of {', '.join(shared.reasons)}")
    return key


def _resolve_variables(table: TomlTable, shared: _Shared) -> Iterator[Variable]:
    """Yield the listed variables in order. A bare name refers to a variable declared in the notice's own file."""
    own = _read_variables(table.table("variable"))
    unused, seen = set(own), set()
    for reference in (f"{_COMMON}.*", *table.texts("variables")):
        found = [own[reference]] if reference in own else list(shared.find(reference))
        if not found:
            raise table.error("variables", f"{reference!r} is not known")
        for variable in found:
            if variable.name in seen:
                raise table.error("variables", f"{variable.name!r} is listed twice")
            seen.add(variable.name)
            yield variable
        unused.discard(reference)
    if unused:
        raise table.error("variables", f"{min(unused)!r} is declared but not listed")


def _read_variables(table: TomlTable) -> dict[str, Variable]:
    return {name: _read_variable(name, table.table(name)) for name in table}


def _read_variable(name: str, table: TomlTable) -> Variable:
    variable = Variable(
        name=name,
        description=table.text("description"),
        sample=table.text("sample"),
        type=table.choice("type", VariableType) if "type" in table else VariableType.TEXT,
        optional=table.flag("optional"),
    )
    table.reject_unknown_keys()
    return variable


CATALOGUE: Mapping[str, Notice] = read_catalogue()
_WORDINGS = {code: read_wording(code) for code, language in LANGUAGES.items() if language.is_complete}
NEW_SIGN_UP = CATALOGUE["new-sign-up"]
CONFIRM_SIGN_UP = CATALOGUE["confirm-sign-up"]


def notices_for(event_type: str) -> tuple[Notice, ...]:
    """Return the notices that an event of this type causes."""
    return tuple(notice for notice in CATALOGUE.values() if event_type in notice.event_types)


def wording_of(language: str | None) -> Wording:
    """Return the wording in a language, the English one if the language is not complete."""
    return _WORDINGS[shipped_language(language).code]


def name_for_affiliates(notice: Notice, language: str | None) -> str:
    """Return the name of a notice as the affiliates of a programme in this language see it."""
    return wording_of(language).names.get(notice.kind, notice.name)


def sample_of(variable: Variable, language: str | None) -> str:
    """Return the sample of a variable in a language."""
    if not language_of(language).is_complete:
        return variable.sample
    return wording_of(language).samples.get(variable.name, variable.sample)
