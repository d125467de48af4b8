"""Weights as exact masses: what a measure's weights stand for, and their differences without rounding.

Weights stand for the real numbers w_i / sum w, sums and quotients taken exactly. Weights that are the rounded
quotients of whole numbers over one denominator (1/m; counts over m) are counts as well: where both measures are, their
distance is taken between the counts, and its ends hold both readings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ..rigour.rounding import UNIT

DENOMINATOR = 10**6  # counts are looked for over denominators up to this; uniform weights over any
MOST_UNITS = 2**46  # POT multiplies one side by the ratio of two equal sums: 2^46 * 2^-52, and flows round back
MOST_VALUES = 10_000  # distinct weights that are looked at one by one

# Fixed-point numbers: LIMBS whole numbers of BITS bits each, highest first. Sums of up to 2^23 are exact in float64.
BITS, LIMBS = 30, 4
PLACES = BITS * LIMBS


@dataclass(frozen=True, eq=False)
class Masses:
    """The masses of a measure's rows.

    Attributes
    ----------
    weights : ndarray, shape (m,)
        As given.
    sums : tuple of Fraction
        The mass of a row is its weight over the sum of its group.
    sizes : tuple of int
        Rows of each group: one, or one a user where the measure is an average over users.
    counts : ndarray of int64, shape (m,), or None
        Masses in units of ``1 / total``, where the weights are rounded quotients.
    total : int
        0 where they are not.
    off : float
        Bound of the relative difference between the two readings of a mass; 0 where they are one.
    """

    weights: NDArray
    sums: tuple[Fraction, ...]
    sizes: tuple[int, ...]
    counts: NDArray | None
    total: int
    off: float

    def fractions(self, rows: NDArray | None = None) -> list[Fraction]:
        """The real numbers that the weights (of some rows) stand for."""
        group = np.repeat(np.arange(len(self.sizes)), self.sizes)
        some = np.arange(len(group)) if rows is None else rows
        pairs = zip(self.weights[some].tolist(), group[some].tolist(), strict=True)
        return [Fraction(w) / self.sums[k] for w, k in pairs]

    def limbs(self) -> NDArray:
        """The same in fixed point, shape (LIMBS, m): each off by at most 2^-119 + 2^-102 of itself."""
        parts = np.split(self.weights, np.cumsum(self.sizes)[:-1])
        return np.concatenate([_quotients(w, s) for w, s in zip(parts, self.sums, strict=True)], axis=1)


def masses(weights: NDArray) -> Masses:
    """What weights stand for.

    Examples
    --------
    >>> found = masses(np.array([0.1, 0.2, 0.7]))
    >>> found.counts.tolist(), found.total
    ([1, 2, 7], 10)
    >>> masses(np.array([0.5 + 2**-52, 0.5 - 2**-52])).counts is None
    True
    """
    w = np.asarray(weights, dtype=np.float64)
    m = len(w)
    if m and w[0] > 0 and (w == w[0]).all():  # each is 1/m exactly, whatever the float
        return Masses(w, (m * Fraction(float(w[0])),), (m,), np.ones(m, np.int64), m, 0.0)
    total = exact_sum(w)
    counts, whole, same = _counts(w, total)
    off = 0.0 if same or counts is None else (UNIT + abs(float(total - 1))) * (1 + 2.0**-40)
    return Masses(w, (total,), (m,), counts, whole, off)


def average(users: Sequence[Masses]) -> Masses:
    """The masses of (1/n) sum_i p_i, rows of all users one after the other."""
    n = len(users)
    total = 1
    for u in users:
        total = math.lcm(total, n * u.total)
        if not 0 < total <= MOST_UNITS:
            total = 0
            break
    counts = None
    if total:
        counts = np.concatenate([u.counts * (total // (n * u.total)) for u in users if u.counts is not None])
    return Masses(
        np.concatenate([u.weights for u in users]),
        tuple(n * s for u in users for s in u.sums),
        tuple(k for u in users for k in u.sizes),
        counts,
        total,
        max(u.off for u in users) if total else 0.0,
    )


def exact_sum(values: NDArray) -> Fraction:
    """Their sum, without any rounding."""
    high = math.fsum(values)
    parts, rest = Fraction(high), values
    while True:
        rest = np.append(rest, -high)
        high = math.fsum(rest)
        if not high:
            return parts
        parts += Fraction(high)


def _counts(w: NDArray, total: Fraction) -> tuple[NDArray | None, int, bool]:
    """Whole numbers k and N with w = fl(k / N), where there are such, and whether w / sum w is k / N exactly."""
    values, index = np.unique(w, return_inverse=True)
    if len(values) > MOST_VALUES:
        return None, 0, False
    fractions, whole = [], 1
    for value in values.tolist():
        near = Fraction(value).limit_denominator(DENOMINATOR)
        if near.numerator / near.denominator != value:
            return None, 0, False
        whole = math.lcm(whole, near.denominator)
        if whole > MOST_UNITS:
            return None, 0, False
        fractions.append(near)
    units = [f.numerator * (whole // f.denominator) for f in fractions]
    counts = np.array(units, np.int64)[index.ravel()]
    if int(counts.sum()) != whole:
        return None, 0, False
    same = all(Fraction(v) * whole == k * total for v, k in zip(values.tolist(), units, strict=True))
    divisor = int(np.gcd.reduce(counts))
    return counts // divisor, whole // divisor, same


# --- fixed point ---


def _quotients(w: NDArray, total: Fraction) -> NDArray:
    """w / total in fixed point."""
    if len(w) and (w == w[0]).all():
        whole = math.floor(Fraction(float(w[0])) / total * 2**PLACES)
        limbs = [(whole >> (BITS * (LIMBS - 1 - k))) & (2**BITS - 1) for k in range(LIMBS)]
        limbs[0] += (whole >> PLACES) << BITS
        return np.repeat(np.array(limbs, np.int64)[:, None], len(w), axis=1)
    total_high = float(total)
    total_low = float(total - Fraction(total_high))
    high = w / total_high
    product, error = exact_product(high, np.full_like(high, total_high))
    low = ((w - product) - error - high * total_low) / total_high
    return digits(high) + digits(low)


def digits(values: NDArray) -> NDArray:
    """Floats below 2 in size as signed digits; what lies below 2^-120 is dropped."""
    out, rest = np.empty((LIMBS, len(values)), np.int64), values
    for k in range(LIMBS):
        rest = np.ldexp(rest, BITS)
        whole = np.trunc(rest)  # towards 0: what is left is exact
        out[k] = whole
        rest = rest - whole
    return out


def exact_product(a: NDArray, b: NDArray) -> tuple[NDArray, NDArray]:
    """a * b as a sum of two floats (Dekker); no number may be beyond 2^990 or the product below 2^-960."""
    product = a * b
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    return product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2


def _halves(a: NDArray) -> tuple[NDArray, NDArray]:
    big = 134217729.0 * a
    high = big - (big - a)
    return high, a - high


def summed(ids: NDArray, limbs: NDArray, k: int) -> NDArray:
    """Sums of fixed-point numbers by point, shape (LIMBS, k), exact."""
    if limbs.shape[1] > 2**22:  # sums beyond the whole numbers of a float
        out = np.zeros((LIMBS, k), np.int64)
        for row, total in zip(limbs, out, strict=True):
            np.add.at(total, ids, row)
        return out
    return np.stack([np.bincount(ids, row, k) for row in limbs.astype(np.float64)]).astype(np.int64)


def carried(limbs: NDArray) -> NDArray:
    """The same numbers with digits from 0 to 2^30 - 1 below the highest."""
    out = limbs.copy()
    for k in range(LIMBS - 1, 0, -1):
        carry = out[k] >> BITS
        out[k] -= carry << BITS
        out[k - 1] += carry
    return out


def as_floats(limbs: NDArray) -> NDArray:
    """Fixed-point numbers rounded: off by at most 4u of themselves."""
    whole = carried(limbs)
    negative = whole[0] < 0
    whole = carried(np.where(negative, -whole, whole))
    value = np.zeros(whole.shape[1])
    for k in range(LIMBS - 1, -1, -1):
        value += np.ldexp(whole[k].astype(np.float64), -BITS * (k + 1))
    return np.where(negative, -value, value)


def as_fraction(limbs: NDArray) -> Fraction:
    """The sum of fixed-point numbers."""
    return sum((Fraction(int(row.sum()), 2 ** (BITS * (k + 1))) for k, row in enumerate(limbs)), Fraction(0))
