"""What is asked for twice is computed once, and forgotten with the object that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

T = TypeVar("T")


def remembered(owner: object, key: Hashable, make: Callable[[], T]) -> T:
    """`make()`, kept on `owner` under `key`.

    Examples
    --------
    >>> class Owner: pass
    >>> owner, calls = Owner(), []
    >>> for _ in range(2):
    ...     value = remembered(owner, "square", lambda: calls.append(1) or 9)
    >>> value, len(calls)
    (9, 1)
    """
    kept = owner.__dict__.setdefault("_remembered", {})
    if key not in kept:
        kept[key] = make()
    return kept[key]  # type: ignore[no-any-return]
