"""Cases that one test tries one after another, in one app: for refusals, which leave nothing behind."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any


class Amount:
    """How many cases of a test are tried; ``--few-parameters`` sets it."""

    first_and_last_only = False


def in_one_test(
    names: str | tuple[str, ...], cases: Iterable[Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Call a test once for each case, as ``pytest.mark.parametrize`` does, with the same fixtures for all.

    An error names its case.
    """
    every, of_one = list(cases), isinstance(names, str)
    keys = (names,) if isinstance(names, str) else names

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @wraps(test)
        def run(**fixtures: Any) -> None:
            for case in _chosen(every):
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


def _chosen(cases: list[Any]) -> list[Any]:
    return [cases[0], cases[-1]] if Amount.first_and_last_only and len(cases) > 2 else cases
