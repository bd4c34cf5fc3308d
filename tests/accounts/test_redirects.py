"""Where a log-in leads."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.accounts.conftest import ADA
from tests.conftest import PASSWORD
from tests.web.test_requests import OFF_SITE


@pytest.mark.parametrize("target", OFF_SITE)
def test_a_log_in_never_leads_off_the_site(client, ada, target):
    answer = client.submit(f"/log-in?next={quote(target, safe='')}", {"mailbox": ADA, "password": PASSWORD})
    assert answer.status_code == 303
    assert answer.location == "/settings/email-preferences"
