"""Each visible word of a template is in the catalogue: a literal text or attribute would stay English in every language."""

from __future__ import annotations

import re
from pathlib import Path

TEMPLATES = Path(__file__).parents[2] / "templates"
_JINJA = re.compile(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", re.DOTALL)
# Elements whose text is the same in every language, or is no text of the page.
_CODE = re.compile(r"<(code|pre|style|script)\b.*?</\1>", re.DOTALL)
_ELEMENT = re.compile(r"<[^>]*>", re.DOTALL)
_READ_OUT = re.compile(r'\b(?:aria-label|title|alt|placeholder|data-label|data-announce)="([^"]*)"')
_WORD = re.compile(r"[A-Za-z]{3,}")
# Names, units and addresses, and the parts of <body> in blocks.
_SAME = re.compile(
    r"&\w+;|\b(?:Signet|API|HTML|TXT)\b|_domainkey|\b(?:POST|GET|PATCH|DELETE) /api/\S+|\bin-portal\b|\bin-public\b"
    r'|^\s*public\s*$|data-shortcuts=" "'
)


def _literals(source: str) -> list[str]:
    """Return what is left of a template without expressions, elements and names, where it has words."""
    plain = _JINJA.sub(" ", source)
    texts = [*_READ_OUT.findall(plain), *_ELEMENT.sub("\n", _CODE.sub(" ", plain)).splitlines()]
    return [text.strip() for text in texts if _WORD.search(_SAME.sub(" ", text))]


def test_templates_have_no_words_outside_of_the_catalogue():
    found = {
        path.relative_to(TEMPLATES).as_posix(): literals
        for path in sorted(TEMPLATES.rglob("*.html"))
        if "mail" not in path.relative_to(TEMPLATES).parts
        and (literals := _literals(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_a_literal_text_and_a_literal_attribute_are_found():
    assert _literals('<p aria-label="An example">{{ _("Yes") }}</p>') == ["An example"]
    assert _literals("<button>Copy<span> {{ label }}</span></button>") == ["Copy"]
    assert _literals("<p>{% if a %}Signet{% endif %} <code>flask run</code></p>") == []
