"""The route of an account's mail: through which server, with which credentials and sender."""

from __future__ import annotations

import hmac
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from random import getrandbits
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from ..smtp.diagnosis.diagnose import Diagnosis, DiagnosisKind, FormField, diagnose
from ..smtp.failure import Stage
from ..smtp.providers.model import PLACEHOLDER
from ..state import get_state
from .diagnoses import RETURN_ADDRESS_FIX
from .sending.mime import mailbox_header

if TYPE_CHECKING:
    from ..smtp.failure import SubmissionFailure
    from ..smtp.providers import Provider
    from ..smtp.server import Server


@dataclass(frozen=True)
class Route:
    """A server and a sender. ``version_number`` is that of the settings, or None for the platform's sender.

    ``is_screened``: each message is screened before it is submitted (``callbacks.register_screen``).
    """

    server: Server
    sender: str  # the mailbox in From, and in the envelope unless envelope_sender is set
    display_name: str
    reply_to: str | None = None
    version_number: int | None = None
    provider: Provider | None = None
    is_screened: bool = False
    envelope_sender: str = ""
    headers: tuple[tuple[str, str], ...] = ()  # further ones
    messages_per_connection: int | None = None  # None: the default of the tuning

    @cached_property
    def author(self) -> str:
        """The From header."""
        return mailbox_header(self.display_name, self.sender)

    @cached_property
    def attempt_columns(self) -> dict[str, Any]:
        """The columns of an attempt that describe its route."""
        return {"version_number": self.version_number, "server": self.server.address, "sender": self.author}

    @cached_property
    def reference_header(self) -> tuple[str, str] | None:
        """The provider's own header for the reference of a message, unless the owner sets that header."""
        card = self.provider.reference if self.provider else None
        own = {name.lower() for name, _ in self.headers}
        return None if card is None or card.name.lower() in own else (card.name, card.value)

    def return_path(self, reference: str = "check") -> str:
        """Return the mailbox in MAIL FROM, to which bounces go, with the reference of a message where it has a place (VERP)."""
        return self.envelope_sender.replace(PLACEHOLDER, reference) or self.sender

    @property
    def domain(self) -> str:
        """The sending domain."""
        return self.sender.rpartition("@")[2]

    def new_message_id(self) -> str:
        """Return a Message-ID on the sending domain, so that it reveals no host name.

        It starts with the time, so ids of messages sent together are neighbours in an index. It need not be unguessable.
        """
        return f"<{int(time.time()):08x}{getrandbits(64):016x}@{self.domain}>"

    def explain(self, failure: SubmissionFailure) -> Diagnosis:
        """Diagnose a failure on this route.

        Until the message itself is sent, a server that refuses a sender has seen the envelope sender alone.
        """
        if not self.envelope_sender or failure.stage not in (Stage.MAIL, Stage.RCPT):
            return diagnose(failure, self.server, self.provider, sender=self.sender)
        found = diagnose(failure, self.server, self.provider, sender=self.envelope_sender)
        if found.kind not in (DiagnosisKind.SENDER_IDENTITY, DiagnosisKind.DOMAIN):
            return found
        return replace(found, fixes=(RETURN_ADDRESS_FIX, *found.fixes), field=FormField.ENVELOPE_SENDER)

    def is_same(self, other: Route) -> bool:
        """Whether a connection opened for this route can be used for the other: same server, credentials and sender."""
        if other is self:
            return True
        ours, theirs = replace(self.server, password=None), replace(other.server, password=None)
        return ours == theirs and self.sender == other.sender and _same_secret(self.server, other.server)


def _same_secret(one: Server, other: Server) -> bool:
    if one.password is None or other.password is None:
        return one.password is other.password
    ours, theirs = (server.password.reveal() for server in (one, other) if server.password)
    return hmac.compare_digest(ours.encode("utf-8", "surrogatepass"), theirs.encode("utf-8", "surrogatepass"))


class NoRoute(Exception):
    """There is no route at present; ``diagnosis`` gives the reason and is stored with the queue."""

    def __init__(self, diagnosis: Mapping[str, Any]) -> None:
        super().__init__(str(diagnosis.get("code")))
        self.diagnosis = dict(diagnosis)


# (account id or None for the portal's own mail, settings version id or None for the live one) -> the route
RouteResolver = Callable[[int | None, int | None], Route]


def _no_lookup(_account_id: int | None, _version_id: int | None) -> Route:
    raise RuntimeError("outbox is not installed in this app")


@dataclass
class Routing:
    """The route lookup that the settings package provides."""

    find: RouteResolver = _no_lookup


def route_for(account_id: int | None, version_id: int | None = None) -> Route:
    """Look up the route of an account. Raises NoRoute."""
    return get_state().part(Routing).find(account_id, version_id)


@dataclass(frozen=True)
class RouteLookup:
    """The route of a queue, or why there is none."""

    route: Route | None = None
    error: BaseException | None = None
    traceback: str = ""


def find_route(account_id: int | None, version_id: int | None = None) -> RouteLookup:
    """Look up the route of an account, or of one version of its settings. Raises database errors only."""
    return look_up(lambda: route_for(account_id, version_id))


def look_up(find: Callable[[], Route]) -> RouteLookup:
    """Return what ``find`` returns, or why it fails. Raises database errors only."""
    try:
        return RouteLookup(find())
    except SQLAlchemyError:
        raise
    except Exception as error:
        return RouteLookup(None, error, "" if isinstance(error, NoRoute) else traceback.format_exc())
