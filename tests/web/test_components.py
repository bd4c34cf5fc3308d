"""The macros of templates/components/ are one namespace in every template."""

from __future__ import annotations

import re

import pytest

from portal.about import ROOT
from portal.web.components import Components


def test_every_component_that_a_template_calls_exists(app):
    ui = Components(app.jinja_env)
    called = {
        name
        for path in (ROOT / "templates").rglob("*.html")
        for name in re.findall(r"\bui\.([a-z_]+)\(", path.read_text(encoding="utf-8"))
    }
    assert len(called) > 20
    for name in called:
        assert getattr(ui, name).name == name


def test_a_distance_from_now_has_the_exact_moment_beside_it():
    both = re.compile(r"ui\.moment\((?:[^()]|\([^()]*\))*\)")
    alone = {
        path.name: found
        for path in (ROOT / "templates").rglob("*.html")
        if (found := re.findall(r".*\| ago\b.*", both.sub("", path.read_text(encoding="utf-8"))))
    }
    assert set(alone) <= {"time.html"}, "use ui.moment(at, at | ago)"


def test_an_unknown_component_is_named(app):
    with pytest.raises(AttributeError, match="no macro buton"):
        Components(app.jinja_env).buton  # noqa: B018


def test_no_template_imports_a_component(app):
    for path in (ROOT / "templates").rglob("*.html"):
        assert 'from "components/' not in path.read_text(encoding="utf-8"), path
