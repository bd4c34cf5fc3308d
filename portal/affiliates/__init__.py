"""The affiliates of a programme: who they are, their preferences, suppressions and links."""

from flask import Flask


def install(app: Flask) -> None:
    """Register the listener for settled attempts and the unsubscribed mailboxes of owners with the app."""
    from ..notices import recipients
    from ..outbox.callbacks import add_listener
    from . import owner_unsubscribe, suppressions

    add_listener(app, suppressions.on_attempt_settled)
    recipients.register_restrictions(app, owner_unsubscribe.restrictions)
