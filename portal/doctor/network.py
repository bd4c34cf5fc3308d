"""What needs the network: the public address, the platform's sender up to its recipient, and port 587 outwards."""

from __future__ import annotations

import http.client
import ssl
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..clock import utcnow
from ..operations import platform_sender
from ..smtp.failure import Stage, SubmissionFailure
from ..smtp.network.dial import Deadline, dial
from ..smtp.network.guard import resolve_allowed
from ..smtp.protocol.stages import StageStatus
from ..smtp.server import Limits, Security, Server
from ..state import current_config
from .findings import DoctorFinding, error, not_tried, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from ..config import Config
    from ..operations.platform_sender import SenderCheck
    from ..smtp.probe.dry_run import ProbeReport

CODES = ("public-address", "platform-sender", "port-587")
_TIMEOUT_S = 15.0
_CLOCKS_AGREE = timedelta(seconds=60)
_PORT = 587
# Large providers that have answered on port 587 for many years. One of them is enough.
_WELL_KNOWN = ("smtp.gmail.com", "smtp.mailgun.org", "smtp.sendgrid.net")


def check() -> Iterator[DoctorFinding]:
    """Yield the findings. Needs an app context and a database with all tables; no transaction is open meanwhile."""
    config = current_config()
    yield check_public_address(config)
    sender, report = check_platform_sender(config)
    yield sender
    yield check_port_587(config, report)


def skipped(reason: str) -> Iterator[DoctorFinding]:
    """Yield a finding for each check that is not tried."""
    for code in CODES:
        yield not_tried(code, reason)


def check_public_address(config: Config) -> DoctorFinding:
    """Request /healthz under SIGNET_BASE_URL as a visitor does: name, certificate, proxy, portal."""
    code, address = "public-address", f"{config.base_url}/healthz"
    try:
        status, date = _get(config.base_url, "/healthz")
    except ssl.SSLCertVerificationError as trouble:
        return error(
            code,
            f"The certificate of {config.base_url} is not valid: {trouble.verify_message}.",
            "Renew it, with the whole chain, on the proxy.",
        )
    except (OSError, http.client.HTTPException) as trouble:
        return warning(
            code,
            f"{address} does not answer from this machine: {_reason(trouble)}.",
            "Start the portal and the proxy; if this machine cannot reach its own public address, try from another one.",
        )
    if status != http.client.OK:
        return error(
            code,
            f"{address} answers {status} instead of 200.",
            "Let the proxy pass all requests to the portal.",
        )
    apart = abs(utcnow() - date) if date else timedelta(0)
    if apart > _CLOCKS_AGREE:
        return warning(
            code,
            f"{config.base_url} answers, but its clock and this machine's differ by {round(apart.total_seconds())} seconds.",
            "Set both by a time service: timedatectl set-ntp true",
        )
    return ok(code, f"{address} answers.")


def _get(base_url: str, path: str) -> tuple[int, datetime | None]:
    """Return the status of a GET and the time in its Date header. Raises OSError or HTTPException."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, parts.port, timeout=_TIMEOUT_S, context=context)
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, _time(answer.headers.get("Date", ""))
    finally:
        connection.close()


def _time(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _reason(trouble: Exception) -> str:
    return getattr(trouble, "strerror", None) or str(trouble) or type(trouble).__name__


def check_platform_sender(config: Config) -> tuple[DoctorFinding, ProbeReport | None]:
    """Run the stages of the platform's sender up to RCPT, with the first owner as recipient. Nothing is sent."""
    code = "platform-sender"
    if not config.platform.server:
        return warning(
            code,
            "The portal has no sender of its own: no password resets, no alerts, no confirmation of registrations.",
            "Set MAIL_SERVER, MAIL_DEFAULT_SENDER and the other MAIL_* variables.",
        ), None
    try:
        found = platform_sender.check()
    except platform_sender.UnusableSender as trouble:
        return error(code, trouble.cause, trouble.fix), None
    return _assess(code, found), found.report


def _assess(code: str, found: SenderCheck) -> DoctorFinding:
    server, report, diagnosis = found.route.server, found.report, found.diagnosis
    stages = [result.as_dict() for result in report.stages]
    if report.failure is None or diagnosis is None:
        return ok(
            code,
            f"{server.address} takes mail from {found.route.sender} to {found.recipient}.",
            stages=stages,
        )
    passed = [result.stage.value for result in report.stages if result.status is StageStatus.PASSED]
    until = f" (passed: {', '.join(passed)})" if passed else ""
    return error(
        code,
        f"{server.address}, stage {report.failure.stage.value}{until}: {diagnosis.cause}",
        diagnosis.fix,
        stages=stages,
        diagnosis=diagnosis.as_dict(),
    )


def check_port_587(config: Config, report: ProbeReport | None) -> DoctorFinding:
    """Check that a connection to port 587 of another machine is possible; many hosting companies block it."""
    code = "port-587"
    if config.platform.port == _PORT and report is not None and _has_connected(report):
        return ok(code, f"{config.platform.server} answers on port 587.")
    hosts = config.rehearsed_hosts or _WELL_KNOWN
    for host in hosts:
        if _connects(host, config):
            return ok(code, f"{host} answers on port 587.")
    return warning(
        code,
        f"No connection to port 587 of {', '.join(hosts)} was possible.",
        "Ask the hosting company or the firewall's administrator to open it, or use providers on port 465 or 2525.",
    )


def _has_connected(report: ProbeReport) -> bool:
    return any(one.stage is Stage.CONNECT and one.status is StageStatus.PASSED for one in report.stages)


def _connects(host: str, config: Config) -> bool:
    server = Server(host, _PORT, Security.STARTTLS, policy=config.policy)
    deadline = Deadline(_TIMEOUT_S)
    try:
        addresses = resolve_allowed(host, _PORT, config.policy, deadline.remaining())
        connection, _ = dial(addresses, server, Limits(), deadline)
    except SubmissionFailure:
        return False
    connection.close()
    return True
