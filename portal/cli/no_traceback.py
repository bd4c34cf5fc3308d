"""Ends a command with one sentence where the database fails, instead of a traceback."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

import click
from sqlalchemy.exc import InterfaceError, OperationalError

if TYPE_CHECKING:
    from collections.abc import Callable


def report_database_errors(command: click.Command) -> None:
    """Let a command, and all commands of a group, exit with a sentence and status 1 if the database fails."""
    if isinstance(command, click.Group):
        for one in command.commands.values():
            report_database_errors(one)
    elif command.callback is not None:
        command.callback = _reporting(command.callback)


def _reporting(run: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run)
    def reporting(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except (OperationalError, InterfaceError) as error:
            raise click.ClickException(
                f"The database failed ({type(error).__name__}), so the command was not completed. "
                "`flask doctor` reports whether it answers; then run the command again."
            ) from None

    return reporting
