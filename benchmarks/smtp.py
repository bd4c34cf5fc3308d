"""Messages for each second: Signet's engine, Flask-Mail as it comes, and nodemailer's pool, in one run.

    python benchmarks/smtp.py [--seconds 2]

Every client composes and sends messages of 3.5 kB (text and HTML, the recipient's values in both) over one
connection, in a process of its own, to the same server in another process: first straight over loopback,
then over a road that takes 10 ms in each direction. "per core" divides by the seconds of processor time the
client itself used. The best of three rounds counts. Nodemailer is installed into a temporary folder with npm,
and left out without npm.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import flask  # noqa: E402
import flask_mail  # noqa: E402

from portal.outbox.models import OutboxMessage  # noqa: E402
from portal.outbox.routing import Route  # noqa: E402
from portal.outbox.sending.message import AccountMessage  # noqa: E402
from portal.smtp.network.guard import EgressPolicy, PrivateTarget  # noqa: E402
from portal.smtp.protocol.envelope import Acceptance, OutgoingMessage  # noqa: E402
from portal.smtp.protocol.session import Session  # noqa: E402
from portal.smtp.server import Limits, Security, Server  # noqa: E402

ONE_WAY = 0.010  # seconds
ROUNDS = 3
WARM_UP = 400  # messages before the clock runs, so that every runtime has compiled and cached what it will
WORDS = {
    "name": "Example Partners",
    "sender": "info@example.org",
    "subject": "Commission {number} – well earned",
    "text": "Hello Affiliate {number},\n\n"
    + "You earned a commission of 12.50 € with order {number}.\n" * 25,
    "html": "<p>Hello Affiliate {number},</p>\n"
    + "<p>You earned a commission of <b>12.50 €</b> with order {number}.</p>\n" * 25,
}
Send = Callable[[int], None]


def filled(word: str, number: int) -> str:
    return WORDS[word].replace("{number}", str(number))


# -- the clients: each yields a function that composes and sends so many messages over what it opened once


@contextmanager
def signet(port: int) -> Iterator[Send]:
    """The message and the session that deliveries use; each acceptance is taken before the next message ends."""
    policy = EgressPolicy(private_targets=(PrivateTarget(ip_network("127.0.0.0/8"), port, True),))
    server = Server("127.0.0.1", port, Security.PLAINTEXT, policy=policy, limits=Limits())
    route = Route(server, WORDS["sender"], WORDS["name"])

    def compose(number: int) -> OutgoingMessage:
        row = OutboxMessage(
            recipient=f"r{number}@example.net",
            recipient_name=f"Affiliate {number}",
            subject=filled("subject", number),
            text=filled("text", number),
            html=filled("html", number),
            message_id=f"<{number:024x}@example.org>",
            private=False,
        )
        message = AccountMessage(row, route, now=datetime.now(UTC))
        return OutgoingMessage.build(WORDS["sender"], row.recipient, message.as_bytes())

    with Session(server) as session:

        def send(count: int) -> None:
            for outcome in session.submit_many(map(compose, range(count))):
                assert isinstance(outcome, Acceptance), outcome

        yield send


def flask_message(number: int) -> flask_mail.Message:
    return flask_mail.Message(
        filled("subject", number),
        [(f"Affiliate {number}", f"r{number}@example.net")],
        filled("text", number),
        filled("html", number),
        sender=(WORDS["name"], WORDS["sender"]),
        extra_headers={"Auto-Submitted": "auto-generated"},
    )


@contextmanager
def flask_kept(port: int) -> Iterator[Send]:
    with flask_mail_at(port) as mail, mail.connect() as connection:

        def send(count: int) -> None:
            for number in range(count):
                connection.send(flask_message(number))

        yield send


@contextmanager
def flask_anew(port: int) -> Iterator[Send]:
    with flask_mail_at(port) as mail:

        def send(count: int) -> None:
            for number in range(count):
                mail.send(flask_message(number))

        yield send


@contextmanager
def flask_mail_at(port: int) -> Iterator[flask_mail.Mail]:
    app = flask.Flask(__name__)
    app.config.update(MAIL_SERVER="127.0.0.1", MAIL_PORT=port)
    mail = flask_mail.Mail(app)
    with app.app_context():
        yield mail


CLIENTS = {"signet": signet, "flask-kept": flask_kept, "flask-anew": flask_anew}


def measure(client: str, port: int, warm_up: int, count: int) -> None:
    """Run in the client's own process; print one line of JSON."""
    with CLIENTS[client](port) as send:
        send(warm_up)
        before, started = processor_time(), time.perf_counter()
        send(count)
        wall, cpu = time.perf_counter() - started, processor_time() - before
    print(json.dumps({"wall": wall, "cpu": cpu}))


def processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# -- the run

NAMES = {
    "signet": "Signet, one connection",
    "flask-kept": "Flask-Mail, connection kept",
    "flask-anew": "Flask-Mail, reconnecting",
    "nodemailer": "nodemailer {version}, pool of one",
}


@contextmanager
def beside(*arguments: str) -> Iterator[int]:
    """Run a helper program while the block runs; yield the port it printed."""
    command = [sys.executable, str(HERE / "sink.py"), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as helper:
        assert helper.stdout is not None
        assert helper.stdin is not None
        try:
            yield int(helper.stdout.readline())
        finally:
            with suppress(OSError):
                helper.stdin.close()


@contextmanager
def nodemailer() -> Iterator[tuple[str, str] | None]:
    """Yield where nodemailer is and its version, or None with a word why not."""
    if not shutil.which("npm"):
        print("npm is not installed: nodemailer is left out.")
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="signet-nodemailer-") as folder:
        install = [
            "npm",
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
            folder,
            "nodemailer",
        ]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        where = Path(folder) / "node_modules" / "nodemailer"
        if done.returncode or not where.is_dir():
            print("npm could not install nodemailer, so it is left out.")
            yield None
            return
        yield str(where), json.loads((where / "package.json").read_text())["version"]


def run(client: str, port: int, warm_up: int, count: int, module: str) -> dict[str, float]:
    numbers = [str(port), str(warm_up), str(count)]
    command = [sys.executable, str(HERE / "smtp.py"), "--measure", client, *numbers]
    if client == "nodemailer":
        command = ["node", str(HERE / "pool.mjs"), module, *numbers]
    done = subprocess.run(command, input=json.dumps(WORDS), capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return {"rate": count / figures["wall"], "per core": count / figures["cpu"]}


def table(
    title: str, clients: list[str], port: int, seconds: float, found: tuple[str, str] | None, warm: int
) -> None:
    """Let the clients send in turns, several times, and print the best of each: machines have other things to do."""
    module, version = found or ("", "")
    counts = {client: int(run(client, port, warm, 20, module)["rate"] * seconds) for client in clients}
    rounds = [{c: run(c, port, warm, max(20, counts[c]), module) for c in clients} for _ in range(ROUNDS)]
    best = {c: {key: max(one[c][key] for one in rounds) for key in ("rate", "per core")} for c in clients}
    print(
        f"\n{title}\n\n| client | messages/s | ratio | messages/s per core | ratio |\n|---|---:|---:|---:|---:|"
    )
    for client in clients:
        rates = [f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}" for rate in best[client].values()]
        ratios = [f"{best[clients[0]][key] / rate:.1f}" for key, rate in best[client].items()]
        name = NAMES[client].format(version=version)
        print(f"| {name} | {rates[0]} | {ratios[0]} | {rates[1]} | {ratios[1]} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each client sends in a round")
    parser.add_argument(
        "--measure", nargs=4, metavar=("CLIENT", "PORT", "WARMUP", "COUNT"), help=argparse.SUPPRESS
    )
    chosen = parser.parse_args()
    if chosen.measure:
        measure(chosen.measure[0], *map(int, chosen.measure[1:]))
        return
    with nodemailer() as found, beside("sink") as port, beside("road", str(port), str(ONE_WAY)) as road:
        clients = [client for client in NAMES if found or client != "nodemailer"]
        table("Straight over loopback", clients, port, chosen.seconds, found, WARM_UP)
        table("Over a road of 20 ms there and back", clients, road, chosen.seconds, found, 5)
    print("\nThe ratios say how many times as much Signet sends.")


if __name__ == "__main__":
    main()
