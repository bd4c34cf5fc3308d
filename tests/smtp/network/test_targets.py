"""The operator's list of private targets, as people write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal.smtp.network.targets import parse_targets


@pytest.mark.parametrize(
    ("text", "network", "port", "plaintext"),
    [
        ("10.0.0.5:587", "10.0.0.5/32", 587, False),
        ("10.0.0.0/24:25:plaintext", "10.0.0.0/24", 25, True),
        ("[fd00::5]:587", "fd00::5/128", 587, False),
        ("[fd00::/64]:25", "fd00::/64", 25, False),
        ("[fd00::]/64:25:plaintext", "fd00::/64", 25, True),
        ("fd00::5/128:587", "fd00::5/128", 587, False),
        ("::1/128:2525", "::1/128", 2525, False),
        ("[::1]/128:25", "::1/128", 25, False),
    ],
)
def test_a_target_is_read_in_every_usual_spelling(text, network, port, plaintext):
    (target,) = parse_targets(text)
    assert (str(target.network), target.port, target.plaintext, target.ca_file) == (
        network,
        port,
        plaintext,
        None,
    )


def test_a_target_names_its_own_authority(tmp_path: Path):
    authority = tmp_path / "ca.pem"
    authority.touch()
    one, two = parse_targets(f"10.0.0.5:587:ca={authority}, [fd00::5]:25:plaintext:ca={authority}")
    assert (one.ca_file, one.plaintext) == (str(authority), False)
    assert (two.ca_file, two.plaintext) == (str(authority), True)


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.5",
        "mail.internal:587",
        "10.0.0.5/32:0",
        "10.0.0.5/32:99999",
        "10.0.0.5/33:25",
        "10.0.0.1/24:25",
        "[fd00::5]",
        "[fd00::5",
        "10.0.0.5:25:plain",
        "10.0.0.5:25:ca=/no/such/file.pem",
        "10.0.0.5:٢٥",
    ],
)
def test_a_malformed_target_is_refused_with_its_text(text):
    with pytest.raises(ValueError, match=r"holds|names"):
        parse_targets(text)
