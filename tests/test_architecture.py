"""Architecture rules: which module may import which, and what code may not contain. Each docstring is the failure message."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUBJECTS = (
    "accounts",
    "arrival",
    "settings",
    "notices",
    "affiliates",
    "bounces",
    "programme",
    "events",
    "money",
    "enrolment",
    "imports",
    "deliveries",
    "domains",
    "api",
    "incidents",
    "status",
    "privacy",
    "operations",
    "rehearsal",
    "monitoring",
    "home",
)
REQUEST_MODULES = {"forms", "access"}  # may read requests, besides the views
STDLIB = sys.stdlib_module_names
# Lowest first: a room imports only rooms of the layers below its own.
LAYERS = (
    ("smtp",),
    ("about", "amounts", "clock", "env", "languages", "pictures", "tuning", "vault"),
    ("db", "egress", "platform_mail"),
    ("config",),
    ("state",),
    ("rate_limit",),
    ("recipient_limits",),
    ("jobs",),
    ("http_client",),
    ("outbox",),
    ("web",),
    ("audit", "security_log"),
    ("accounts",),
    ("shop_links",),
    ("arrival",),
    ("notices",),
    ("oauth",),
    ("settings",),
    ("domains",),
    ("affiliates",),
    ("programme",),
    ("bounces",),
    ("events",),
    ("money",),
    ("enrolment",),
    ("imports",),
    ("deliveries",),
    ("incidents",),
    ("status",),
    ("api", "home", "monitoring", "rehearsal"),
    ("privacy",),
    ("operations",),
    ("demo", "tasks"),
    ("doctor",),
    ("backup", "bootstrap", "migrations"),
    ("cli", "dev_server"),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
MAX_MODULES = 20  # in one folder


@dataclass(frozen=True)
class Import:
    """One imported module or name, in full: ``portal.outbox.queue.enqueue_row``."""

    where: str
    line: int
    name: str

    def within(self, *packages: str) -> bool:
        return any(self.name == package or self.name.startswith(f"{package}.") for package in packages)


@dataclass(frozen=True)
class Source:
    """A file of the portal: its module name and its syntax tree."""

    module: str
    tree: ast.Module
    package: bool = False

    def within(self, *packages: str) -> bool:
        return Import("", 0, self.module).within(*packages)

    @property
    def room(self) -> str:
        return self.module.split(".")[1] if "." in self.module else ""

    @property
    def file_name(self) -> str:
        """The last part of the module's name: models, forms, views ..."""
        return self.module.rpartition(".")[2]

    @property
    def is_view(self) -> bool:
        """Whether the module renders pages, by its name or its imports."""
        pages = {"flask.Blueprint", "flask.render_template"}
        return self.file_name.startswith("views") or any(one.name in pages for one in self.imports)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(self.tree))

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        return tuple(self._imports())

    def _imports(self) -> Iterator[Import]:
        for node in self.nodes:
            if isinstance(node, ast.Import):
                yield from (Import(self.module, node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                yield from (Import(self.module, node.lineno, f"{base}.{a.name}") for a in node.names)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.module.split(".")
        parts = parts[: len(parts) - node.level + (1 if self.package else 0)]
        return ".".join([*parts, *filter(None, [node.module])])


@cache
def sources() -> tuple[Source, ...]:
    found = []
    for path in sorted((ROOT / "portal").rglob("*.py")):
        if "migrations/versions" in path.as_posix():
            continue
        parts = path.relative_to(ROOT).with_suffix("").parts
        package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if package else parts)
        found.append(Source(name, ast.parse(path.read_text(encoding="utf-8")), package))
    return tuple(found)


Violations = Iterator[tuple[int, str]]


def _smtp_imports_no_other_package(source: Source) -> Violations:
    """smtp/ imports only the standard library, dnspython, idna and cryptography: no web, no tables, no configuration."""
    allowed = {*STDLIB, "dns", "idna", "cryptography"}
    for one in source.imports if source.room == "smtp" else ():
        if one.name.split(".")[0] not in allowed and not one.within("portal.smtp"):
            yield one.line, one.name


def _outbox_imports_no_room(source: Source) -> Violations:
    """outbox/ serves every room and imports none of them; rooms register callbacks in create_app."""
    for one in source.imports if source.room == "outbox" else ():
        if one.within(*(f"portal.{room}" for room in (*SUBJECTS, "web", "tasks", "cli"))):
            yield one.line, one.name


def _outbox_reads_no_request(source: Source) -> Violations:
    """outbox/ imports only Flask and current_app from flask: a delivery has no request."""
    for one in source.imports if source.room == "outbox" else ():
        if one.within("flask") and one.name not in {"flask.Flask", "flask.current_app"}:
            yield one.line, one.name


def _flask_mail_only_in_the_outbox(source: Source) -> Violations:
    """Only outbox/ imports Flask-Mail; it subclasses Message and Connection."""
    for one in source.imports if source.room != "outbox" else ():
        if one.within("flask_mail"):
            yield one.line, one.name


def _no_smtplib(source: Source) -> Violations:
    """smtplib is not used: it has no total deadline and no SSRF guard. portal/smtp is the SMTP client."""
    for one in source.imports:
        if one.within("smtplib"):
            yield one.line, one.name


def _views_are_thin(source: Source) -> Violations:
    """A view checks access, validates a form, calls a function and redirects; it does not use the database."""
    if source.room not in SUBJECTS or not source.is_view:
        return
    for one in source.imports:
        if one.within("sqlalchemy", "portal.db"):
            yield one.line, one.name


def _models_never_query(source: Source) -> Violations:
    """models.py declares tables; queries are in other modules."""
    if source.file_name != "models":
        return
    for one in source.imports:
        if one.name in {"portal.db.db", "sqlalchemy.select", "sqlalchemy.update", "sqlalchemy.delete"}:
            yield one.line, one.name
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and node.attr in {
            "session",
            "commit",
            "execute",
            "scalar",
            "scalars",
        }:
            yield node.lineno, node.attr


def _no_views_or_forms_of_other_rooms(source: Source) -> Violations:
    """A room does not import another room's views or forms; shared web code belongs in web/."""
    for one in source.imports if source.room in SUBJECTS else ():
        parts = one.name.split(".")
        other = len(parts) > 2 and parts[0] == "portal" and parts[1] in SUBJECTS and parts[1] != source.room
        if other and (parts[2].startswith("views") or parts[2] == "forms"):
            yield one.line, one.name


def _only_views_and_forms_read_requests(source: Source) -> Violations:
    """Functions outside views and forms get values as arguments; they read no form and no request."""
    if source.room not in SUBJECTS or source.package or source.is_view or source.file_name in REQUEST_MODULES:
        return
    for one in source.imports:
        if one.within("flask.request", "flask.session", "flask_login", "flask_wtf", "wtforms"):
            yield one.line, one.name


def _foundation_imports_no_room(source: Source) -> Violations:
    """vault, db, clock and config are below all rooms and import none."""
    if source.module not in {
        "portal.vault",
        "portal.db",
        "portal.db.sqlite",
        "portal.db.postgresql",
        "portal.db.transaction",
        "portal.clock",
        "portal.config",
    }:
        return
    for one in source.imports:
        if one.within(*(f"portal.{room}" for room in (*SUBJECTS, "outbox", "web"))):
            yield one.line, one.name


def _rooms_import_downwards(source: Source) -> Violations:
    """A room imports only rooms below it in LAYERS; what two rooms need moves below both."""
    for one in source.imports if source.room else ():
        parts = one.name.split(".")
        other = parts[1] if parts[0] == "portal" and len(parts) > 1 else source.room
        if other != source.room and RANK.get(other, -1) >= RANK[source.room]:
            yield one.line, one.name


def _certificates_are_verified(source: Source) -> Violations:
    """No code can disable the verification of certificates."""
    for node in source.nodes:
        if isinstance(node, ast.Attribute | ast.Name):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            if name in {"CERT_NONE", "CERT_OPTIONAL", "_create_unverified_context", "_create_stdlib_context"}:
                yield node.lineno, name
        targets = node.targets if isinstance(node, ast.Assign) else []
        for target in targets:
            switched_on = isinstance(node.value, ast.Constant) and node.value.value is True
            if isinstance(target, ast.Attribute) and target.attr == "check_hostname" and not switched_on:
                yield node.lineno, "check_hostname"


def _stored_text_is_not_a_template(source: Source) -> Violations:
    """Stored text is never rendered as a Jinja template and never marked as safe."""
    if source.module == "portal.web.translations":  # marks strings of the catalogues, which no person writes
        return
    banned = {"render_template_string", "from_string", "Markup"}
    for node in source.nodes:
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        if name in banned:
            yield node.lineno, name


def _one_clock_module(source: Source) -> Violations:
    """Only clock.py reads the system clock, so that tests can freeze time in one place."""
    if source.module == "portal.clock":
        return
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and node.attr in {"utcnow", "today"}:
            yield node.lineno, node.attr
        named = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr == "now"
        if named and node.value.id == "datetime":
            yield node.lineno, "datetime.now"


RULES = (
    _rooms_import_downwards,
    _smtp_imports_no_other_package,
    _outbox_imports_no_room,
    _outbox_reads_no_request,
    _flask_mail_only_in_the_outbox,
    _no_smtplib,
    _views_are_thin,
    _models_never_query,
    _no_views_or_forms_of_other_rooms,
    _only_views_and_forms_read_requests,
    _foundation_imports_no_room,
    _certificates_are_verified,
    _stored_text_is_not_a_template,
    _one_clock_module,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__.strip("_"))
def test_the_code_obeys_the_rule(rule):
    violations = [f"{s.module}:{line} {what}" for s in sources() for line, what in rule(s)]
    assert not violations, f"{rule.__doc__}\n" + "\n".join(violations)


VIOLATIONS = {
    _rooms_import_downwards: ("portal.outbox.x", "def f():\n    from ..settings import routing"),
    _smtp_imports_no_other_package: ("portal.smtp.x", "from ..db import db"),
    _outbox_imports_no_room: ("portal.outbox.x", "from ..settings import routes"),
    _outbox_reads_no_request: ("portal.outbox.x", "from flask import request"),
    _flask_mail_only_in_the_outbox: ("portal.settings.x", "def f():\n    import flask_mail"),
    _no_smtplib: ("portal.rehearsal.x", "from smtplib import SMTP"),
    _views_are_thin: ("portal.settings.views_more", "from ..db import db"),
    _models_never_query: ("portal.settings.models", "from ..db import db"),
    _no_views_or_forms_of_other_rooms: ("portal.settings.x", "from ..accounts.forms import LogInForm"),
    _only_views_and_forms_read_requests: ("portal.settings.x", "from flask_login import current_user"),
    _foundation_imports_no_room: ("portal.vault", "from .outbox import queue"),
    _certificates_are_verified: ("portal.smtp.protocol.tls", "context.check_hostname = False"),
    _stored_text_is_not_a_template: ("portal.web.x", "flask.render_template_string(text)"),
    _one_clock_module: ("portal.web.x", "datetime.now(UTC)"),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__.strip("_"))
def test_a_violation_is_found(rule):
    module, code = VIOLATIONS[rule]
    assert list(rule(Source(module, ast.parse(code)))), f"not found: {rule.__doc__}"


def test_every_file_was_read():
    names = {source.module for source in sources()}
    assert {
        "portal.outbox.sending.deliver",
        "portal.settings.views",
        "portal.smtp.protocol.session",
    } <= names
    assert len(names) > 80


def test_no_template_trusts_a_value():
    """A template escapes every value: |safe and autoescape off do not occur."""
    for path in (ROOT / "templates").rglob("*"):
        if path.is_file():
            text = path.read_text(encoding="utf-8").replace(" ", "")
            for banned in ("|safe", "autoescapefalse", "{%autoescape"):
                assert banned not in text, f"{path.name}: {banned}"


def test_no_file_is_too_long():
    """A file of portal/ has at most 400 lines."""
    long = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / "portal").rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long, long


def _imported_modules(source: Source, names: frozenset[str]) -> set[str]:
    """Return the modules of the portal that a file imports, including imports inside functions."""
    found = set()
    for one in source.imports:
        module = one.name if one.name in names else one.name.rpartition(".")[0]
        if module in names and module != source.module:
            found.add(module)
    return found


def test_there_are_no_import_cycles():
    """Imports inside functions and under TYPE_CHECKING count: a hidden import is still part of a cycle."""
    names = frozenset(source.module for source in sources())
    graph = {s.module: _imported_modules(s, names) for s in sources()}
    while free := [name for name, needs in graph.items() if not needs & graph.keys()]:
        for name in free:
            del graph[name]
    while ends := [name for name in graph if not any(name in needs for needs in graph.values())]:
        for name in ends:
            del graph[name]
    assert not graph, {name: sorted(needs & graph.keys()) for name, needs in graph.items()}


def test_no_folder_has_too_many_modules():
    """A folder of portal/ has at most MAX_MODULES modules; move the rest into a package."""
    full = {
        folder.relative_to(ROOT / "portal").as_posix(): count
        for folder in (ROOT / "portal").rglob("*")
        if folder.is_dir() and "versions" not in folder.parts
        if (count := len([file for file in folder.glob("*.py") if file.name != "__init__.py"])) > MAX_MODULES
    }
    assert not full, full


def test_the_migrations_are_one_chain():
    """Each migration follows another one, so that there is one newest: number a new one after those that came meanwhile."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "portal/migrations/versions").glob("*.py")]
    revisions = sorted(re.search(r"^revision = [\"'](\w+)", text, re.MULTILINE)[1] for text in texts)
    before = sorted(
        match[1] for text in texts if (match := re.search(r"^down_revision = [\"'](\w+)", text, re.MULTILINE))
    )
    assert before == revisions[:-1]


_STARTED_AS_COMMANDS = {"gunicorn"}


def test_the_code_imports_each_package_that_it_requires():
    """requirements.in names only what the code imports, or a command of _STARTED_AS_COMMANDS."""
    modules: dict[str, set[str]] = {}
    for module, names in packages_distributions().items():
        for name in names:
            modules.setdefault(name.lower().replace("_", "-"), set()).add(module)
    imported = {one.name.split(".")[0] for source in sources() for one in source.imports}
    lines = (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines()
    required = {match[0].lower() for line in lines if (match := re.match(r"[\w.-]+", line))}
    unused = {name for name in required if not modules.get(name, set()) & imported}
    assert unused == _STARTED_AS_COMMANDS
