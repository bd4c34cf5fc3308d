"""Command line of the SMTP engine, without web and database: ``python -m portal.smtp explain --help``."""

from __future__ import annotations

import sys

from .diagnosis import explain_cli

_USAGE = (
    "usage: python -m portal.smtp explain [--server HOST] [--stage STAGE] --reply TEXT [--json] | --jsonl\n"
)

if __name__ == "__main__":
    if sys.argv[1:2] != ["explain"]:
        sys.stderr.write(_USAGE)
        sys.exit(2)
    sys.exit(explain_cli.main(sys.argv[2:]))
