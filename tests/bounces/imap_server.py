"""A scripted IMAP server for the mailbox reader, on the sockets of ``tests.smtp.badserver``."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.smtp.badserver import PASSWORD, USERNAME, Peer

Answer = Callable[[Peer, bytes, bytes], None]  # peer, tag, line


@dataclass
class ImapScript:
    """Serves one folder. ``mails`` are by UID; ``answers`` replace what a command is answered with, by its name."""

    mails: dict[int, bytes] = field(default_factory=dict)
    uid_validity: int = 7
    capabilities: bytes = b"IMAP4rev1 AUTH=PLAIN SASL-IR"
    folder: bytes = b'"INBOX"'
    answers: dict[bytes, Answer] = field(default_factory=dict)
    starttls: bool = False
    states_next_uid: bool = True  # as the folder is opened
    certificate: str = "good"  # see tests.smtp.badserver.context
    tokens: set[str] = field(default_factory=set)  # that XOAUTH2 accepts
    token_log_ins: list[tuple[str, bool]] = field(default_factory=list)  # user, and whether it was let in
    commands: list[bytes] = field(default_factory=list)  # without credentials
    fetched: list[int] = field(default_factory=list)  # UIDs of which more than headers was asked for

    def __call__(self, peer: Peer) -> None:
        if not self.starttls:
            peer.encrypt(self.certificate)
        peer.send(b"* OK ready\r\n")
        while True:
            tag, _, line = peer.receive().rstrip(b"\r\n").partition(b" ")
            name = line.partition(b" ")[0].upper()
            if name == b"UID":
                name += b" " + line.split(b" ")[1].upper()
            self.commands.append(line if name != b"LOGIN" else b"LOGIN")
            self.answers.get(name, self._answer)(peer, tag, line)

    def _answer(self, peer: Peer, tag: bytes, line: bytes) -> None:
        name = line.partition(b" ")[0].upper()
        if name == b"CAPABILITY":
            peer.send(b"* CAPABILITY " + self.capabilities + b"\r\n" + tag + b" OK done\r\n")
        elif name == b"STARTTLS":
            peer.send(tag + b" OK go on\r\n")
            peer.encrypt()
        elif name == b"AUTHENTICATE":
            (self._xoauth2 if b"XOAUTH2" in line else self._authenticate)(peer, tag)
        elif name == b"EXAMINE" and line.endswith(self.folder):
            state = f"* {len(self.mails)} EXISTS\r\n* OK [UIDVALIDITY {self.uid_validity}] ok\r\n"
            if self.states_next_uid:
                state += f"* OK [UIDNEXT {max(self.mails, default=0) + 1}] ok\r\n"
            peer.send(state.encode() + tag + b" OK [READ-ONLY] done\r\n")
        elif name == b"UID" and b"SEARCH" in line:
            self._search(peer, tag, line)
        elif name == b"UID" and b"FETCH" in line:
            self._fetch(peer, tag, line)
        elif name == b"LOGOUT":
            peer.send(b"* BYE see you\r\n" + tag + b" OK done\r\n")
        else:
            peer.send(tag + b" NO not that\r\n")

    def _authenticate(self, peer: Peer, tag: bytes) -> None:
        peer.send(b"+ \r\n")
        _, username, password = base64.b64decode(peer.receive()).decode().split("\0")
        known = (username, password) == (USERNAME, PASSWORD)
        peer.send(
            tag
            + (b" OK welcome\r\n" if known else b" NO [AUTHENTICATIONFAILED] secret words of the server\r\n")
        )

    def _xoauth2(self, peer: Peer, tag: bytes) -> None:
        peer.send(b"+ \r\n")
        user, bearer, *_ = base64.b64decode(peer.receive()).decode().split("\1")
        known = bearer.removeprefix("auth=Bearer ") in self.tokens
        self.token_log_ins.append((user.removeprefix("user="), known))
        if not known:  # the reason, which the client answers with an empty line
            peer.send(b"+ " + base64.b64encode(b'{"status":"401","schemes":"bearer"}') + b"\r\n")
            assert not peer.receive().strip()
        peer.send(tag + (b" OK welcome\r\n" if known else b" NO AUTHENTICATE failed.\r\n"))

    def _search(self, peer: Peer, tag: bytes, line: bytes) -> None:
        if line.endswith(b"UID *"):
            first = last = max(self.mails)
        else:
            first, last = map(int, re.search(rb"UID (\d+):(\d+)", line).groups())
        found = [uid for uid in sorted(self.mails) if first <= uid <= last]
        peer.send(b"* SEARCH " + b" ".join(b"%d" % uid for uid in found) + b"\r\n" + tag + b" OK done\r\n")

    def _fetch(self, peer: Peer, tag: bytes, line: bytes) -> None:
        uids = [int(one) for one in line.split(b" ")[2].split(b",")]
        is_header = b"[HEADER]" in line
        limit = int(re.search(rb"<0\.(\d+)>", line)[1])
        for number, uid in enumerate(uids, 1):
            raw = self.mails.get(uid, b"").replace(b"\n", b"\r\n")
            if not raw:
                continue
            if not is_header:
                self.fetched.append(uid)
            body = (raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if is_header else raw)[:limit]
            section = b"BODY[HEADER]<0>" if is_header else b"BODY[]<0>"
            items = b"UID %d RFC822.SIZE %d %s {%d}\r\n" % (uid, len(raw), section, len(body))
            peer.send(b"* %d FETCH (" % number + items + body + b")\r\n")
        peer.send(tag + b" OK done\r\n")
