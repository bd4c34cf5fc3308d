"""The lint of the tests: a page that passed hides no fault of a page that differs from it only a little."""

from __future__ import annotations

import pytest

from tests.pages import form_of, lint

PAGE = """<!DOCTYPE html>
<html lang="en">
  <head><title>Deliveries · Signet</title><link rel="stylesheet" href="/static/v-1/portal.css"></head>
  <body>
    <h1>Deliveries</h1>
    <table><tr><td>Grace Hopper</td><td>3 of 4</td></tr></table>
    <img src="/logo.png" alt="Brightleaf">
    <form method="post" action="/deliveries/7/resend">
      <input type="hidden" name="csrf_token" value="a.b-c">
      <label for="name">Name</label> <input id="name" name="name" value="Ada" aria-describedby="hint">
      <p id="hint">As in &lt;the&gt; letter</p>
      <label for="password">Password</label> <input id="password" name="password" type="password" value="">
    </form>
  </body>
</html>
"""
FAULTS = [
    ("Grace Hopper</td>", "Grace Hopper</td><p>lost</p>", "not valid HTML"),
    ("<td>Grace Hopper", "<td>Grace & <Hopper", "not valid HTML"),
    ("<td>Grace Hopper", "<td>Grace \x00", "not valid HTML"),
    ("3 of 4", "3 of 4</p></b>", "not valid HTML"),
    ('value="Ada"', 'value="Ada" value="Bo"', "not valid HTML"),
    ('value="Ada"', 'value="Ada"onclick="x"', "not valid HTML"),
    ('value="Ada"', 'value="Ada" onclick="x"', "no inline script"),
    ("<td>3 of 4", '<td style="x">3 of 4', "no inline style"),
    ("Deliveries · Signet", "Deliveries</title><script>x</script><title>Signet", "no inline script"),
    ('href="/static', 'href="//cdn.example', "no asset from elsewhere"),
    ('src="/logo.png"', 'src="https://cdn.example/logo.png"', "no asset from elsewhere"),
    (' alt="Brightleaf"', "", "an image has an alt text"),
    ('type="password" value=""', 'type="password" value="secret"', "a password is never sent back"),
    ('id="hint"', 'id="name"', "ids are unique"),
    ('aria-describedby="hint"', 'aria-describedby="hints"', "aria-describedby names"),
    ('for="name"', 'for="names"', "has a label"),
    ("csrf_token", "token", "carries a CSRF token"),
    ("<h1>Deliveries</h1>", "<h1>Deliveries</h1><h1>Log</h1>", "one h1"),
    (' lang="en"', "", "names its language"),
]


@pytest.mark.parametrize(("right", "wrong", "fault"), FAULTS)
def test_a_fault_is_found_after_a_similar_page_has_passed(right, wrong, fault):
    lint(PAGE, "")
    assert right in PAGE
    for _ in range(2):  # what has failed once fails again
        with pytest.raises(AssertionError, match=fault):
            lint(PAGE.replace(right, wrong), "")


def test_the_policy_is_checked_of_each_page():
    lint(PAGE, "default-src 'none'")
    with pytest.raises(AssertionError, match="content security policy"):
        lint(PAGE, "script-src 'unsafe-inline'")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Grace Hopper", "Ada O&#39;Neil (12 %)"),
        ("a.b-c", "d-e_f"),
        ('value="Ada"', 'value="Bo &amp; Co"'),
        ("/deliveries/7/resend", "/deliveries/8/resend?page=2"),
    ],
)
def test_pages_that_differ_in_texts_and_values_have_one_form(one, other):
    assert form_of(PAGE.replace(one, other)) == form_of(PAGE) != PAGE
