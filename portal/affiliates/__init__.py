"""The affiliates of a programme: who they are, their preferences, suppressions and links."""

from flask import Flask


def install(app: Flask) -> None:
    """Register the languages of pages, the screen and who unsubscribed with the app."""
    from ..notices import recipients
    from ..outbox.callbacks import add_gate, register_screen
    from . import owner_unsubscribe, page_language, platform_screen

    page_language.install(app)
    add_gate(app, platform_screen.gate)
    register_screen(app, platform_screen.screen)
    recipients.register_restrictions(app, owner_unsubscribe.restrictions)
