"""Largest modulus of a polynomial on an interval, from five of its values."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from fractions import Fraction

from ..real import ONE, ZERO, Real, mp, real

PLACES = tuple(
    Fraction(k, 3) for k in (-2, -1, 0, 1, 2)
)  # inside (-1, 1): values at the ends may belong to a neighbour


@functools.lru_cache(maxsize=1)
def _inverse() -> list[list[Fraction]]:
    """Inverse of the matrix of powers of the places, by elimination in fractions."""
    k = len(PLACES)
    rows = [[p**j for j in range(k)] + [Fraction(int(i == j)) for j in range(k)] for i, p in enumerate(PLACES)]
    for c in range(k):
        pivot = next(r for r in range(c, k) if rows[r][c] != 0)
        rows[c], rows[pivot] = rows[pivot], rows[c]
        rows[c] = [v / rows[c][c] for v in rows[c]]
        for r in range(k):
            if r != c:
                rows[r] = [a - rows[r][c] * b for a, b in zip(rows[r], rows[c], strict=True)]
    return [row[k:] for row in rows]


def through(values: list[Real]) -> list[Real]:
    """Coefficients of the polynomial of degree at most 4 with these values at the five places.

    Examples
    --------
    >>> [int(mp.nint(c)) for c in through([real(p) ** 3 for p in PLACES])]
    [0, 0, 0, 1, 0]
    """
    found = [mp.fdot([real(a) for a in row], values) for row in _inverse()]
    size = max(abs(v) for v in values)
    return [ZERO if abs(c) < size * mp.mpf(10) ** -40 else c for c in found]  # a degree that is not there


def evaluate(coefficients: list[Real], t: Real) -> Real:
    """The value at t."""
    total = ZERO
    for c in reversed(coefficients):
        total = total * t + c
    return total


def roots(coefficients: list[Real]) -> list[Real]:
    """Where the polynomial changes sign in (-1, 1): between the roots of its derivative, by halving, then Newton."""
    kept = list(coefficients)
    while kept and kept[-1] == 0:
        kept.pop()
    if len(kept) <= 1:
        return []
    slope = [k * c for k, c in enumerate(kept)][1:]
    cuts = [-ONE, *roots(slope), ONE]
    found = []
    for low, high in itertools.pairwise(cuts):
        a, b = evaluate(kept, low), evaluate(kept, high)
        if (a > 0) == (b > 0) or a == 0 or b == 0:
            continue
        for _ in range(50):
            middle = (low + high) / 2
            value = evaluate(kept, middle)
            low, high = (middle, high) if (value > 0) == (a > 0) else (low, middle)
        t = (low + high) / 2
        for _ in range(3):
            d = evaluate(slope, t)
            t = t - evaluate(kept, t) / d if d != 0 else t
        found.append(t)
    return found


def largest(function: Callable[[Real], Real], cuts: list[Real]) -> Real:
    """The largest |function| over the hull of the cuts, between which it is a polynomial of degree at most 4 (it may
    jump at a cut). Pieces whose coefficients cannot beat the best are passed over.

    Examples
    --------
    >>> largest(lambda x: x * x - 1, [real(-1), real(2)]) == 3
    True
    """
    pieces = []
    for low, high in itertools.pairwise(cuts):
        if high > low:
            half, middle = (high - low) / 2, (low + high) / 2
            c = through([function(middle + half * real(p)) for p in PLACES])
            pieces.append((mp.fsum(abs(v) for v in c), c))
    best = ZERO
    for most, c in sorted(pieces, key=lambda piece: -piece[0]):
        if most <= best:
            break
        slope = [k * v for k, v in enumerate(c)][1:]
        best = max(best, *(abs(evaluate(c, t)) for t in (-ONE, ONE, *roots(slope))))
    return best
