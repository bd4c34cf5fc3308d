"""Fills the placeholders in the sentences of a case with facts of the failure, the server and the provider."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..server import Mechanism, Security
from .matching import certificate_names, other_mechanisms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..providers import Provider
    from .matching import FailureContext

_MAX_LISTED_HOSTS = 4  # in one sentence
_USUAL_PORTS = "587 (STARTTLS) or 465 (SSL/TLS)"
_UNKNOWN_HOST = "the server"  # in a pasted reply without one


def _join_with_or(texts: Iterable[str]) -> str:
    items = list(dict.fromkeys(texts))
    return " or ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


_SECURITY_LABELS = {
    Security.STARTTLS: "STARTTLS",
    Security.IMPLICIT_TLS: "SSL/TLS",
    Security.PLAINTEXT: "none",
}


def _ports(provider: Provider | None, without: int | None) -> str:
    """Return the provider's ports as text, the recommended one first, without port 25 and ``without``."""
    if provider is None:
        return _USUAL_PORTS
    ports = sorted(provider.ports, key=lambda port: not port.recommended)
    offered = [
        f"{port.number} ({_SECURITY_LABELS[port.security]})"
        for port in ports
        if port.number not in {25, without}
    ]
    return _join_with_or(offered) or _USUAL_PORTS


def _sending_port(provider: Provider | None, without: int | None) -> str:
    """Return which port to use; without a known provider, ports are named as the usual ones only."""
    if provider is None:
        return f"Use the port that the provider names for sending, mostly {_USUAL_PORTS}."
    return f"Use the provider's port for sending: {_ports(provider, without)}."


def _password_steps(provider: Provider | None) -> str:
    if provider is None:
        return "look for app passwords, under Security, in the account's settings."
    return " ".join(provider.password.steps)


def _mechanism_fix(context: FailureContext) -> str:
    """Return what to choose after the server refused a mechanism."""
    others = other_mechanisms(context.failure)
    if context.server.mechanism not in (Mechanism.AUTOMATIC, None):
        return "Choose Automatic as SMTP Authentication."
    if others:
        return f"Choose {others[0].value} as SMTP Authentication."
    if context.server.mechanism is Mechanism.AUTOMATIC:
        return "Ask the provider how a program logs in to send there."
    return "Choose Automatic as SMTP Authentication; if that is chosen already, choose login."


class Placeholders(dict[str, str]):
    """Values of the placeholders in sentences. A missing value becomes the placeholder's name, not an error."""

    def __missing__(self, key: str) -> str:
        return key.replace("_", " ")


def placeholders(context: FailureContext) -> Placeholders:
    """Return the values that sentences may name; keys of the evidence are placeholders, too."""
    server, provider, evidence = context.server, context.provider, context.failure.evidence
    host = server.host or _UNKNOWN_HOST
    name = server.username or ""
    domain = (context.sender or name).rpartition("@")[2]
    values = Placeholders(
        names="another name",
        offered="other ways",
        answers="something else",
        detail="no reason was given",
        issuer="The provider",
    )
    values.update({key: value for key, value in evidence.items() if value})
    names = certificate_names(context.failure)
    values.update(
        host=host,
        port="" if server.port is None else str(server.port),
        server_names=", ".join(name for name in names if not name.startswith("*."))
        or "its help pages name it",
        parent_domains=_join_with_or(name[2:] for name in names if name.startswith("*.")),
        mechanism_fix=_mechanism_fix(context),
        username=name or "this account",
        sender=context.sender or "the sender's address",
        domain=domain if "." in domain else "the sender's domain",
        ports=_ports(provider, server.port),
        sending_port=_sending_port(provider, server.port),
        suggestion=context.suggestion or host,
        provider=provider.name if provider else host,
        password_steps=_password_steps(provider),
    )
    if provider:
        values.update(_provider_placeholders(provider, server.host))
    return values


def _provider_placeholders(provider: Provider, host: str) -> dict[str, str]:
    others = [one.name for one in provider.hosts if one.name != host]
    return {
        "password_what": provider.password.what,
        "username_format": provider.username.format,
        "username_example": provider.username.example,
        "literal": _join_with_or(provider.literal_usernames(host)),
        "other_hosts": _join_with_or(others)
        if len(others) <= _MAX_LISTED_HOSTS
        else "the one of your region",
    }


_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_PORT_UNKNOWN = re.compile(r"(?: (on|to))? port \{port\}")


def fill(sentence: str, values: Placeholders) -> str:
    """Replace the placeholders in one pass, so that braces inside a value are not replaced again.

    The port of a pasted reply is unknown; its sentences name none.
    """
    if not values["port"]:
        sentence = _PORT_UNKNOWN.sub(lambda found: " to it" if found[1] == "to" else "", sentence)
    filled = _PLACEHOLDER.sub(lambda found: values[found[1]], sentence)
    capitalise = sentence.startswith("{password") or filled.startswith(("the ", "this "))
    return filled[:1].upper() + filled[1:] if capitalise else filled
