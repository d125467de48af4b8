"""A side of an inequality: a number with proved ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import require
from .rounding import UNIT


@dataclass(frozen=True)
class Interval:
    """The value lies in [lower, upper]; `allowance` is the width that rounding alone explains.

    Examples
    --------
    >>> Interval.rounded(1.0, operations=4).width < 1e-14
    True
    """

    lower: float
    upper: float
    allowance: float = 0.0

    def __post_init__(self) -> None:
        require(
            not (math.isnan(self.lower) or math.isnan(self.upper)),
            "a side of a claim is NaN; check the instance's points and constants",
        )
        require(self.lower <= self.upper, f"a side of a claim is empty: [{self.lower}, {self.upper}]")

    @classmethod
    def rounded(cls, value: float, *, operations: int) -> Interval:
        """A value >= 0 from `operations` floating-point operations on nonnegative terms: relative error at most that
        many roundings.
        """
        return cls.with_error(value, operations * UNIT * abs(value))

    @classmethod
    def with_error(cls, value: float, error: float) -> Interval:
        """A value with a derived bound of its absolute rounding error; ends rounded outwards."""
        lower, upper = (value, value) if error == 0 else (_below(value - error), _above(value + error))
        return cls(lower, upper, upper - lower)

    @property
    def middle(self) -> float:
        """Centre of the interval."""
        return self.lower + (self.upper - self.lower) / 2

    @property
    def width(self) -> float:
        """Upper end minus lower end."""
        return self.upper - self.lower

    @property
    def is_rounding(self) -> bool:
        """Whether rounding alone explains the width (no sampling, no solver gap)."""
        return self.width <= self.allowance * (1 + 1e-9)

    def times(self, factor: float) -> Interval:
        """The interval times a number >= 0."""
        lower, upper = _below(self.lower * factor), _above(self.upper * factor)
        rounding = 4 * UNIT * max(abs(lower), abs(upper))
        return Interval(lower, upper, self.allowance * factor + rounding)


def _below(value: float) -> float:
    return math.nextafter(value, -math.inf)


def _above(value: float) -> float:
    return math.nextafter(value, math.inf)
