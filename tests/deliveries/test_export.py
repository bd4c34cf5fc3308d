"""The CSV export of the delivery log."""

from __future__ import annotations

import csv
import io

import pytest

from portal.deliveries import export
from portal.outbox.models import Outcome, Status
from tests.pages import downloaded

pytestmark = pytest.mark.both_databases


def _table(browser, query=""):
    """Download the export and return its rows."""
    response = downloaded(browser, f"/deliveries/export.csv?{query}")
    assert response.status_code == 200
    assert response.headers["Content-Disposition"].startswith('attachment; filename="brightleaf-deliveries-')
    return list(csv.DictReader(io.StringIO(response.get_data(as_text=True).lstrip("\ufeff"))))


def test_the_export_contains_the_filtered_messages(owner, enqueue, add_attempt, monkeypatch):
    monkeypatch.setattr(export, "BATCH", 2)
    rows = [enqueue(status=Status.SENT) for _ in range(5)]
    add_attempt(rows[0], Outcome.DEFERRED, 1, reply_code=451)
    add_attempt(rows[0], Outcome.ACCEPTED, 2, reply_code=250, queue_id="4Xyz")
    enqueue()
    found = _table(owner, "status=sent")
    assert [int(row["id"]) for row in found] == [row.id for row in reversed(rows)]
    last = found[-1]
    assert (last["reply_code"], last["queue_id"], last["attempts"], last["settings_version"]) == (
        "250", "4Xyz", "2", "3",
    )  # fmt: skip
    assert last["owed_at"].endswith("Z")
    assert "T" in last["owed_at"]
    assert len(_table(owner)) == 6


def test_the_export_contains_only_messages_of_the_own_account(owner, stranger, client, enqueue):
    enqueue()
    assert client.get("/deliveries/export.csv").status_code == 405
    assert "person" not in downloaded(stranger, "/deliveries/export.csv").get_data(as_text=True)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", " =", "＝"])
def test_cells_are_not_read_as_formulas(owner, enqueue, start):
    enqueue(recipient_name=f'{start}HYPERLINK("http://x.example")')
    (row,) = _table(owner)
    assert row["recipient_name"].startswith("'")
