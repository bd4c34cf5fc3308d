"""The part of Flask-Babel that the portal uses. The package ships no types.

``lazy_gettext`` returns a ``LazyString``, which behaves as the translated string does in templates, f-strings and
comparisons; JSON and the database need ``str(...)``.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

from babel import Locale
from babel.support import NullTranslations
from flask import Flask

def gettext(message: str, **variables: object) -> str: ...
def lazy_gettext(message: str, **variables: object) -> str: ...
def ngettext(singular: str, plural: str, num: int, **variables: object) -> str: ...
def get_locale() -> Locale | None: ...
def refresh() -> None: ...
def force_locale(locale: Locale | str) -> AbstractContextManager[None]: ...

class Domain:
    cache: dict[object, NullTranslations]
    def __init__(self) -> None: ...
    def get_translations(self) -> NullTranslations: ...
    def ngettext(self, singular: str, plural: str, num: int, **variables: object) -> str: ...

class Babel:
    domain_instance: Domain
    def __init__(
        self,
        app: Flask,
        *,
        default_locale: str,
        default_timezone: str,
        locale_selector: Callable[[], Locale | str],
    ) -> None: ...
