"""Access to the pages of the accounts for visitors and owners."""

from __future__ import annotations

import pytest

PUBLIC = [
    "/log-in",
    "/register",
    "/forgot-password",
    "/forgot-password/check-your-inbox",
    "/register/check-your-inbox",
]


@pytest.mark.parametrize("path", PUBLIC)
def test_a_visitor_sees_the_public_pages(client, path):
    assert client.get(path).status_code == 200


def test_an_owner_sees_the_account_page(owner):
    page = owner.get("/account").get_data(as_text=True)
    assert "ada@brightleaf.example" in page
    assert "This device" in page


def test_a_visitor_is_redirected_to_log_in_with_the_requested_path(client):
    answer = client.get("/account")
    assert answer.status_code == 303
    assert answer.location == "/log-in?next=/account"
