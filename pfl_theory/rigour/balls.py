"""Arrays whose every entry is known up to a proved error: middle and radius, carried through every operation.

A left side that went through thousands of operations needs an error bound that nobody derives by hand. `Ball` does it
by the way: the same code runs on floats, on fractions and on balls, and the result encloses the exact value (rounding
to nearest, subnormal numbers included; what overflows is enclosed by the whole line).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .rounding import UNIT

TINY = 1e-300  # stands for what underflow may lose
SAFE = 1e-290  # products above this lost nothing to underflow
SMALLEST = 2.0**-1074
WHOLE = 2**53  # integers up to here are floats
QUIET: Any = np.errstate(all="ignore")  # what overflows or underflows is enclosed, so nobody need be told
UP = 1.0 + 2.0**-48  # radii are sums of a few rounded nonnegative terms: this covers their own rounding


def _sum_up(a: NDArray, b: NDArray) -> NDArray:
    """a + b rounded up: the sum to nearest, and the next float where the exact sum lies above it."""
    total = a + b
    part = total - a
    lost = (a - (total - part)) + (b - part)  # the rounding error, exactly
    return np.where(lost > 0, np.nextafter(total, np.inf), total)


def _as_floats(value: ArrayLike) -> tuple[NDArray, NDArray | None]:
    """`value` in float64, and a bound of what that lost; None where floats hold it."""
    given = np.asarray(value, dtype=object if isinstance(value, (list, tuple)) else None)
    kind, size = given.dtype.kind, given.dtype.itemsize
    if kind in "iu" and size > 4:
        whole = given.astype(np.float64)
        far = np.abs(whole) >= WHOLE  # 2^53 itself may stand for 2^53 + 1
        return whole, np.where(far, np.abs(whole) * 2 * UNIT, 0.0) if far.any() else None
    if kind != "O" and not (kind == "f" and size > 8):
        return np.asarray(given, dtype=np.float64), None
    pairs = np.array([_as_float(v) for v in given.ravel()], dtype=np.float64).reshape(*given.shape, 2)
    mid, lost = pairs[..., 0], pairs[..., 1]
    return mid, lost if lost.any() else None


def _as_float(value: Any) -> tuple[float, float]:
    """One number in float64, and a bound of what that lost."""
    if isinstance(value, (float, np.float32, np.float16)):
        return float(value), 0.0
    try:
        near = float(value)
        exact = Fraction(int(value)) if isinstance(value, np.integer) else Fraction(*value.as_integer_ratio())
    except OverflowError:  # beyond all floats
        return 0.0, np.inf
    return near, 0.0 if Fraction(near) == exact else max(abs(near) * 2 * UNIT, SMALLEST)


class Ball:
    """An array of intervals [mid - rad, mid + rad].

    Parameters
    ----------
    mid : array_like
        Numbers that no float64 holds (integers beyond 2^53, fractions, longer floats) add their rounding to the radius.
    rad : array_like, optional
        Nonnegative; 0 when absent: the numbers themselves.

    Examples
    --------
    >>> third = Ball(1.0) / Ball(3.0)
    >>> bool(third.lower < third.upper), float(third.rad) < 1e-16
    (True, True)
    """

    __slots__ = ("mid", "rad")
    __array_ufunc__ = None  # an ndarray on the left hands over to the operators here

    def __init__(self, mid: ArrayLike, rad: ArrayLike | None = None) -> None:
        self.mid, lost = _as_floats(mid)
        if rad is None:
            self.rad: NDArray = np.zeros_like(self.mid) if lost is None else lost
        else:
            radius, short = _as_floats(rad)
            for more in (lost, short):
                radius = radius if more is None else (radius + more) * UP
            self.rad = radius if radius.shape == self.mid.shape else np.broadcast_to(radius, self.mid.shape)

    @classmethod
    def of(cls, value: Any) -> Ball:
        """`value` as a ball: a number of any type, or an array of numbers."""
        return value if isinstance(value, Ball) else cls(value)

    @classmethod
    def between(cls, lower: ArrayLike, upper: ArrayLike) -> Ball:
        """The intervals [lower, upper]."""
        low, high = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
        middle = low + (high - low) / 2
        return cls(middle, np.maximum(high - middle, middle - low) * UP + UNIT * np.abs(middle) * 2)

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
        return -Ball(-self.mid, self.rad).upper

    @property
    @QUIET
    def upper(self) -> NDArray:
        """Upper ends, rounded up."""
        end = self.mid + self.rad * UP + UNIT * np.abs(self.mid) + TINY * (self.rad > 0)
        end = np.maximum(end, _sum_up(self.mid, self.rad))  # beyond a power of two UNIT * mid is no longer enough
        return np.where(np.isfinite(self.mid) & np.isfinite(self.rad), end, np.inf)

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

    @QUIET
    def __add__(self, other: Any) -> Ball:
        o = Ball.of(other)
        mid = self.mid + o.mid
        return Ball(mid, (self.rad + o.rad + UNIT * np.abs(mid)) * UP)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Ball:
        return self + (-Ball.of(other))

    def __rsub__(self, other: Any) -> Ball:
        return Ball.of(other) + (-self)

    @QUIET
    def __mul__(self, other: Any) -> Ball:
        o = Ball.of(other)
        mid = self.mid * o.mid
        return Ball(
            mid, (np.abs(self.mid) * o.rad + self.rad * (np.abs(o.mid) + o.rad) + UNIT * np.abs(mid)) * UP + TINY
        )

    __rmul__ = __mul__

    @QUIET
    def __truediv__(self, other: Any) -> Ball:
        o = Ball.of(other)
        room = np.abs(o.mid) - o.rad * UP
        mid = self.mid / o.mid
        moved = np.abs(mid) * UP * o.rad
        # a product that underflows loses what a division by a small `room` brings back: divide first there
        spread = np.where(moved < SAFE, self.rad / room + np.abs(mid) * UP * (o.rad / room), (self.rad + moved) / room)
        spread = np.where(o.rad == 0, self.rad / room, spread)
        rad = np.where(room > 0, (spread + UNIT * np.abs(mid)) * UP + TINY, np.inf)
        return Ball(mid, rad)

    def __rtruediv__(self, other: Any) -> Ball:
        return Ball.of(other) / self

    @QUIET
    def __matmul__(self, other: Any) -> Ball:
        o = Ball.of(other)
        k = self.mid.shape[-1]
        a, b = np.abs(self.mid), np.abs(o.mid)
        rad = a @ o.rad + self.rad @ (b + o.rad) + (k + 2) * UNIT * (a @ b)  # any order of summation
        return Ball(self.mid @ o.mid, rad * (1 + (2 * k + 32) * UNIT) + k * TINY)

    def __rmatmul__(self, other: Any) -> Ball:
        return Ball.of(other) @ self

    @QUIET
    def sum(self, axis: int | None = None) -> Ball:
        """Sum over an axis, or over all."""
        count = self.mid.size if axis is None else self.mid.shape[axis]
        rad = self.rad.sum(axis) + (count + 1) * UNIT * np.abs(self.mid).sum(axis)
        return Ball(self.mid.sum(axis), rad * (1 + (2 * count + 32) * UNIT))

    def max(self) -> Ball:
        """Largest entry."""
        return Ball.between(float(self.lower.max()), float(self.upper.max()))

    @QUIET
    def sqrt(self) -> Ball:
        """Square root; what lies below zero is cut off (for quantities known to be nonnegative)."""
        low, high = (
            np.sqrt(np.maximum(self.lower, 0.0)) * (1 - 4 * UNIT),
            np.sqrt(np.maximum(self.upper, 0.0)) * (1 + 4 * UNIT),
        )
        mid = low + (high - low) / 2
        return Ball(mid, (np.maximum(high - mid, mid - low) + 2 * UNIT * np.abs(mid)) * UP)

    @QUIET
    def nonnegative(self) -> Ball:
        """The part that is not below zero (for quantities known to be nonnegative)."""
        low, high = np.maximum(self.lower, 0.0), np.maximum(self.upper, 0.0)
        mid = low + (high - low) / 2
        return Ball(mid, np.maximum(high - mid, mid - low) * UP + 2 * UNIT * mid)
