"""Messages per second of Signet's SMTP engine, unmodified Flask-Mail and nodemailer's pool, in one run.

    python benchmarks/smtp.py [--seconds 2]

Every client composes and sends messages of 3.5 kB (text and HTML, with the recipient's values in both) over one
connection, in a process of its own, to the same server in another process: first directly over loopback, then
through a proxy that delays each direction by 10 ms. "per core" divides by the processor time that the client used.
The best of three rounds counts. Nodemailer is installed into a temporary folder with npm, and omitted without npm.
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

ONE_WAY_DELAY_S = 0.010
ROUNDS = 3
WARM_UP = 400  # messages before the measurement, so that every runtime has compiled and filled its caches
TEMPLATE = {
    "name": "Example Partners",
    "sender": "info@example.org",
    "subject": "Commission {number} – well earned",
    "text": "Hello Affiliate {number},\n\n"
    + "You earned a commission of 12.50 € with order {number}.\n" * 25,
    "html": "<p>Hello Affiliate {number},</p>\n"
    + "<p>You earned a commission of <b>12.50 €</b> with order {number}.</p>\n" * 25,
}
Send = Callable[[int], None]


def render(part: str, number: int) -> str:
    return TEMPLATE[part].replace("{number}", str(number))


# -- the clients: each yields a function that composes and sends a number of messages


@contextmanager
def signet(port: int) -> Iterator[Send]:
    """Use the message and session classes of deliveries; each acceptance is read before the next message ends."""
    policy = EgressPolicy(private_targets=(PrivateTarget(ip_network("127.0.0.0/8"), port, True),))
    server = Server("127.0.0.1", port, Security.PLAINTEXT, policy=policy, limits=Limits())
    route = Route(server, TEMPLATE["sender"], TEMPLATE["name"])

    def compose(number: int) -> OutgoingMessage:
        row = OutboxMessage(
            recipient=f"r{number}@example.net",
            recipient_name=f"Affiliate {number}",
            subject=render("subject", number),
            text=render("text", number),
            html=render("html", number),
            message_id=f"<{number:024x}@example.org>",
            is_sealed=False,
        )
        message = AccountMessage(row, route, now=datetime.now(UTC))
        return OutgoingMessage.build(TEMPLATE["sender"], row.recipient, message.as_bytes())

    with Session(server) as session:

        def send(count: int) -> None:
            for outcome in session.submit_many(map(compose, range(count))):
                assert isinstance(outcome, Acceptance), outcome

        yield send


def flask_message(number: int) -> flask_mail.Message:
    return flask_mail.Message(
        render("subject", number),
        [(f"Affiliate {number}", f"r{number}@example.net")],
        render("text", number),
        render("html", number),
        sender=(TEMPLATE["name"], TEMPLATE["sender"]),
        extra_headers={"Auto-Submitted": "auto-generated"},
    )


@contextmanager
def flask_one_connection(port: int) -> Iterator[Send]:
    with flask_mail_for(port) as mail, mail.connect() as connection:

        def send(count: int) -> None:
            for number in range(count):
                connection.send(flask_message(number))

        yield send


@contextmanager
def flask_reconnecting(port: int) -> Iterator[Send]:
    with flask_mail_for(port) as mail:

        def send(count: int) -> None:
            for number in range(count):
                mail.send(flask_message(number))

        yield send


@contextmanager
def flask_mail_for(port: int) -> Iterator[flask_mail.Mail]:
    app = flask.Flask(__name__)
    app.config.update(MAIL_SERVER="127.0.0.1", MAIL_PORT=port)
    mail = flask_mail.Mail(app)
    with app.app_context():
        yield mail


CLIENTS = {"signet": signet, "flask-connection": flask_one_connection, "flask-reconnect": flask_reconnecting}


def measure(client: str, port: int, warm_up: int, count: int) -> None:
    """Run in the client's own process; print one JSON line."""
    with CLIENTS[client](port) as send:
        send(warm_up)
        cpu_before, started = processor_time_s(), time.perf_counter()
        send(count)
        wall, cpu = time.perf_counter() - started, processor_time_s() - cpu_before
    print(json.dumps({"wall": wall, "cpu": cpu}))


def processor_time_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# -- the run

NAMES = {
    "signet": "Signet, one connection",
    "flask-connection": "Flask-Mail, connection kept",
    "flask-reconnect": "Flask-Mail, reconnecting",
    "nodemailer": "nodemailer {version}, pool of one",
}


@contextmanager
def run_helper(*arguments: str) -> Iterator[int]:
    """Run `sink.py` for the duration of the block; yield the port that it printed."""
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
    """Install nodemailer; yield its folder and version, or None after printing the reason."""
    if not shutil.which("npm"):
        print("npm is not installed: nodemailer is omitted.")
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
        package = Path(folder) / "node_modules" / "nodemailer"
        if done.returncode or not package.is_dir():
            print("npm could not install nodemailer, so it is omitted.")
            yield None
            return
        yield str(package), json.loads((package / "package.json").read_text())["version"]


def run(client: str, port: int, warm_up: int, count: int, module: str) -> dict[str, float]:
    numbers = [str(port), str(warm_up), str(count)]
    command = [sys.executable, str(HERE / "smtp.py"), "--measure", client, *numbers]
    if client == "nodemailer":
        command = ["node", str(HERE / "pool.mjs"), module, *numbers]
    done = subprocess.run(command, input=json.dumps(TEMPLATE), capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return {"rate": count / result["wall"], "per core": count / result["cpu"]}


def compare(
    title: str, clients: list[str], port: int, seconds: float, package: tuple[str, str] | None, warm_up: int
) -> None:
    """Let the clients send in turns for several rounds and print the best round of each.

    Other work on the machine slows single rounds.
    """
    module, version = package or ("", "")
    counts = {client: int(run(client, port, warm_up, 20, module)["rate"] * seconds) for client in clients}
    rounds = [{c: run(c, port, warm_up, max(20, counts[c]), module) for c in clients} for _ in range(ROUNDS)]
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
    parser.add_argument("--seconds", type=float, default=2.0, help="sending time of each client in a round")
    parser.add_argument(
        "--measure", nargs=4, metavar=("CLIENT", "PORT", "WARMUP", "COUNT"), help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    if options.measure:
        measure(options.measure[0], *map(int, options.measure[1:]))
        return
    delay = str(ONE_WAY_DELAY_S)
    with nodemailer() as package, run_helper("sink") as port, run_helper("road", str(port), delay) as proxy:
        clients = [client for client in NAMES if package or client != "nodemailer"]
        compare("Over loopback", clients, port, options.seconds, package, WARM_UP)
        compare("With a round trip of 20 ms", clients, proxy, options.seconds, package, 5)
    print("\nA ratio is Signet's rate divided by the client's.")


if __name__ == "__main__":
    main()
