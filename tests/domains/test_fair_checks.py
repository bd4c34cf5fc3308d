"""Name servers that do not answer delay the checks of their own accounts only."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from portal.accounts.registration import create_owner
from portal.clock import utcnow
from portal.db import db
from portal.domains import checks
from portal.domains.models import DomainCheck, DomainCheckState
from portal.jobs.fair_pool import FairPools
from portal.jobs.registry import job_registry
from portal.settings import versions
from portal.settings.validation import SettingsInput
from portal.state import get_state
from tests.conftest import PASSWORD
from tests.domains.conftest import FORM
from tests.domains.zones import MUTE
from tests.outbox.support import wait_for

pytestmark = pytest.mark.thorough
_SILENT = 5


def _check_soon(number: int, domain: str) -> int:
    """Save a draft of a new account, and give its check to the threads of the worker."""
    owner = create_owner(f"Shop {number}", "Bo Larsen", f"bo@{domain}", PASSWORD, now=utcnow())
    values = {**FORM, "domain": domain, "username": f"postmaster@{domain}"}
    version = versions.save_draft(owner, SettingsInput(**values), now=utcnow())
    checks.request_check(version, now=utcnow())
    return version.id


def _states() -> dict[str, DomainCheckState]:
    db.session.rollback()
    found = {
        row.domain: row.state for row in db.session.execute(select(DomainCheck.domain, DomainCheck.state))
    }
    db.session.rollback()
    return found


def test_silent_name_servers_of_several_accounts_delay_no_check_of_another_domain(app, zones):
    silent = [f"silent{number}.example" for number in range(_SILENT)]
    zones.faults |= dict.fromkeys(silent, MUTE)
    ids = [_check_soon(number, domain) for number, domain in enumerate([*silent, "shop.example"])]
    db.session.rollback()
    run = job_registry(app).tasks["check-domain"].call_local
    for version_id in ids:
        run(version_id)
    try:
        wait_for(lambda: _states()["shop.example"] is DomainCheckState.DONE)
        assert [_states()[domain] for domain in silent] == [DomainCheckState.RUNNING] * _SILENT
    finally:
        pools = get_state(app).part(FairPools)
        pools.request_stop()
        pools.finish()
    assert set(_states().values()) == {DomainCheckState.DONE}
