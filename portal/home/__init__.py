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
    may_send: Any = app.jinja_env.globals["may_send"]

    def may_open(page: MenuPage) -> bool:
        if page.is_rehearsal and not current_config().rehearsal:
            return False
        return bool(may_send(url_for(page.endpoint), "GET"))

    def visible() -> list[Group]:
        return menu.visible(may_open)

    def place() -> Place | None:
        return menu.find_place(request.endpoint or "")

    def pages_of(section: Section) -> tuple[MenuPage, ...]:
        return menu.narrow(section, may_open).pages

    app.jinja_env.globals.update(menu=visible, place=place, pages_of=pages_of)
