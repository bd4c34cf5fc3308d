"""``make security``: every attack against the portal, as a table that exits with 1 if a figure exceeds its bound.

``python -m tests.security.report --short`` takes about a minute; ``--only NAME`` runs single parts, ``--list`` names them.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import databases
from tests.security import headers, mail_bomb, registration_relay, ssrf, tenants
from tests.security.rows import Row

ROOT = Path(__file__).parents[2]
MESSAGES, MESSAGES_SHORT = 20_000, 1_000
POSTS, POSTS_SHORT = 1_000, 24  # for each victim, form and mode of registration
_WIDTHS = (78, 18)  # of the first two columns


@dataclass(frozen=True)
class Options:
    """How much is tried."""

    folder: Path  # empty; removed afterwards
    short: bool = False


def run_tenants(options: Options) -> Iterator[Row]:
    """Run the matrix, the CSRF check and the safe methods on both databases."""
    yield from _tenants(options.folder / "sqlite", "", "SQLite")
    if options.short:
        return
    found = databases.binaries()
    if found is None:
        yield Row("PostgreSQL", "installed", "not installed: nothing was tried on it", False)
        return
    with databases.cluster(found) as cluster:
        with cluster.connect() as connection:
            connection.execute("CREATE DATABASE tenants")
        yield from _tenants(options.folder / "postgresql", cluster.url("tenants"), "PostgreSQL")


def _tenants(folder: Path, url: str, label: str) -> Iterator[Row]:
    with tenants.portal(folder, url) as place:
        yield from tenants.matrix(place, label)
        yield from tenants.csrf(place, label)
        yield from tenants.safe_methods(place, label)


def run_ssrf(options: Options) -> Iterator[Row]:
    """Try inner addresses in both fields, and hostile answers of the DNS."""
    yield from ssrf.rows()
    yield tests_row(options, "hostile answers of the DNS", "tests/smtp/network/test_guard.py")


def run_servers(options: Options) -> Iterator[Row]:
    """Let hostile mail servers ask for the password."""
    yield tests_row(options, "hostile SMTP servers", "tests/smtp/protocol/test_bad_servers.py")
    yield tests_row(options, "certificates and encryption", "tests/smtp/protocol/test_tls.py")


def run_headers(options: Options) -> Iterator[Row]:
    """Compose messages from hostile text."""
    yield from headers.rows(MESSAGES_SHORT if options.short else MESSAGES)


def run_canary(options: Options) -> Iterator[Row]:
    """Search files, logs and pages for a password that passed through everything, and for a planted one."""
    yield tests_row(
        options, "secret canary and planted control", "tests/test_secrets.py", "tests/test_security_log.py"
    )


def run_bombs(options: Options) -> Iterator[Row]:
    """Post the public forms in other people's names."""
    yield from mail_bomb.rows(_made(options.folder / "bombs"), posts=POSTS_SHORT if options.short else POSTS)


def run_relay(options: Options) -> Iterator[Row]:
    """Register in order to send spam through the operator's sender."""
    yield from registration_relay.rows(_made(options.folder / "relay"))
    yield tests_row(options, "limits of unapproved accounts", "tests/enrolment/test_unapproved_accounts.py")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def run_texts(options: Options) -> Iterator[Row]:
    """Measure what 20 kB of hostile text cost in each function that reads text."""
    run = subprocess.run([sys.executable, "-m", "benchmarks.texts"], cwd=ROOT, capture_output=True, text=True)
    yield texts_row(run.stdout, passed=run.returncode == 0)


def texts_row(output: str, *, passed: bool) -> Row:
    """Return the row of what ``benchmarks.texts`` printed; the figure names the function and the text that cost most."""
    lines = re.findall(r"^(.{34}) +([0-9.]+)  (['\"].*?)(?:  SLOW)?$", output, re.M)
    costs = sorted(((float(cost), name.strip(), text) for name, cost, text in lines), reverse=True)
    worst = f"{costs[0][0]}: {costs[0][1]}, of {costs[0][2]}" if costs else "nothing"
    row_name = f"text bombs: 20 kB in each of {len(costs)} functions, ms"
    return Row(row_name, "at most 50", worst, passed and bool(costs))


def run_starvation(options: Options) -> Iterator[Row]:
    """Occupy the worker with checks against servers that never answer."""
    yield tests_row(options, "one account starves the others", "tests/settings/test_check_queue.py")


def run_pickles(options: Options) -> Iterator[Row]:
    """Write code into the job store."""
    yield tests_row(options, "pickles and other rows in the job store", "tests/jobs/test_refused_jobs.py")
    if not options.short:
        arguments = ("--database=postgresql", "tests/jobs/test_refused_jobs.py")
        yield tests_row(options, "the same in PostgreSQL", *arguments)


PARTS: dict[str, Callable[[Options], Iterator[Row]]] = {
    "tenants": run_tenants,
    "ssrf": run_ssrf,
    "servers": run_servers,
    "headers": run_headers,
    "canary": run_canary,
    "bombs": run_bombs,
    "relay": run_relay,
    "texts": run_texts,
    "starvation": run_starvation,
    "pickles": run_pickles,
}


def tests_row(options: Options, name: str, *arguments: str) -> Row:
    """Run existing tests in a process of its own; the figure is how many failed."""
    marks = "not thorough" if options.short else ""
    command = [sys.executable, "-m", "pytest", "-n0", "-m", marks, *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error)", run.stdout)}
    passed, bad = counts.get("passed", 0), counts.get("failed", 0) + counts.get("error", 0)
    if not passed and not bad and options.short:
        return Row(f"{name} (tests)", "0 failed", "long tests only: left out", True)
    total = passed + bad
    return Row(f"{name} ({total} tests)", "0 failed", bad, run.returncode == 0 and passed > 0)


def run(names: list[str], options: Options, write: Callable[[str], object]) -> int:
    """Run parts and write the table as it grows; return 0 if every figure is within its bound, else 1."""
    write(_line("attack", "bound", "measured"))
    count, breaches = 0, 0
    for name in names:
        for row in _rows(name, options):
            count, breaches = count + 1, breaches + (not row.passed)
            write(_line(row.name, row.bound, f"{row.measured}{'' if row.passed else '   BREACH'}"))
    write(f"{count} figures, {breaches} beyond their bound")
    return 1 if breaches or not count else 0


def _rows(name: str, options: Options) -> Iterator[Row]:
    """Yield the rows of a part; an error in it is a breach, because nothing was measured."""
    try:
        yield from PARTS[name](options)
    except Exception as error:
        yield Row(name, "measured", f"{type(error).__name__}: {str(error)[:200]}", False)


def _line(name: str, bound: str, measured: str) -> str:
    return f"{name:{_WIDTHS[0]}} {bound:{_WIDTHS[1]}} {measured}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.security.report", description=__doc__)
    parser.add_argument("--short", action="store_true", help="SQLite only, fewer messages, no long tests")
    parser.add_argument("--only", action="append", choices=PARTS, help="run this part; repeatable")
    parser.add_argument("--list", action="store_true", help="name the parts")
    chosen = parser.parse_args(arguments)
    if chosen.list:
        print("\n".join(f"{name:12} {part.__doc__}" for name, part in PARTS.items()))
        return 0
    with tempfile.TemporaryDirectory(prefix="signet-security-") as folder:
        options = Options(Path(folder), short=chosen.short)
        return run(chosen.only or [*PARTS], options, lambda line: print(line, flush=True))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
