"""Backups: the database in one file, the keys sealed with a passphrase in another, and the way back from both."""

from __future__ import annotations


class BackupError(Exception):
    """A backup could not be made or restored; the message gives the reason and the remedy, and no secret."""
