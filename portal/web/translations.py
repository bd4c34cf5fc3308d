"""Translations of visible strings: ``_()`` and ``ngettext()`` in code and templates (Flask-Babel, gettext catalogues).

``make messages`` writes ``portal/translations/messages.pot``; a language is a folder beside it
(``de/LC_MESSAGES/messages.po``). Without a catalogue the English text of the source is shown.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from babel import Locale
from flask import current_app, g, has_request_context, request
from flask.globals import _cv_app
from flask_babel import Babel, Domain, force_locale, get_locale, refresh
from flask_login import current_user
from jinja2 import nodes, pass_eval_context
from jinja2.compiler import CodeGenerator
from jinja2.idtracking import VAR_LOAD_RESOLVE
from markupsafe import Markup

from ..amounts import format_integer, format_rate
from ..clock import zone_of
from ..languages import LANGUAGES, PORTAL_LANGUAGES, language_of, portal_language, shipped_language
from .stored_sentences import translate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import tzinfo

    from babel.support import NullTranslations
    from flask import Blueprint, Flask
    from jinja2.compiler import Frame
    from jinja2.nodes import EvalContext

    from ..languages import Language

FOLDER = Path(__file__).parent.parent / "translations"
_MAX_KEPT = 20_000  # strings of templates, in all languages: far more than there are
_PAGE_TEXT = "page_text"  # name of a function, an attribute of the environment of templates
DEFAULT_LOCALE = Locale("en")  # parsed once: Flask-Babel would look its file up for each request


def install(app: Flask) -> None:
    """Make ``_()`` and ``ngettext()`` available to code and templates."""
    app.config.setdefault("BABEL_TRANSLATION_DIRECTORIES", str(FOLDER))
    babel = Babel(
        app,
        default_locale=str(DEFAULT_LOCALE),
        default_timezone="UTC",
        locale_selector=_select_locale,
    )
    babel.domain_instance = catalogues = _Catalogues()
    app.jinja_env.globals["_"] = app.jinja_env.globals["gettext"] = _template_function(catalogues)
    app.jinja_env.code_generator_class = _TemplateCompiler
    setattr(app.jinja_env, _PAGE_TEXT, _page_text_function(catalogues))
    app.jinja_env.globals["ngettext"] = _template_plurals(catalogues)
    app.jinja_env.globals["page_language"] = current_language
    app.jinja_env.globals["form_language"] = form_language
    app.jinja_env.filters["translated"] = translated


class _Catalogues(Domain):
    """The catalogues, found by the language. A page has hundreds of strings, for each of which the base class writes a key."""

    def get_translations(self) -> NullTranslations:
        """Return the catalogue of the current language, an empty one outside of an application."""
        language = current_code()
        found = self.cache.get(language)
        if found is None:
            found = super().get_translations()
            if language:
                self.cache[language] = found
        return found

    def ngettext(self, singular: str, plural: str, num: int, **variables: Any) -> str:
        """Return the form for a number, whose digits ``%(num)s`` groups as the language does."""
        text: str = self.get_translations().ungettext(singular, plural, num)
        return text % {"num": write_integer(num), **variables}


def _template_function(catalogues: _Catalogues) -> Any:
    """Return the function ``_()`` of templates: that of Jinja, which keeps what it made of a string without values."""
    kept: dict[tuple[str, str, bool], str] = {}

    @pass_eval_context
    def translate_in_template(context: EvalContext, text: str, **values: Any) -> str:
        key = (current_code(), text, context.autoescape)
        found = None if values else kept.get(key)
        if found is None:
            translation = catalogues.get_translations().gettext(text)
            found = (Markup(translation) if context.autoescape else translation) % values  # noqa: S704
            if not values and len(kept) < _MAX_KEPT:
                kept[key] = found
        return found

    return translate_in_template


def _page_text_function(catalogues: _Catalogues) -> Callable[[str], Markup]:
    """Return the function of ``_TemplateCompiler``: it returns a string of a template in the language of the page."""
    kept: dict[str, dict[str, Markup]] = {}  # by language; as many as the templates have

    def page_text(text: str) -> Markup:
        texts = kept.setdefault(current_code(), {})
        found = texts.get(text)
        if found is None:
            found = texts[text] = Markup(catalogues.get_translations().gettext(text)) % {}  # noqa: S704
        return found

    return page_text


class _TemplateCompiler(CodeGenerator):
    """Compiles ``_("...")`` without values into one call. Jinja's own looks at the function and escapes what it returns.

    Only where Jinja escapes; a page has a thousand of these.
    """

    def visit_Call(self, node: nodes.Call, frame: Frame, forward_caller: bool = False) -> None:  # noqa: FBT001, FBT002, N802
        if _is_plain_text(node, frame):
            self.write(f"environment.{_PAGE_TEXT}({node.args[0].as_const()!r})")
        else:
            super().visit_Call(node, frame, forward_caller=forward_caller)

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if not _is_plain_text(node, frame):
            super()._output_child_pre(node, frame, finalize)

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if not _is_plain_text(node, frame):
            super()._output_child_post(node, frame, finalize)


def _is_plain_text(node: nodes.Expr, frame: Frame) -> bool:
    """Return whether an expression is ``_("...")``, with the global ``_`` and nothing but a literal text."""
    if not isinstance(node, nodes.Call) or not isinstance(node.node, nodes.Name) or node.node.name != "_":
        return False
    if len(node.args) != 1 or node.kwargs or node.dyn_args or node.dyn_kwargs:
        return False
    if frame.eval_ctx.volatile or not frame.eval_ctx.autoescape:
        return False
    is_global = frame.symbols.find_load(frame.symbols.ref("_")) == (VAR_LOAD_RESOLVE, "_")
    return is_global and isinstance(node.args[0], nodes.Const) and isinstance(node.args[0].value, str)


def _template_plurals(catalogues: _Catalogues) -> Any:
    """Return the function ``ngettext()`` of templates, which groups the digits of ``%(num)s``."""

    @pass_eval_context
    def choose_in_template(context: EvalContext, singular: str, plural: str, num: int, **values: Any) -> str:
        text: str = catalogues.get_translations().ungettext(singular, plural, num)
        return (Markup(text) if context.autoescape else text) % {"num": write_integer(num), **values}  # noqa: S704

    return choose_in_template


def write_integer(number: int) -> str:
    """Return a whole number as the language of the page groups its digits: ``12,345``."""
    return format_integer(number, current_language().locale)


def write_rate(rate: float) -> str:
    """Return a rate in percent as the language of the page writes decimals, ``5.0 %``; two digits below one percent."""
    return format_rate(rate, current_language().locale)


def current_code() -> str:
    """Return the code of the current language, empty outside of an application."""
    try:
        # As Flask-Babel keeps it. Pages ask a thousand times, so this goes past the proxy g, which costs eight times as much.
        language: str = _cv_app.get().g._flask_babel.babel_locale.language
    except (AttributeError, LookupError):
        locale = get_locale()
        return locale.language if locale else ""
    return language


def _select_locale() -> Locale:
    """Return the language of the programme whose page it is, else the person's, else what the page offers to strangers.

    English outside of requests, and for the API, whose requests come from programs.
    """
    locale: Locale = g.get("page_locale") or g.get("offered_locale", DEFAULT_LOCALE)
    if not hasattr(current_app, "login_manager"):  # the rehearsal's page of consent
        return locale
    if "page_locale" in g or not has_request_context() or current_user.get_id() is None:
        return locale
    return _locale(portal_language(current_user.language).code)


def translated(text: str) -> str:
    """Return a stored sentence of the catalogue in the language of the page; another text unchanged. For templates."""
    return translate(str(text))


def offer_browsers_language(blueprint: Blueprint) -> None:
    """Show the pages of a blueprint to strangers in the language of their browser, if the portal's pages exist in it."""
    blueprint.before_request(lambda: offer_language(PORTAL_LANGUAGES))


def offer_language(offered: Iterable[str] | None = None, *, chosen: str = "") -> None:
    """Show the rest of this request's page to a stranger in the language of the browser, or in the ``chosen`` one.

    ``offered`` are codes of languages; by default all that affiliates' pages exist in. Nothing changes on a page that has
    the language of its programme.
    """
    codes = offered or [code for code, language in LANGUAGES.items() if language.is_complete]
    best = chosen or request.accept_languages.best_match([DEFAULT_LOCALE.language, *codes])
    g.offered_locale = _locale(best or DEFAULT_LOCALE.language)
    refresh()


def form_language() -> str:
    """Return the code of the language that a page has from its programme, empty if that is English or it has none.

    A form of such a page hands it on, so that the answer is in it before the programme is looked up.
    """
    locale = g.get("page_locale", DEFAULT_LOCALE)
    return "" if locale == DEFAULT_LOCALE else str(locale)


def page_zone() -> tzinfo:
    """Return the time zone of the page: that of its programme, else the person's. UTC outside of requests and for strangers."""
    if not has_request_context():
        return UTC
    context = _cv_app.get()  # past the proxies, as in current_code: a list asks a hundred times
    of_programme = context.g.get("page_zone")
    if of_programme is not None:
        return zone_of(of_programme)
    if not hasattr(context.app, "login_manager"):
        return UTC
    user = context.g.get("_login_user") or current_user._get_current_object()  # as Flask-Login keeps it
    return zone_of(user.time_zone) if user.get_id() is not None else UTC


def show_in(language: str | None, time_zone: str = "UTC") -> None:
    """Show the rest of this request's page in a programme's language, in English where that is not complete.

    Times are those of the programme's ``time_zone``.
    """
    g.page_zone = time_zone
    g.page_locale = _locale(shipped_language(language).code)
    refresh()


@contextmanager
def speaking(language: str | None) -> Iterator[None]:
    """Translate within the block into a programme's language, or English where that is not complete."""
    with force_locale(_locale(shipped_language(language).code)):
        yield


@contextmanager
def speaking_to(language: str | None) -> Iterator[None]:
    """Translate within the block into a person's language, or English where the portal does not exist in it."""
    with force_locale(_locale(portal_language(language).code)):
        yield


def current_language() -> Language:
    """Return the language of the page, or of the enclosing ``speaking`` or ``speaking_to``; it writes amounts and dates."""
    return language_of(current_code())


@cache
def _locale(code: str) -> Locale:
    return Locale.parse(code)
