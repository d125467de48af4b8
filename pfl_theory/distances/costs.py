"""Distances between two sets of points, in blocks, with a bound of their rounding error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import require
from ..kernels.jit import kernel, over_users
from ..rigour.rounding import UNIT
from ._kernels import certified_minima

STORED = (
    2**29
)  # bytes: a matrix of squared distances up to this size is kept, a larger one is computed again block by block
DIRECT, DIRECT_WORK = (
    32,
    2e7,
)  # up to so many features, or multiplications in all, differences are squared one by one; beyond, products are faster
PIXELS_AT_ONCE = 256  # 256 * 255^2 < 2^24: sums of products of so many 8-bit pixels are exact in float32
SMALL = 2**16  # pairs that one thread passes over
BLOCK = 2**21  # pairs computed at once
NEAR = (
    1e-6  # squared distances below this share of |x|^2 + |y|^2 have lost digits to cancellation and are computed again
)


@kernel
def squared_differences(x, y, out):  # type: ignore[no-untyped-def]
    """out[i, j] = ||x_i - y_j||^2, summed over differences: no cancellation."""
    for i in range(len(x)):
        for j in range(len(y)):
            total = 0.0
            for k in range(x.shape[1]):
                d = x[i, k] - y[j, k]
                total += d * d
            out[i, j] = total


@kernel
def repair_near(x, y, nx, ny, near, out):  # type: ignore[no-untyped-def]
    """Compute again, by differences, the squared distances that are small against the norms."""
    for i in range(len(x)):
        for j in range(len(y)):
            if out[i, j] <= near * (nx[i] + ny[j]):
                total = 0.0
                for k in range(x.shape[1]):
                    d = x[i, k] - y[j, k]
                    total += d * d
                out[i, j] = total


@dataclass(frozen=True, eq=False)
class Costs:
    """Distances ``scale * sqrt(squared) + kappa * [labels differ]`` from points x (rows) to points y (columns).

    Build with :func:`euclidean`.

    Attributes
    ----------
    x, y : ndarray
        8-bit integers (squared distances are then exact), or float64 divided by a power of two.
    scale : float
    x_labels, y_labels : ndarray of int64
        Zeros where labels do not count.
    kappa : float
        0 where labels do not count.
    squared : ndarray, shape (m, n), or None
        Kept where it fits.
    relative, floor : float
        A distance by differences, or between 8-bit integers, is off by at most ``relative`` of itself plus ``floor``.
    x_norms, y_norms, lost : ndarray, ndarray, float
        Squared norms about the centre: a squared distance by products is off by at most ``lost`` times their sum. 0
        where there are no products.
    centre : ndarray, shape (p,), or None
        Subtracted before products are taken.
    """

    x: NDArray
    y: NDArray
    scale: float
    x_labels: NDArray
    y_labels: NDArray
    kappa: float
    squared: NDArray | None
    relative: float
    floor: float
    x_norms: NDArray
    y_norms: NDArray
    lost: float
    centre: NDArray | None

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return len(self.x), len(self.y)

    def block(self, first: int, last: int) -> NDArray:
        """Squared distances of rows first..last, in units of ``scale**2``."""
        if self.squared is not None:
            return self.squared[first:last]
        return squared_distances(self.x[first:last], self.y, self.centre)

    def columns(self, chosen: NDArray) -> NDArray:
        """Squared distances of all rows to the chosen columns."""
        return (
            np.ascontiguousarray(self.squared[:, chosen])
            if self.squared is not None
            else squared_distances(self.x, self.y[chosen], self.centre)
        )

    def arcs(self, rows: NDArray, columns: NDArray) -> NDArray:
        """Distances of single pairs, by differences."""
        total = np.empty(len(rows))
        for k in range(0, len(rows), 4096):
            i, j = rows[k : k + 4096], columns[k : k + 4096]
            d = self.x[i].astype(np.float64) - self.y[j]
            total[k : k + 4096] = np.einsum("ij,ij->i", d, d)
        return self.scale * np.sqrt(total) + self.kappa * (self.x_labels[rows] != self.y_labels[columns])

    def transposed(self) -> Costs:
        """Rows and columns exchanged."""
        squared = None if self.squared is None else np.ascontiguousarray(self.squared.T)
        return replace(
            self,
            x=self.y,
            y=self.x,
            x_labels=self.y_labels,
            y_labels=self.x_labels,
            x_norms=self.y_norms,
            y_norms=self.x_norms,
            squared=squared,
        )

    def feasible(self, v: NDArray) -> NDArray:
        """u with u_i + v_j <= true distance for all pairs, whatever v is: every arc is lowered by its own rounding."""
        u = np.empty(len(self.x))
        fixed = self.scale, self.kappa, self.x_labels, self.y_labels, self.x, self.y, self.x_norms, self.y_norms
        bound = 1 - self.relative, self.lost, NEAR
        if self.squared is not None and self.squared.size <= SMALL:  # threads would cost more than they save
            certified_minima(self.squared, 0, *fixed, *bound, v, u)
        else:
            self.over_rows(lambda first, last, block: certified_minima(block, first, *fixed, *bound, v, u))
        return u - 2 * UNIT * np.abs(u) - self.floor  # the subtraction of v rounds once more

    def dense(self) -> NDArray:
        """All distances, shape (m, n)."""
        c = self.scale * np.sqrt(self.block(0, len(self.x)).astype(np.float64))
        if self.kappa:
            c += self.kappa * (self.x_labels[:, None] != self.y_labels)
        return c

    def over_rows(self, call: Callable[[int, int, NDArray], None]) -> None:
        """``call(first, last, squared[first:last])`` for runs of rows that cover all, on threads."""
        m, n = self.shape
        size = m if self.squared is not None else max(1, min(m, STORED // (8 * n)))
        for first in range(0, m, size):
            last = min(first + size, m)
            block, piece = self.block(first, last), max(1, -(-(last - first) // 8))
            pieces = [(k, min(k + piece, last - first)) for k in range(0, last - first, piece)]

            def one(_: int, low: int, high: int, first: int = first, block: NDArray = block) -> None:
                call(first + low, first + high, block[low:high])

            over_users(one, pieces)


def euclidean(
    x: NDArray, y: NDArray, *, scale: float = 1.0, labels: tuple[NDArray, NDArray] | None = None, kappa: float = 0.0
) -> Costs:
    """Distances between the rows of x and of y.

    Parameters
    ----------
    x, y : ndarray, shapes (m, p) and (n, p)
        Both uint8, or both float64.
    scale : float
        Distances are multiplied by it.
    labels : tuple of ndarray, optional
        Labels of x and y, for the metric with `kappa`.
    kappa : float
        Price of a difference in labels.
    """
    p = x.shape[1]
    centre, lost = None, 0.0
    norms = np.zeros(len(x)), np.zeros(len(y))
    if x.dtype == np.uint8:  # exact but for the root; a scaled pixel is a float near its whole number
        relative, floor = 8 * UNIT, 0.0 if scale == 1.0 else 4 * UNIT * scale * 255 * math.sqrt(p)
    else:
        largest = max(float(np.abs(z).max(initial=0.0)) for z in (x, y))
        unit = 2.0 ** min(math.frexp(largest)[1], 1023)  # squares must neither vanish nor overflow
        x, y, scale = x / unit, y / unit, scale * unit
        reach = math.hypot(*np.maximum(np.abs(x).max(0, initial=0.0), np.abs(y).max(0, initial=0.0)).tolist())
        require(
            bool(np.isfinite(4 * reach * scale + kappa)),
            "the points are larger than floats can square; divide them by a common number",
        )
        # differences round once, squares, the sum, the root and the product: relative to the distance itself, as long
        # as no square vanishes
        relative, floor = (p + 8) * UNIT, scale * math.sqrt(p) * 2.0**-535 + 2.0**-1072
        if not by_differences(len(x), len(y), p):
            some = np.concatenate([z[:: max(1, len(z) // 50)] for z in (x, y)])
            centre = np.median(some, axis=0)  # a middle that no outlier moves
            norms = tuple(np.einsum("ij,ij->i", z - centre, z - centre) for z in (x, y))  # type: ignore[assignment]
            lost = 2 * (p + 10) * UNIT
    whole = np.zeros(len(x), np.int64), np.zeros(len(y), np.int64)
    if labels is not None:
        codes = np.unique(np.concatenate(labels), return_inverse=True)[1]
        whole = codes[: len(x)].astype(np.int64), codes[len(x) :].astype(np.int64)
    bytes_needed = len(x) * len(y) * (4 if x.dtype == np.uint8 else 8)
    squared = squared_distances(x, y, centre) if bytes_needed <= STORED else None
    return Costs(x, y, scale, *whole, kappa, squared, relative, floor, *norms, lost, centre)


def by_differences(m: int, n: int, p: int) -> bool:
    """Whether m x n distances in p features are few enough for differences, which lose no digits."""
    return p <= DIRECT or m * n * p <= DIRECT_WORK


def squared_distances(x: NDArray, y: NDArray, centre: NDArray | None = None) -> NDArray:
    """||x_i - y_j||^2, shape (m, n): exact int32 for 8-bit integers, else float64, products about `centre`."""
    m, n = len(x), len(y)
    if x.dtype == np.uint8 and x.shape[1] <= 2**31 // 255**2:
        return _squared_pixels(x, y)
    x, y = x.astype(np.float64, copy=False), y.astype(np.float64, copy=False)
    out = np.empty((m, n))
    size = max(1, min(-(-n // 4), BLOCK // max(m, 1)))
    pieces = [(k, min(k + size, n)) for k in range(0, n, size)]
    if by_differences(m, n, x.shape[1]):
        over_users(lambda _, first, last: squared_differences(x, y[first:last], out[:, first:last]), pieces)
        return out
    a, b = (x, y) if centre is None else (x - centre, y - centre)
    nx, ny = np.einsum("ij,ij->i", a, a), np.einsum("ij,ij->i", b, b)

    def piece(_: int, first: int, last: int) -> None:
        part = a @ b[first:last].T
        part *= -2
        part += nx[:, None]
        part += ny[first:last]
        repair_near(x, y[first:last], nx, ny[first:last], NEAR, part)
        out[:, first:last] = part

    over_users(piece, pieces)
    return out


def _squared_pixels(x: NDArray, y: NDArray) -> NDArray:
    """Exact squared distances of 8-bit integers, by products in float32 of so few pixels at once that they are
    exact.
    """
    inked = np.flatnonzero(x.any(0) | y.any(0))
    x, y = np.ascontiguousarray(x[:, inked]), np.ascontiguousarray(y[:, inked])
    cuts = [(k, min(k + PIXELS_AT_ONCE, len(inked))) for k in range(0, len(inked), PIXELS_AT_ONCE)]
    parts = [np.ascontiguousarray(x[:, first:last], dtype=np.float32) for first, last in cuts]
    nx, ny = (np.einsum("ij,ij->i", z, z, dtype=np.int64).astype(np.int32) for z in (x, y))
    out = np.empty((len(x), len(y)), np.int32)
    size = max(1, min(-(-len(y) // 4), BLOCK // max(len(x), 1)))

    def piece(_: int, first: int, last: int) -> None:
        total = nx[:, None] + ny[first:last]
        for (a, b), part in zip(cuts, parts, strict=True):
            product = part @ y[first:last, a:b].astype(np.float32).T
            product *= 2
            total -= product.astype(np.int32)
        out[:, first:last] = total

    over_users(piece, [(k, min(k + size, len(y))) for k in range(0, len(y), size)])
    return out
