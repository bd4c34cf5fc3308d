"""Contrast of accent colours."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.notices import colours


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine pauses the process
@given(st.from_regex(r"#[0-9a-fA-F]{6}", fullmatch=True))
def test_any_colour_is_made_readable(colour):
    assert colours.contrast_with_white(colours.make_readable(colour)[0]) >= 4.5
