"""What providers let leave in which time, to begin the form of the limits with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Preset:
    """A provider's published limits; None where it has none of that kind."""

    per_second: int | None = None
    per_hour: int | None = None
    per_day: int | None = None


# By the id of the provider's card, whose own words say on which plan. Sources: the providers' help pages.
PRESETS: Mapping[str, Preset] = {
    "brevo": Preset(per_day=300),
    "gmail": Preset(per_day=500),
    "google-relay": Preset(per_day=10_000),
    "hostinger": Preset(per_day=1_000),
    "mailjet": Preset(per_day=200),
    "mailtrap": Preset(per_day=150),
    "microsoft365": Preset(per_hour=1_800, per_day=10_000),
}
