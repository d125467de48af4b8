"""What all makers share: checked numbers, and random streams keyed by content."""

from __future__ import annotations

import contextlib
import math
import numbers
from typing import Any

import numpy as np

from ..errors import require
from ..seeds import generator


def whole(name: str, value: Any, at_least: int) -> int:
    """`value` as an int, refused unless it is a whole number >= `at_least`."""
    fits = isinstance(value, numbers.Integral) and type(value) is not bool and int(value) >= at_least
    require(fits, f"{name} = {value!r}: must be a whole number >= {at_least}")
    return int(value)


def real(name: str, value: Any, low: float = 0.0, high: float = math.inf) -> float:
    """`value` as a float, refused unless it is a finite number between `low` and `high`."""
    number = math.nan
    if isinstance(value, numbers.Real) and type(value) is not bool:
        with contextlib.suppress(OverflowError):  # an int beyond all floats
            number = float(value)
    allowed = f"a finite number >= {low:g}" if high == math.inf else f"a number from {low:g} to {high:g}"
    require(math.isfinite(number) and low <= number <= high, f"{name} = {value!r}: must be {allowed}")
    return number


def stream(seed: object, purpose: str, *key: int) -> np.random.Generator:
    """The generator of (seed, purpose, key): the same whatever was drawn before it and in whatever order."""
    return generator(whole("seed", seed, 0), purpose, *key)
