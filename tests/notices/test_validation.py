"""Validation of texts. The sentences of its errors are tested with the editor, in test_views_editor.py."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from portal.notices import validation
from portal.notices.catalogue import NEW_SIGN_UP
from portal.notices.texts import Text
from tests.notices.test_liquid import ACCOUNT, SOURCES


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(html=SOURCES)
def test_a_valid_text_does_not_change_when_validated_again(context, html):
    try:
        valid = validation.validate(NEW_SIGN_UP, ACCOUNT, Text("x", html))
    except validation.InvalidText as error:
        assert all(sentence for sentences in error.by_field.values() for sentence in sentences)
        return
    again = validation.validate(NEW_SIGN_UP, ACCOUNT, valid.text)
    assert again.text == valid.text


@pytest.mark.parametrize(
    ("part", "source", "sentence"),
    [
        ("html", "\n- a" * 4_999, "This has more than 400 elements; remove some."),
        ("markdown", "\n\n- a" * 501, "This has more than 500 lines, links, pictures or emphasised words; remove some."),
        ("markdown", "![" * 501, "This has more than 500 lines, links, pictures or emphasised words; remove some."),
        ("markdown", "**a** " * 501, "This has more than 500 lines, links, pictures or emphasised words; remove some."),
        ("markdown", "\\." * 2_001, "This has more than 2,000 of the signs * _ ~ ` \\ &; remove some."),
        ("subject", "x" * 2_001, "Shorten the subject to 200 characters; inboxes show about 60."),
        ("text", "{{ name | upcase | strip }} " * 101, "This has more than 150 filters; remove some."),
        ("subject", "}}" * 151, "This has more than 150 placeholders; remove some."),
        ("text", "$TEMPERATURE$ " * 151, "This has more than 150 placeholders; remove some."),
        ("text", "{a} " * 151, "This has more than 150 placeholders; remove some."),
    ],
)  # fmt: skip
def test_a_text_of_too_many_parts_is_refused(context, part, source, sentence):
    parts = {"subject": "x", "html": "<p>x</p>", "text": "", part: source}
    with pytest.raises(validation.InvalidText) as refused:
        validation.validate(NEW_SIGN_UP, ACCOUNT, Text(**parts))
    assert any(sentence.lower() in one.lower() for one in refused.value.by_field[part])
