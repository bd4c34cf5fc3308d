"""Jobs as JSON in the job store, such as ``["drain", 7]``. No stored byte is ever run as code.

Huey pickles by default: with one row written to the store, an attacker could run code in the worker, beside the keys.
The worker therefore does not trust the store: a row that is not exactly a known job is refused.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .drivers import Message, Serializer

if TYPE_CHECKING:
    from collections.abc import Collection

    from .registry import Job

_MAX_BYTES = 200  # a job has about thirty
_MAX_ID = 2**63 - 1  # of a row in the database


class RefusedJob(Exception):
    """A row of the job store is not a job. The message is the reason, without anything of the row."""


class JobSerializer(Serializer):
    """Writes and reads the jobs of one queue. ``names`` are the known ones; later additions count."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__()
        self._names = names

    def _serialize(self, data: Message) -> bytes:
        """Return name and id. Huey gives a job that it reads an id of its own and its default options."""
        (id_,) = data.args
        return json.dumps([data.name, id_]).encode()

    def _deserialize(self, data: object) -> Message:
        name, id_ = self.read(data)
        return Message(None, name, args=(id_,))

    def read(self, data: object) -> Job:
        """Return the job in a row of the store. Raises RefusedJob."""
        if not isinstance(data, bytes):
            raise RefusedJob("not bytes")
        if len(data) > _MAX_BYTES:
            raise RefusedJob("too long")
        try:
            found = json.loads(data.decode())
        except (ValueError, RecursionError):  # the error holds the row, so it is not chained
            raise RefusedJob("not JSON") from None
        if not isinstance(found, list) or len(found) != 2:
            raise RefusedJob("not a name and an id")
        name, id_ = found
        if not isinstance(name, str) or type(id_) is not int or not 0 <= id_ <= _MAX_ID:
            raise RefusedJob("not a name and an id")
        if name not in self._names:
            raise RefusedJob("unknown name")
        return name, id_
