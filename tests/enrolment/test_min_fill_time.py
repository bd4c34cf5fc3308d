"""The bot check of the sign-up form."""

from __future__ import annotations

from dataclasses import replace

from portal.state import current_config, get_state
from tests.enrolment.support import GRACE, messages


def test_a_form_that_is_sent_too_fast_is_shown_again_with_its_input(app, owner, client):
    get_state(app).config = replace(current_config(), sign_up_seconds=2.0)
    answer = client.submit("/join/brightleaf", GRACE)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert "faster than most people type" in page
    assert 'value="grace@example.org"' in page
    assert not messages("confirm-sign-up")
