"""The configuration: one immutable object read from the environment and instance/.

An invalid or incomplete configuration stops the start; the error names the variable or file at fault.
"""

from __future__ import annotations

import ipaddress
import logging
import os
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .db import urls
from .egress import WEBHOOK_POLICY, smtp_policy, webhook_policy
from .env import ConfigError, OAuthSettings, Reader
from .platform_mail import PlatformMail, read_platform
from .smtp.mailbox import MailboxError, parse_mailbox
from .smtp.network.dns import Nameserver, parse_nameservers
from .smtp.network.guard import EgressPolicy, PrivateTarget
from .smtp.server import Limits
from .tuning import Tuning

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger(__name__)
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

__all__ = ["Config", "ConfigError", "PlatformMail", "Record", "Registration"]


_MAX_AUDIT_DAYS = 3650


class Registration(StrEnum):
    """Who may register an account: no visitor, invited persons, visitors whom an operator approves, or any visitor."""

    CLOSED = "closed"
    INVITE = "invite"
    APPROVE = "approve"
    OPEN = "open"


class Record(StrEnum):
    """When workers on PostgreSQL record an acceptance in the table: before the next message, or up to 100 ms later."""

    EACH = "each"
    LOG = "log"


@dataclass(frozen=True)
class Config:
    """The configuration of the portal and its worker. Times are in seconds."""

    instance: Path
    secret_key: str = field(repr=False)
    keyring: str = field(repr=False)  # id:base64;id:base64, the first one seals
    base_url: str
    database_url: str = field(repr=False)  # an SQLAlchemy URL, with the driver
    platform: PlatformMail
    policy: EgressPolicy
    webhook_policy: EgressPolicy = WEBHOOK_POLICY  # where webhooks may be posted
    oauth: OAuthSettings = field(default_factory=OAuthSettings)
    dns_servers: tuple[Nameserver, ...] = ()  # empty: the system's resolvers
    trusted_proxies: int = 0
    registration: Registration = Registration.CLOSED
    domain_proof: str = ""  # "shared" or "always"; empty: as settings/domain_proof.py decides
    unapproved_per_account: int = (
        100  # emails of an account without approval by the platform's sender, in 24 hours
    )
    unapproved_per_recipient: int = 10
    event_emails_per_hour: int = 4  # of one account to one recipient; further ones become one email
    rehearsal: bool = False
    rehearsal_starttls_port: int = 2587
    rehearsal_tls_port: int = 2465
    rehearsal_plain_port: int = 2525  # never offers STARTTLS
    rehearsal_expired_port: int = 2526  # presents an expired certificate
    rehearsal_imap_port: int = 2993  # mailboxes with played bounces
    rehearsal_consent_port: int = 2580  # pages of consent and the token endpoint, over HTTP
    database_wait: float = 15.0  # how long a transaction waits for the write lock
    lease: float = 90.0  # how long a claim lasts before another worker may take it
    record: Record = Record.EACH  # on PostgreSQL; on SQLite the acceptance log always leads
    limits: Limits = field(default_factory=Limits)
    sweep: float = 5.0  # between two searches for due work for which no job was pushed
    retry_pace: float = 1.0  # factor of every retry delay; below 1 in tests
    worker_threads: int = 4
    connections: int = 64  # concurrent connections to mail servers, over all workers
    cpu: int | None = None  # number of the only CPU that this process may run on
    tests_per_hour: int = 10
    session_idle: float = 14 * 86400.0  # how long a log-in lasts without a request
    session_age: float = 90 * 86400.0  # and at most
    sign_up_seconds: float = 2.0  # a sign-up form submitted faster than this is shown again (bot check)
    redis_url: str = field(default="", repr=False)  # of the job queues; empty: a file or PostgreSQL
    audit_days: int = 400  # how long entries of the audit trail are kept
    security_log: str = ""  # a file, or "stderr"; empty: switched off
    security_contacts: tuple[str, ...] = ()  # addresses of security.txt; empty: the page does not exist
    security_policy: str = ""  # address of the policy that security.txt names
    metrics_token: str = field(default="", repr=False)  # bearer token of /metrics; empty: switched off
    tuning: Tuning = field(default_factory=Tuning)  # the same everywhere; tests replace some values
    testing: bool = False

    @property
    def secure(self) -> bool:
        """Whether the portal's public address is HTTPS."""
        return self.base_url.startswith("https://")

    @property
    def is_local(self) -> bool:
        """Whether the portal's address is one of this machine only."""
        return self.host_name in LOOPBACK_NAMES

    @property
    def host_name(self) -> str:
        """The public host name of the portal."""
        return urlsplit(self.base_url).hostname or "localhost"

    @property
    def ehlo_name(self) -> str:
        """The worker's EHLO name: the public host name, or an address literal (RFC 5321 section 4.1.3)."""
        try:
            address = ipaddress.ip_address(self.host_name)
        except ValueError:
            # Many servers refuse the bare name "localhost".
            return "[127.0.0.1]" if self.host_name == "localhost" else self.host_name
        return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"

    @property
    def token_policy(self) -> EgressPolicy:
        """The egress policy of token endpoints: that of webhooks, and the rehearsal's own on this machine."""
        if not self.rehearsal:
            return self.webhook_policy
        own = PrivateTarget(ipaddress.ip_network("127.0.0.1/32"), self.rehearsal_consent_port, plaintext=True)
        return replace(self.webhook_policy, private_targets=(*self.webhook_policy.private_targets, own))

    @property
    def platform_policy(self) -> EgressPolicy:
        """The egress policy of the portal's own mail: the operator's server at any address."""
        port, anywhere = self.platform.port, ("0.0.0.0/0", "::/0")
        plaintext = self.platform.is_plaintext
        private = tuple(PrivateTarget(ipaddress.ip_network(net), port, plaintext) for net in anywhere)
        return EgressPolicy(
            frozenset({port}), private, self.policy.ca_file, host_overrides=self.policy.host_overrides
        )

    @property
    def rehearsed_hosts(self) -> tuple[str, ...]:
        """The host names of providers' servers that the rehearsal server imitates."""
        return tuple(dict.fromkeys(override.host for override in self.policy.host_overrides))

    @classmethod
    def from_env(cls, env: Mapping[str, str], instance: Path) -> Config:
        """Read the configuration. Raises ConfigError naming what is missing or wrong."""
        instance = Path(env.get("SIGNET_INSTANCE") or instance)
        read = Reader(env, instance)
        rehearsal = read.flag("SIGNET_REHEARSAL")
        starttls_port = read.port("SIGNET_REHEARSAL_STARTTLS_PORT", 2587)
        tls_port = read.port("SIGNET_REHEARSAL_TLS_PORT", 2465)
        plain_port = read.port("SIGNET_REHEARSAL_PLAIN_PORT", 2525)
        expired_port = read.port("SIGNET_REHEARSAL_EXPIRED_PORT", 2526)
        imap_port = read.port("SIGNET_REHEARSAL_IMAP_PORT", 2993)
        base_url = _base_url(env.get("SIGNET_BASE_URL") or "http://localhost:8000")
        if rehearsal and urlsplit(base_url).hostname not in LOOPBACK_NAMES:
            raise ConfigError(
                "SIGNET_REHEARSAL is on, but SIGNET_BASE_URL is not an address of this machine. "
                "The rehearsal server is for trying Signet on one machine; switch it off for a public portal."
            )
        lease = read.number("SIGNET_LEASE_SECONDS", 90.0, low=3)
        session_idle, session_age = _session_ends(read)
        return cls(
            instance=instance,
            secret_key=read.secret("SECRET_KEY", "secret_key", at_least=32),
            keyring=read.secret("SIGNET_KEYS", "keys", at_least=40),
            base_url=base_url,
            database_url=urls.database_url(read.variable_or_file("DATABASE_URL").strip(), instance),
            redis_url=urls.redis_url(read.variable_or_file("REDIS_URL").strip()),
            platform=read_platform(read),
            webhook_policy=webhook_policy(read),
            oauth=read.oauth(),
            policy=smtp_policy(
                read, (starttls_port, tls_port, plain_port, expired_port, imap_port) if rehearsal else ()
            ),
            dns_servers=_dns_servers(read),
            trusted_proxies=read.whole("SIGNET_TRUSTED_PROXIES", 0),
            registration=Registration(read.choice("SIGNET_REGISTRATION", [*Registration])),
            domain_proof=read.text("SIGNET_DOMAIN_PROOF")
            and read.choice("SIGNET_DOMAIN_PROOF", ["shared", "always"]),
            unapproved_per_account=read.whole("SIGNET_UNAPPROVED_PER_ACCOUNT", 100),
            unapproved_per_recipient=read.whole("SIGNET_UNAPPROVED_PER_RECIPIENT", 10),
            event_emails_per_hour=read.whole("SIGNET_EVENT_EMAILS_PER_HOUR", 4, low=1),
            rehearsal=rehearsal,
            rehearsal_starttls_port=starttls_port,
            rehearsal_tls_port=tls_port,
            rehearsal_plain_port=plain_port,
            rehearsal_expired_port=expired_port,
            rehearsal_imap_port=imap_port,
            rehearsal_consent_port=read.port("SIGNET_REHEARSAL_CONSENT_PORT", 2580),
            lease=lease,
            record=Record(read.choice("SIGNET_RECORD", [*Record])),
            # An SMTP session must end before its lease, or another worker could send the same message at the same time.
            limits=Limits(
                deadline=min(read.number("SIGNET_SMTP_DEADLINE", 60.0, low=1), lease * 0.8),
                greeting=read.number("SIGNET_SMTP_GREETING", 30.0, low=1),
            ),
            sweep=read.number("SIGNET_SWEEP_SECONDS", 5.0, low=0.1),
            retry_pace=read.number("SIGNET_RETRY_PACE", 1.0, low=0.001),
            worker_threads=read.whole("SIGNET_WORKER_THREADS", 4, low=1),
            connections=read.whole("SIGNET_CONNECTIONS", 64, low=1),
            cpu=_cpu(read),
            metrics_token=read.secret("SIGNET_METRICS_TOKEN", "metrics_token", at_least=16)
            if read.text("SIGNET_METRICS_TOKEN") or read.text("SIGNET_METRICS_TOKEN_FILE")
            else "",
            audit_days=read.whole("SIGNET_AUDIT_DAYS", 400, low=30, high=_MAX_AUDIT_DAYS),
            security_log=_security_log(read),
            security_contacts=_security_contacts(read),
            security_policy=_security_policy(read),
            session_idle=session_idle,
            session_age=session_age,
            sign_up_seconds=read.number("SIGNET_SIGN_UP_SECONDS", 2.0),
            tests_per_hour=read.whole("SIGNET_TESTS_PER_HOUR", 10, low=1),
        )


def _session_ends(read: Reader) -> tuple[float, float]:
    """Return after how many seconds a log-in ends without use, and at the latest."""
    idle = read.number("SIGNET_SESSION_IDLE_HOURS", 14 * 24, low=0.25)
    age = read.number("SIGNET_SESSION_HOURS", max(90 * 24, idle), low=0.25)
    if idle > age:
        raise ConfigError(
            f"SIGNET_SESSION_IDLE_HOURS is {idle:g}, but SIGNET_SESSION_HOURS ends every log-in after {age:g} hours. "
            "Lower the first, or raise the second."
        )
    return idle * 3600, age * 3600


def _cpu(read: Reader) -> int | None:
    """Return the CPU of SIGNET_CPU. Raises ConfigError if this process cannot run on it."""
    if read.text("SIGNET_ONE_PROCESSOR"):
        _log.warning(
            "SIGNET_ONE_PROCESSOR has no effect any more. To let a process run on one CPU alone, set SIGNET_CPU to the "
            "CPU's number (docs/deployment.md, Processors)."
        )
    value = read.text("SIGNET_CPU")
    if not value:
        return None
    if not hasattr(os, "sched_getaffinity"):
        raise ConfigError("SIGNET_CPU needs Linux; unset it.")
    allowed = sorted(os.sched_getaffinity(0))
    if value not in map(str, allowed):
        raise ConfigError(
            f"SIGNET_CPU is {value!r}; this process may run on these CPUs: {', '.join(map(str, allowed))}."
        )
    return int(value)


def _security_log(read: Reader) -> str:
    value = read.text("SIGNET_SECURITY_LOG")
    if value in {"", "stderr"} or (Path(value).is_absolute() and Path(value).parent.is_dir()):
        return value
    raise ConfigError(
        f"SIGNET_SECURITY_LOG is {value!r}; write stderr, or the full path of a file in a folder that exists."
    )


def _security_contacts(read: Reader) -> tuple[str, ...]:
    """Return the addresses to report vulnerabilities to, as URIs (RFC 9116 section 2.5.3)."""
    return tuple(_security_contact(item) for item in read.text("SIGNET_SECURITY_CONTACT").split())


def _security_contact(item: str) -> str:
    if _is_https(item):
        return item
    try:
        return f"mailto:{parse_mailbox(item.removeprefix('mailto:'))}"
    except MailboxError:
        raise ConfigError(
            f"SIGNET_SECURITY_CONTACT holds {item!r}; write email addresses and https:// addresses with spaces in between."
        ) from None


def _security_policy(read: Reader) -> str:
    value = read.text("SIGNET_SECURITY_POLICY")
    if value and not _is_https(value):
        raise ConfigError(f"SIGNET_SECURITY_POLICY is {value!r}; write an address that begins with https://.")
    if value and not read.text("SIGNET_SECURITY_CONTACT"):
        raise ConfigError(
            "SIGNET_SECURITY_POLICY is set, but SIGNET_SECURITY_CONTACT is not. Set both, or neither."
        )
    return value


def _is_https(value: str) -> bool:
    try:
        return value.startswith("https://") and value.isprintable() and bool(urlsplit(value).hostname)
    except ValueError:
        return False


def _base_url(value: str) -> str:
    wrong = ConfigError(f"SIGNET_BASE_URL is {value!r}; write it like https://signet.example.com")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:  # an incomplete IPv6 address, or a port that is not a number
        raise wrong from None
    usable = parts.scheme in {"http", "https"} and parts.hostname and port != 0
    if not usable or parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc:
        raise wrong
    if parts.scheme == "http" and parts.hostname not in LOOPBACK_NAMES:
        raise ConfigError("SIGNET_BASE_URL must be https:// unless it is an address of this machine.")
    return f"{parts.scheme}://{parts.netloc}"


def _dns_servers(read: Reader) -> tuple[Nameserver, ...]:
    try:
        return parse_nameservers(read.text("SIGNET_DNS_SERVERS"))
    except ValueError as error:
        raise ConfigError(
            f"SIGNET_DNS_SERVERS holds {str(error)!r}; write IP addresses, such as 10.0.0.53 or [2001:db8::53]:5353."
        ) from None
