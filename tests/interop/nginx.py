"""nginx with the configuration of docs/nginx.conf, before a portal on loopback."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.interop.servers import Started, search_path
from tests.smtp.badserver import authority

SHIPPED = Path(__file__).parents[2] / "docs" / "nginx.conf"
_MAIN = """
daemon off;
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{ worker_connections 768; }}
http {{
  access_log off;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  include {home}/signet.conf;
}}
"""


def nginx_missing() -> str | None:
    if shutil.which("nginx", path=search_path()) is None:
        return "nginx was not found; tests/interop.sh installs it"
    return None


class Nginx(Started):
    """Ports: TLS, and the one that redirects to it. ``ca`` is a file with the authority of its certificate."""

    def __init__(self, upstream: int) -> None:
        super().__init__(2)
        self._upstream = upstream

    @property
    def ca(self) -> Path:
        return self.home / "ca.pem"

    def configure(self) -> None:
        certificate = authority().issue_cert("localhost", "127.0.0.1")
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        self.write("fullchain.pem", chain)
        self.write("privkey.pem", certificate.private_key_pem.bytes(), 0o600)
        self.write("ca.pem", authority().cert_pem.bytes())
        self.write("signet.conf", self._adapted(SHIPPED.read_text()))
        self.write("nginx.conf", _MAIN.format(home=self.home))
        self.start(["nginx", "-p", self.home, "-e", self.home / "error.log", "-c", self.home / "nginx.conf"])

    def _adapted(self, text: str) -> str:
        """Return the shipped configuration with the addresses and files of this test."""
        changes = {
            "listen 80;": f"listen 127.0.0.1:{self.ports[1]};",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.ports[0]} ssl;",
            "http://web:8000": f"http://127.0.0.1:{self._upstream}",
        }
        for shipped, here in changes.items():
            assert text.count(shipped) == 1, shipped
            text = text.replace(shipped, here)
        return re.sub(r"/etc/nginx/certificates", str(self.home), text)
