"""``make run``: the development server. Runs everything on this machine, so that Signet can be tried without a provider.

Sets up the instance, seeds the demo account, and runs the portal, the worker and the rehearsal mail server until Ctrl-C.
A production portal does not use this module; see docs/deployment.md.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from .about import ROOT
from .config import Config, ConfigError
from .demo import NoRehearsal
from .doctor.files import use_private_umask
from .vault import KeyringError

if TYPE_CHECKING:
    from types import FrameType

_HOST = "127.0.0.1"  # listened on
# In links, and in the redirect address of a consent: Microsoft registers http://localhost, but not http://127.0.0.1.
_NAME = "localhost"
_STOP_TIMEOUT_S = 15.0  # then a process that has not stopped is killed
_NOTE_AFTER_S = 30.0  # of waiting for the portal, and again after as long


class CannotStart(Exception):
    """The server cannot start; the message gives the reason and the remedy."""


def main() -> int:
    """Run all processes; return the exit status."""
    port = os.environ.get("PORT", "8000")
    use_private_umask()
    _set_defaults(port)
    try:
        config = _prepare(port)
    except (ConfigError, KeyringError, CannotStart, NoRehearsal) as error:
        print(f"Signet cannot start: {error}", file=sys.stderr)
        return 1
    return _Processes(config, port).run()


def _set_defaults(port: str) -> None:
    """Set the environment variables that are not set yet."""
    starttls = os.environ.get("SIGNET_REHEARSAL_STARTTLS_PORT", "2587")
    defaults = {
        "SIGNET_INSTANCE": str(ROOT / "instance"),
        "SIGNET_BASE_URL": f"http://{_NAME}:{port}",
        "SIGNET_REHEARSAL": "1",
        "SIGNET_REGISTRATION": "open",
        "SIGNET_EVENT_EMAILS_PER_HOUR": "100",  # of events that one person plays, each is to arrive
        "PYTHONUNBUFFERED": "1",
    }
    if "MAIL_SERVER" not in os.environ:
        defaults |= {
            "MAIL_SERVER": "localhost",
            "MAIL_PORT": starttls,
            "MAIL_USE_TLS": "1",
            "MAIL_USERNAME": "platform@signet.example",
            "MAIL_PASSWORD": "rehearsal",
            "MAIL_DEFAULT_SENDER": "affiliates@signet.example",
        }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def _prepare(port: str) -> Config:
    from . import bootstrap, demo
    from .rehearsal import certificates
    from .smtp.network.targets import is_port

    if not is_port(port):
        raise CannotStart(f"PORT is {port!r}; a port is a whole number from 1 to 65535.")
    instance = Path(os.environ["SIGNET_INSTANCE"])
    first_time = not (instance / "keys").exists()
    if first_time:
        print("First start: making the keys, the tables and the demo account.")
    bootstrap.make_secrets(instance)
    config = Config.from_env(os.environ, instance)
    _check_ports_are_free(config, int(port))
    certificates.ensure_certificates(certificates.rehearsal_folder(config), config.rehearsed_hosts)
    app = bootstrap.set_up(instance)
    with app.app_context():
        demo.seed()
    return config


def _check_ports_are_free(config: Config, port: int) -> None:
    wanted = {
        "PORT": port,
        "SIGNET_REHEARSAL_STARTTLS_PORT": config.rehearsal_starttls_port,
        "SIGNET_REHEARSAL_TLS_PORT": config.rehearsal_tls_port,
        "SIGNET_REHEARSAL_PLAIN_PORT": config.rehearsal_plain_port,
        "SIGNET_REHEARSAL_EXPIRED_PORT": config.rehearsal_expired_port,
        "SIGNET_REHEARSAL_IMAP_PORT": config.rehearsal_imap_port,
        "SIGNET_REHEARSAL_CONSENT_PORT": config.rehearsal_consent_port,
    }
    for name, number in wanted.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, number))
            except OSError:
                raise CannotStart(
                    f"port {number} is taken by another program. Choose another one: {name}={number + 1000} make run"
                ) from None


class _Processes:
    """The three processes: starts them in order and stops them in reverse order."""

    def __init__(self, config: Config, port: str) -> None:
        self.config = config
        self.port = port
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.stopping = False

    def run(self) -> int:
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)
        try:
            self._start()
            if self._wait_until_ready():
                self._print_welcome()
            return self._watch()
        finally:
            self._stop()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def _start(self) -> None:
        python, here = sys.executable, str(Path(sys.executable).parent)
        gunicorn = [python, "-m", "gunicorn", "wsgi:app", "--bind", f"{_HOST}:{self.port}"]
        # gunicorn's control socket would be in the home directory, shared with other portals.
        gunicorn.append("--no-control-socket")
        commands = {
            "rehearsal": [f"{here}/flask", "--app", "wsgi", "rehearsal"],
            "worker": [f"{here}/flask", "--app", "wsgi", "worker"],
            "portal": [*gunicorn, "--log-level", "warning", "--graceful-timeout", "5"],
        }
        for name, command in commands.items():
            # Each in a session of its own, so that Ctrl-C reaches only this process, which stops them in order.
            self.processes[name] = subprocess.Popen(command, cwd=ROOT, start_new_session=True)

    def _wait_until_ready(self) -> bool:
        """Wait until /readyz answers; return false if a process ended or Ctrl-C was pressed before."""
        note_at = time.monotonic() + _NOTE_AFTER_S
        while not self.stopping and not self._ended():
            if time.monotonic() > note_at:
                note_at += _NOTE_AFTER_S
                print("Signet is still starting. Ctrl-C stops it.", flush=True)
            try:
                with urllib.request.urlopen(f"http://{_HOST}:{self.port}/readyz", timeout=2):
                    return True
            except OSError:
                time.sleep(0.05)
        return False

    def _print_welcome(self) -> None:
        from . import demo

        base = self.config.base_url
        print(
            f"""
Signet is running.

  Portal             {base}
  Log in as          {demo.MAILBOX}
  Password           {demo.PASSWORD}
  Affiliates join    {base}/join/brightleaf
  Rehearsal inbox    {base}/rehearsal/inbox

Look first at Settings -> Email Preferences: choose the provider "Rehearsal server (this machine)",
the username postmaster@brightleaf.example and the password rehearsal, and save. Then sign up as an
affiliate, confirm it from the rehearsal inbox, and see the New Sign-up email arrive there.
"Rehearsal with consent (this machine)" is connected without a password, as Microsoft and Google are.
Ctrl-C stops everything.
""",
            flush=True,
        )

    def _ended(self) -> str | None:
        return next((name for name, process in self.processes.items() if process.poll() is not None), None)

    def _watch(self) -> int:
        while not self.stopping:
            ended = self._ended()
            if ended:
                print(
                    f"The {ended} stopped by itself; its last lines above have the reason.", file=sys.stderr
                )
                return 1
            time.sleep(0.1)
        print("\nStopping.")
        return 0

    def _stop(self) -> None:
        """Stop the portal first, so that no new work arrives, and the mail server last."""
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                process.terminate()
        end = time.monotonic() + _STOP_TIMEOUT_S
        for process in self.processes.values():
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()


if __name__ == "__main__":
    sys.exit(main())
