"""``make sbom`` writes a CycloneDX document with every package of the lock and its hashes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.txt"


def test_the_bill_of_materials_has_every_package_of_the_lock_and_its_hashes(tmp_path: Path) -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\nsbom:")[2].partition("\n\n")[0]
    arguments = re.search(r"cyclonedx-py (.*) --output-file", recipe)[1].split()
    program = shutil.which("cyclonedx-py", path=str(Path(sys.executable).parent))
    target = tmp_path / "sbom.json"
    subprocess.run(
        [program, *arguments, "--no-validate", "--output-file", str(target)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    document = json.loads(target.read_text())
    assert document["bomFormat"] == "CycloneDX"
    locked = dict(re.findall(r"^([a-z0-9_.-]+)(?:\[[a-z,]+\])?==(\S+)", LOCK.read_text(), re.M))
    assert len(locked) > 30
    assert {one["name"]: one["version"] for one in document["components"]} == locked
    hashes = {
        found["content"]
        for one in document["components"]
        for reference in one["externalReferences"]
        for found in reference["hashes"]
    }
    assert hashes == set(re.findall(r"--hash=sha256:([0-9a-f]{64})", LOCK.read_text()))
    assert document["metadata"]["component"]["name"] == "signet"
