"""Postfix, started by root on loopback: as the server of the tests, and with another configuration as a relay."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path

from tests.smtp.badserver import PASSWORD, USERNAME, authority

from .servers import SIZE, TIMEOUT_S, Started, search_path

_PROGRAMS = ("postfix", "saslpasswd2")
_DAEMONS = next(
    (p for p in map(Path, ("/usr/lib/postfix/sbin", "/usr/libexec/postfix")) if p.is_dir()), Path("/")
)


def postfix_missing() -> str | None:
    missing = [name for name in _PROGRAMS if shutil.which(name, path=search_path()) is None]
    if missing:
        return f"{' and '.join(missing)} not found; tests/interop.sh installs what is needed"
    return None if os.geteuid() == 0 else "Postfix can be started by root alone"


class PostfixServer(Started):
    """Postfix with a configuration of its own."""

    def run(self, main: str, services: str) -> None:
        """Start it with these further lines of main.cf and master.cf."""
        for name in ("queue", "data"):
            (self.home / name).mkdir()
        owner = pwd.getpwnam("postfix")
        os.chown(self.home / "data", owner.pw_uid, owner.pw_gid)
        self.write("etc/main.cf", _MAIN.format(home=self.home) + main)
        self.write("etc/master.cf", services + _SERVICES)
        environment = {**os.environ, "PATH": search_path()}
        check = ["postfix", "-c", self.home / "etc", "check"]
        subprocess.run(check, check=True, capture_output=True, env=environment)
        # Not "postfix start-fg": terminating that would leave the master process and its children running.
        self.start([_DAEMONS / "master", "-c", self.home / "etc", "-d"])


class Postfix(PostfixServer):
    """Ports: STARTTLS; implicit TLS; STARTTLS without SIZE and PIPELINING, with senders refused at MAIL."""

    def __init__(self) -> None:
        super().__init__(3)

    def configure(self) -> None:
        certificate = authority().issue_cert("localhost")
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        key = self.write("tls.pem", certificate.private_key_pem.bytes() + chain, 0o600)
        self._make_users()
        (self.home / "mail").mkdir()
        delivery = pwd.getpwnam("nobody")
        os.chown(self.home / "mail", delivery.pw_uid, delivery.pw_gid)
        main = _MAIN_OF_TESTS.format(home=self.home, key=key, delivery=delivery, size=SIZE)
        self.run(main, _SERVICES_OF_TESTS.format(*self.ports))

    def _make_users(self) -> None:
        database = self.home / "etc" / "sasl" / "users"
        self.write(
            "etc/sasl/smtpd.conf",
            f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {database}\nmech_list: PLAIN LOGIN CRAM-MD5\n",
        )
        name, _, realm = USERNAME.partition("@")
        command = ["saslpasswd2", "-p", "-c", "-f", str(database), "-u", realm, name]
        env = {**os.environ, "PATH": search_path()}
        subprocess.run(command, input=PASSWORD.encode(), check=True, capture_output=True, env=env)
        shutil.chown(database, "postfix")

    def delivered(self, count: int) -> list[bytes]:
        """Wait until Bob's mailbox holds ``count`` messages; return them unchanged."""
        deadline = time.monotonic() + TIMEOUT_S
        while len(found := sorted((self.home / "mail" / "bob" / "new").glob("*"))) < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(found)} of {count} messages arrived\n{self.log()}")
            time.sleep(0.05)
        return [path.read_bytes() for path in found]


_MAIN = """
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
maillog_file = {home}/mail.log
maillog_file_prefixes = {home}
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
"""
_MAIN_OF_TESTS = """
myhostname = mail.example.net
mynetworks =
message_size_limit = {size}
default_transport = discard:
virtual_transport = virtual:
virtual_mailbox_domains = example.net
virtual_mailbox_maps = inline:{{ {{bob@example.net = bob/}}, {{later@example.net = bob/}} }}
virtual_mailbox_base = {home}/mail
virtual_uid_maps = static:{delivery.pw_uid}
virtual_gid_maps = static:{delivery.pw_gid}
virtual_minimum_uid = 1
virtual_mailbox_limit = 0
smtpd_tls_chain_files = {key}
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
smtpd_sasl_security_options = noanonymous
cyrus_sasl_config_path = {home}/etc/sasl
smtpd_sender_login_maps = inline:{{ {{info@example.org = ada@example.org}}, {{boss@example.org = boss@example.org}} }}
smtpd_sender_restrictions = reject_sender_login_mismatch
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_recipient_restrictions =
 check_recipient_access inline:{{ {{later@example.net = 450 4.2.0 Greylisted, please try again later}} }}
 reject_unlisted_recipient
 permit
"""
_SERVICES_OF_TESTS = """
127.0.0.1:{0} inet n - n - - smtpd
127.0.0.1:{1} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
127.0.0.1:{2} inet n - n - - smtpd -o smtpd_discard_ehlo_keywords=size,pipelining -o smtpd_delay_reject=no
discard unix - - n - - discard
virtual unix - n n - - virtual
"""
_SERVICES = """
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
