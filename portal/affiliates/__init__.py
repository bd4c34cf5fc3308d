"""The affiliates of a programme: who they are, their preferences, suppressions and links."""

from flask import Flask


def install(app: Flask) -> None:
    """Register the languages of pages, the listener for settled attempts, the screen and who unsubscribed with the app."""
    from ..notices import recipients
    from ..outbox.callbacks import add_gate, add_listener, register_screen
    from . import owner_unsubscribe, page_language, platform_screen, suppressions

    page_language.install(app)
    add_listener(app, suppressions.on_attempt_settled, on_acceptance=lambda _account_id, _claim: False)
    add_gate(app, platform_screen.gate)
    register_screen(app, platform_screen.screen)
    recipients.register_restrictions(app, owner_unsubscribe.restrictions)
