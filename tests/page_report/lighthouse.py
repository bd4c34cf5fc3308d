"""Lighthouse's scores of pages, measured as it does by default: a phone with a slow network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.journeys.conftest import find_browser

PROGRAM = Path(sys.prefix) / "pages" / "node_modules" / "lighthouse" / "cli" / "index.js"
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
_CHROMIUM = (
    "--headless=new --no-sandbox --disable-background-networking --disable-component-update --disable-sync "
    "--no-first-run"
)


def is_installed() -> bool:
    """Return whether ``tests/browser.sh`` could install Lighthouse, and Node.js is there to run it."""
    return PROGRAM.exists() and shutil.which("node") is not None


@dataclass(frozen=True)
class Result:
    """What Lighthouse found on one page: the score of each category, 0 to 100, and the audits that cost points."""

    scores: dict[str, int]
    lost: list[str]


def measure(url: str, cookies: dict[str, str] | None = None) -> Result:
    """Measure a page; with cookies, as the person who has them sees it. Raises RuntimeError where Lighthouse fails."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        header = {"Cookie": "; ".join(f"{key}={value}" for key, value in (cookies or {}).items())}
        (folder / "headers.json").write_text(json.dumps(header if cookies else {}))
        for _ in range(
            3
        ):  # on a busy machine Chromium now and then gives it no trace, and it asks to be run again
            run = subprocess.run(
                _command(url, folder),
                env={**os.environ, "CHROME_PATH": find_browser() or ""},
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            if run.returncode == 0:
                break
        else:
            raise RuntimeError(f"Lighthouse failed on {url}: {run.stderr[-600:]}")
        report = json.loads((folder / "report.json").read_text())
    if report["finalDisplayedUrl"] != url:
        raise RuntimeError(f"{url} leads to {report['finalDisplayedUrl']}")
    return Result(
        {name: round(100 * report["categories"][name]["score"]) for name in CATEGORIES},
        [
            f"{name}: {one['id']}"
            for name in CATEGORIES
            for one in report["categories"][name]["auditRefs"]
            if one["weight"]
            and (report["audits"][one["id"]]["score"] or 0) < 1
            and report["audits"][one["id"]]["scoreDisplayMode"]
            not in {"notApplicable", "manual", "informative"}
        ],
    )


def _command(url: str, folder: Path) -> list[str]:
    return [
        "node",
        str(PROGRAM),
        url,
        "--quiet",
        f"--chrome-flags={_CHROMIUM}",
        "--output=json",
        f"--output-path={folder / 'report.json'}",
        f"--only-categories={','.join(CATEGORIES)}",
        f"--extra-headers={folder / 'headers.json'}",
        "--disable-full-page-screenshot",
        "--max-wait-for-load=180000",
        "--no-enable-error-reporting",
    ]
