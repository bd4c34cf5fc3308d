"""What happened: the events of a programme, and the emails each of them caused or why it caused none."""

from flask import Flask


def install(app: Flask) -> None:
    """Introduce the room to the app."""
    from . import models  # noqa: F401  its tables are part of the database from now on
