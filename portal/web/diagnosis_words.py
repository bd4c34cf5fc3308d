"""Diagnoses in the language of a page.

A diagnosis is stored as English sentences that were filled from those of its case. The case is found by its code, the values
by comparing the stored sentence with the case's, and then they are put into the translated sentence. A sentence that an earlier
release worded otherwise is replaced by the present one of the case, if that needs no value but the server's name.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from flask_babel import get_locale, gettext

from ..smtp.diagnosis.cases import load_cases
from ..smtp.providers import load_catalogue
from .stored_sentences import fill, own_length, placeholders_of, translate, values_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..smtp.diagnosis.cases import Case

_HOST = re.compile(r"(?<![\w@.-])(?:[a-z0-9-]+\.)+[a-z]{2,}(?![\w@-])")


def cause_and_fixes(diagnosis: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return the cause and the fixes of a stored diagnosis. What no case explains is looked up as it is."""
    cause, fixes = str(diagnosis["cause"]), [str(fix) for fix in diagnosis.get("fixes", ())]
    locale = get_locale()
    if locale is None or locale.language == "en":
        return cause, fixes
    case = _cases().get(str(diagnosis.get("code")))
    # The most words of its own first: a fix that is a value alone, such as the steps to a password, fits any sentence.
    known = sorted((case.cause, *case.fixes), key=own_length, reverse=True) if case else ()
    shown, shown_fixes = _translated(cause, known), [_translated(fix, known) for fix in fixes]
    if case is None:
        return shown, shown_fixes
    host = next(iter(_HOST.findall(cause)), "")
    if shown == cause:
        shown = _present_wording(case.cause, host) or cause
    if len(case.fixes) == len(fixes):
        shown_fixes = [
            (_present_wording(now, host) or stored) if fix == stored else fix
            for stored, fix, now in zip(fixes, shown_fixes, case.fixes, strict=True)
        ]
    return shown, shown_fixes


def _present_wording(template: str, host: str) -> str:
    """Return a sentence of a case with the name of the server, empty if it needs other values."""
    values = {"host": host} if host else {}
    return _fill(gettext(template), values) if placeholders_of(template) <= values.keys() else ""


def _translated(sentence: str, templates: Iterable[str]) -> str:
    for template in templates:
        values = values_of(template, sentence)
        if values is not None:
            return _fill(gettext(template), values)
    return translate(sentence)


def _fill(template: str, values: Mapping[str, str]) -> str:
    filled = fill(template, {name: _value(values, name) for name in values})
    return filled[:1].upper() + filled[1:]


def _value(values: Mapping[str, str], name: str) -> str:
    value = values.get(name, "")
    steps = _steps().get(value)
    if steps:
        return " ".join(gettext(step) for step in steps)
    return translate(value)


@cache
def _cases() -> dict[str, Case]:
    own = (case for provider in load_catalogue().providers for case in provider.cases)
    return {case.code: case for case in (*load_cases(), *own)}


@cache
def _steps() -> dict[str, tuple[str, ...]]:
    """Return the steps to a password by the sentence that they make together."""
    return {" ".join(one.password.steps): one.password.steps for one in load_catalogue().providers}
