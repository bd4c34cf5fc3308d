"""The person who is erased: how texts that mention them are recognised, and what replaces them."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..affiliates import erased
from ..smtp.mailbox import readable_mailbox

if TYPE_CHECKING:
    from collections.abc import Iterable

# A shorter name or code stands in too many words, amounts and names of currencies.
_MIN_NAME_CHARS, _MIN_CODE_CHARS = 3, 4


@dataclass(frozen=True)
class Person:
    """What identified a person. It appears in no repr, log or job."""

    affiliate_id: int
    name: str
    mailboxes: list[str]  # the present one first
    codes: list[str]

    def __repr__(self) -> str:
        return f"Person({self.affiliate_id})"

    def dump(self) -> str:
        """Return the person as text, to be sealed."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Person:
        """Return the person that ``dump`` wrote."""
        return cls(**json.loads(text))

    @property
    def blank(self) -> str:
        """The mailbox that replaces theirs."""
        return erased.blank_mailbox(self.affiliate_id)

    def is_mailbox(self, text: str) -> bool:
        """Return whether a text is a mailbox of theirs."""
        return text.casefold() in self._keys

    def is_addressed(self, text: str) -> bool:
        """Return whether a text holds their mailbox. Others may have the same name, and a code may be a usual word."""
        return self._addresses.search(text) is not None

    def is_in_payload(self, body: str) -> bool:
        """Return whether the JSON of a webhook is about them: it names an affiliate by the code."""
        codes = (f'"affiliate":{{"code":{json.dumps(code)}}}' for code in self.codes)
        return any(code in body.replace('": ', '":') for code in codes) or self.is_addressed(body)

    def is_mentioned(self, text: str) -> bool:
        """Return whether a text holds their mailbox, name or code."""
        return self._pattern.search(text) is not None

    def without(self, value: Any) -> Any:
        """Return a value of JSON with their mailbox, name and code replaced in every text. Names of members stay."""
        if isinstance(value, str):
            return self._pattern.sub("[erased]", value)
        if isinstance(value, dict):
            return {key: self.without(one) for key, one in value.items()}
        return [self.without(one) for one in value] if isinstance(value, list) else value

    @cached_property
    def _keys(self) -> frozenset[str]:
        return frozenset(mailbox.casefold() for mailbox in self._spellings)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        words = [*self._spellings, *(code for code in self.codes if len(code) >= _MIN_CODE_CHARS)]
        if len(self.name) >= _MIN_NAME_CHARS:
            words.append(self.name)
        return _any_of(words)

    @cached_property
    def _addresses(self) -> re.Pattern[str]:
        return _any_of(self._spellings)

    @cached_property
    def _spellings(self) -> list[str]:
        """The mailboxes as envelopes write them, and as people do: info@bücher.example."""
        return list(dict.fromkeys(one for name in self.mailboxes for one in (name, readable_mailbox(name))))


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern of these as whole words, the longest first."""
    alternatives = "|".join(map(re.escape, sorted(filter(None, words), key=len, reverse=True)))
    return re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)", re.IGNORECASE)
