"""The owner's start page, the overview of settings, and the menu of all pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Flask

    from .menu import Group, MenuPage, Place, Section


def install(app: Flask) -> None:
    """Register the pages, and give templates the menu: ``menu()``, ``place()`` and ``tabs_of(place)``."""
    from flask import request, url_for

    from ..state import current_config
    from . import menu
    from .views import blueprint

    app.register_blueprint(blueprint)
    may_get: Any = app.jinja_env.globals["may_get"]

    def may_open(page: MenuPage) -> bool:
        if page.is_rehearsal and not current_config().rehearsal:
            return False
        return bool(may_get(page.endpoint))

    def visible() -> list[Group]:
        return menu.visible(may_open)

    def place() -> Place | None:
        return menu.find_place(request.endpoint or "")

    def pages_of(section: Section) -> tuple[MenuPage, ...]:
        return menu.narrow(section, may_open).pages

    def shortcut_links() -> list[tuple[str, str, str]]:
        """Return key, label and address of each page that a key opens and the person may open."""
        pages = {p.endpoint: p for g in menu.MENU for section in g.sections for p in section.pages}
        found = [(key, pages[endpoint]) for key, endpoint in menu.SHORTCUTS.items()]
        return [(key, page.label, url_for(page.endpoint)) for key, page in found if may_open(page)]

    app.jinja_env.globals.update(menu=visible, place=place, pages_of=pages_of, shortcut_links=shortcut_links)
