"""Cases that one test tries one after another, in one app: for refusals, which leave nothing behind."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any


def in_one_test(
    names: str | tuple[str, ...], cases: Iterable[Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Call a test once for each case, as ``pytest.mark.parametrize`` does, with the same fixtures for all.

    An error names its case.
    """
    of_one = isinstance(names, str)
    keys = (names,) if isinstance(names, str) else names

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @wraps(test)
        def run(**fixtures: Any) -> None:
            for case in cases:
                try:
                    test(**fixtures, **dict(zip(keys, (case,) if of_one else case, strict=True)))
                except BaseException as error:
                    error.add_note(f"case: {case!r}"[:500])
                    raise

        signature = inspect.signature(test)
        others = [one for name, one in signature.parameters.items() if name not in keys]
        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return run

    return decorate
