"""Arrays whose every entry is known up to a proved error: middle and radius, carried through every operation.

A left side that went through thousands of operations needs an error bound that nobody derives by hand. `Ball` does it
by the way: the same code runs on floats, on fractions and on balls, and the result encloses the exact value (rounding
to nearest, no overflow).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .rounding import UNIT

TINY = 1e-300  # stands for what underflow may lose
UP = 1.0 + 2.0**-48  # radii are sums of a few rounded nonnegative terms: this covers their own rounding


class Ball:
    """An array of intervals [mid - rad, mid + rad].

    Parameters
    ----------
    mid : array_like
    rad : array_like, optional
        Nonnegative; 0 when absent: the floats themselves.

    Examples
    --------
    >>> third = Ball(1.0) / Ball(3.0)
    >>> bool(third.lower < third.upper), float(third.rad) < 1e-16
    (True, True)
    """

    __slots__ = ("mid", "rad")
    __array_ufunc__ = None  # an ndarray on the left hands over to the operators here

    def __init__(self, mid: ArrayLike, rad: ArrayLike | None = None) -> None:
        self.mid: NDArray = np.asarray(mid, dtype=np.float64)
        if rad is None:
            self.rad: NDArray = np.zeros_like(self.mid)
        else:
            rad = np.asarray(rad, dtype=np.float64)
            self.rad = rad if rad.shape == self.mid.shape else np.broadcast_to(rad, self.mid.shape)

    @classmethod
    def of(cls, value: Any) -> Ball:
        """`value` as a ball (integers beyond 2^53 and other numbers that no float holds are enclosed)."""
        if isinstance(value, Ball):
            return value
        if isinstance(value, int) and abs(value) > 2**53:
            return cls(float(value), abs(float(value)) * 2 * UNIT)
        return cls(value)

    @classmethod
    def between(cls, lower: float, upper: float) -> Ball:
        """The interval [lower, upper]."""
        middle = lower + (upper - lower) / 2
        return cls(middle, max(upper - middle, middle - lower) * UP + UNIT * abs(middle) * 2)

    @classmethod
    def relative(cls, mid: ArrayLike, error: ArrayLike) -> Ball:
        """Values known up to a relative error."""
        return cls(mid, np.abs(mid) * np.asarray(error) * UP + TINY)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.mid.shape

    @property
    def lower(self) -> NDArray:
        """Lower ends, rounded down."""
        return self.mid - self.rad * UP - UNIT * np.abs(self.mid) - TINY * (self.rad > 0)

    @property
    def upper(self) -> NDArray:
        """Upper ends, rounded up."""
        return self.mid + self.rad * UP + UNIT * np.abs(self.mid) + TINY * (self.rad > 0)

    @property
    def size_bound(self) -> NDArray:
        """Upper bound of absolute values."""
        return np.maximum(np.abs(self.lower), np.abs(self.upper))

    def __repr__(self) -> str:
        return f"Ball({self.mid!r}, {self.rad!r})"

    def __float__(self) -> float:
        return float(self.mid)

    # -- shape ---------------------------------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Ball:
        return Ball(self.mid[key], self.rad[key])

    def __len__(self) -> int:
        return len(self.mid)

    def reshape(self, *shape: int) -> Ball:
        """Another shape."""
        return Ball(self.mid.reshape(*shape), self.rad.reshape(*shape))

    def swapaxes(self, a: int, b: int) -> Ball:
        """Two axes exchanged."""
        return Ball(self.mid.swapaxes(a, b), self.rad.swapaxes(a, b))

    # -- arithmetic ----------------------------------------------------------------------------------------------------

    def __neg__(self) -> Ball:
        return Ball(-self.mid, self.rad)

    def __add__(self, other: Any) -> Ball:
        o = Ball.of(other)
        mid = self.mid + o.mid
        return Ball(mid, (self.rad + o.rad + UNIT * np.abs(mid)) * UP)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Ball:
        return self + (-Ball.of(other))

    def __rsub__(self, other: Any) -> Ball:
        return Ball.of(other) + (-self)

    def __mul__(self, other: Any) -> Ball:
        o = Ball.of(other)
        mid = self.mid * o.mid
        return Ball(
            mid, (np.abs(self.mid) * o.rad + self.rad * (np.abs(o.mid) + o.rad) + UNIT * np.abs(mid)) * UP + TINY
        )

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Ball:
        o = Ball.of(other)
        room = np.abs(o.mid) - o.rad * UP
        with np.errstate(divide="ignore", invalid="ignore"):
            mid = self.mid / o.mid
            rad = np.where(
                room > 0, ((self.rad + np.abs(mid) * UP * o.rad) / room + UNIT * np.abs(mid)) * UP + TINY, np.inf
            )
        return Ball(mid, rad)

    def __rtruediv__(self, other: Any) -> Ball:
        return Ball.of(other) / self

    def __matmul__(self, other: Any) -> Ball:
        o = Ball.of(other)
        k = self.mid.shape[-1]
        a, b = np.abs(self.mid), np.abs(o.mid)
        rad = a @ o.rad + self.rad @ (b + o.rad) + (k + 2) * UNIT * (a @ b)  # any order of summation
        return Ball(self.mid @ o.mid, rad * (1 + (2 * k + 32) * UNIT) + k * TINY)

    def __rmatmul__(self, other: Any) -> Ball:
        return Ball.of(other) @ self

    def sum(self, axis: int | None = None) -> Ball:
        """Sum over an axis, or over all."""
        count = self.mid.size if axis is None else self.mid.shape[axis]
        rad = self.rad.sum(axis) + (count + 1) * UNIT * np.abs(self.mid).sum(axis)
        return Ball(self.mid.sum(axis), rad * (1 + (2 * count + 32) * UNIT))

    def max(self) -> Ball:
        """Largest entry."""
        return Ball.between(float(self.lower.max()), float(self.upper.max()))

    def sqrt(self) -> Ball:
        """Square root; what lies below zero is cut off (for quantities known to be nonnegative)."""
        low, high = (
            np.sqrt(np.maximum(self.lower, 0.0)) * (1 - 4 * UNIT),
            np.sqrt(np.maximum(self.upper, 0.0)) * (1 + 4 * UNIT),
        )
        mid = low + (high - low) / 2
        return Ball(mid, (np.maximum(high - mid, mid - low) + 2 * UNIT * np.abs(mid)) * UP)

    def nonnegative(self) -> Ball:
        """The part that is not below zero (for quantities known to be nonnegative)."""
        low, high = np.maximum(self.lower, 0.0), np.maximum(self.upper, 0.0)
        mid = low + (high - low) / 2
        return Ball(mid, np.maximum(high - mid, mid - low) * UP + 2 * UNIT * mid)
