"""Fifty digits: the numbers of the referee, in a context of their own that no other user of mpmath sees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import InputError

try:
    import mpmath
except ImportError as error:
    raise InputError("attack needs mpmath for its 50 digits: pip install 'pfl-theory[attack]'") from error

DIGITS = 50
Real = Any  # mpmath's mpf
mp = mpmath.mp.clone()
mp.dps = DIGITS
TIE = mp.mpf(10) ** -35  # relative: sides closer than this are equal; sums of some 1e5 terms stay far below it
ZERO, ONE = mp.mpf(0), mp.mpf(1)


def real(value: Any) -> Real:
    """A float, integer or fraction, exactly as far as 50 digits go.

    Examples
    --------
    >>> real(0.1) * 2**55 == 3602879701896397
    True
    """
    numerator = getattr(value, "numerator", None)
    if numerator is not None and not isinstance(value, float) and hasattr(value, "denominator"):
        return mp.mpf(int(numerator)) / int(value.denominator)
    return mp.mpf(float(value)) if not isinstance(value, mp.mpf) else value


def reals(values: Iterable[Any]) -> list[Real]:
    """A vector."""
    return [real(v) for v in values]


def dot(a: list[Real], b: list[Real]) -> Real:
    """Inner product."""
    return mp.fdot(a, b)


def norm(a: Iterable[Real]) -> Real:
    """Euclidean norm."""
    return mp.sqrt(mp.fsum(v * v for v in a))


def minus(a: list[Real], b: list[Real], factor: Real = 1) -> list[Real]:
    """The vector a - factor b."""
    return [u - factor * v for u, v in zip(a, b, strict=True)]


def mean(vectors: list[list[Real]], weights: list[Real] | None = None) -> list[Real]:
    """Average of vectors, equally weighted when no weights are given."""
    shares = [ONE / len(vectors)] * len(vectors) if weights is None else weights
    return [mp.fdot(shares, column) for column in map(list, zip(*vectors, strict=True))]


def average(values: Iterable[Real]) -> Real:
    """Mean of numbers."""
    kept = list(values)
    return mp.fsum(kept) / len(kept)


def times(matrix: list[list[Real]], v: list[Real]) -> list[Real]:
    """Matrix times vector."""
    return [mp.fdot(row, v) for row in matrix]


def eigenvalues(matrix: list[list[Real]]) -> list[Real]:
    """Of a symmetric matrix, in increasing order."""
    if len(matrix) == 1:
        return [matrix[0][0]]
    return sorted(mp.eigsy(mp.matrix(matrix), eigvals_only=True))


def operator_norm(matrix: list[list[Real]]) -> Real:
    """Of a symmetric matrix."""
    if all(matrix[i][j] == 0 for i in range(len(matrix)) for j in range(len(matrix)) if i != j):
        return max(abs(matrix[i][i]) for i in range(len(matrix)))
    return max(abs(v) for v in eigenvalues(matrix))
