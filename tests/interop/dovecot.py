"""Dovecot: submission that relays to Postfix, and IMAP, with one user.

Dovecot 2.3 is needed; 2.4 has another configuration language. ``Dovecot(extra=...)`` appends settings, which replace
those before them, for tests that need another way to log in.
"""

from __future__ import annotations

import pwd
import shutil
import subprocess
from pathlib import Path

from tests.smtp.badserver import PASSWORD, USERNAME, authority

from .postfix import Postfix
from .servers import SIZE, Started, search_path

IMAP, IMAPS = 2, 3  # indices into ports


def dovecot_missing() -> str | None:
    program = shutil.which("dovecot", path=search_path())
    if program is None:
        return "dovecot was not found; tests/interop.sh installs it"
    version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    if not version.startswith("2.3."):
        return f"Dovecot 2.3 is needed, and this is {version.split()[0]}"
    modules = Path(program).parent.parent / "lib" / "dovecot"
    missing = [name for name in ("submission", "imap") if not (modules / name).is_file()]
    return f"Dovecot's {' and '.join(missing)} not found; tests/interop.sh installs it" if missing else None


class Dovecot(Started):
    """Ports: submission with STARTTLS and with implicit TLS, IMAP with STARTTLS and with implicit TLS.

    Submitted messages go to ``relay``, as its user; without one, only the log-in and IMAP work. The user's mailbox
    is the Maildir ``mail``.
    """

    def __init__(self, relay: Postfix | None = None, *, extra: str = "") -> None:
        super().__init__(4)
        self._relay = relay
        self._extra = extra

    @property
    def mail(self) -> Path:
        return self.home / "mail"

    def configure(self) -> None:
        certificate = authority().issue_cert("localhost")
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        self.write("cert.pem", chain)
        self.write("key.pem", certificate.private_key_pem.bytes(), 0o600)
        self.write("users", f"{USERNAME}:{{PLAIN}}{PASSWORD}::::::\n", 0o600)
        owner, logs_in = pwd.getpwnam("nobody"), pwd.getpwnam("dovecot")
        shutil.chown(self.home / "users", logs_in.pw_uid)
        self.mail.mkdir()
        shutil.chown(self.mail, owner.pw_uid, owner.pw_gid)
        relay = self._relay.ports[2] if self._relay else 9
        text = _CONFIGURATION.format(
            home=self.home,
            size=SIZE,
            user=USERNAME,
            password=PASSWORD,
            relay=relay,
            owner=owner,
            ports=self.ports,
        )
        self.write("dovecot.conf", text + self._extra, 0o600)
        self.start(["dovecot", "-F", "-c", self.home / "dovecot.conf"])

    def delivered(self, count: int) -> list[bytes]:
        """Wait until Bob's mailbox at the relay holds ``count`` messages; return them."""
        assert self._relay is not None
        return self._relay.delivered(count)


_CONFIGURATION = """
protocols = submission imap
listen = 127.0.0.1
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/dovecot.log
instance_name = {home}
hostname = mail.example.net
ssl = required
ssl_cert = <{home}/cert.pem
ssl_key = <{home}/key.pem
auth_mechanisms = plain login cram-md5
auth_failure_delay = 0
passdb {{
  driver = passwd-file
  args = {home}/users
}}
userdb {{
  driver = static
  args = uid={owner.pw_uid} gid={owner.pw_gid} home={home}/mail
}}
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:{home}/mail
submission_max_mail_size = {size}
submission_relay_host = 127.0.0.1
submission_relay_port = {relay}
submission_relay_ssl = starttls
submission_relay_ssl_verify = no
submission_relay_user = {user}
submission_relay_password = "{password}"
service submission-login {{
  chroot =
  inet_listener submission {{
    port = {ports[0]}
  }}
  inet_listener submissions {{
    port = {ports[1]}
    ssl = yes
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {ports[2]}
  }}
  inet_listener imaps {{
    port = {ports[3]}
    ssl = yes
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""
