"""A finite-support probability distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import require

# Weights are sums of m terms; a sum of m floats near 1 is off by at most about m/2 ulp, and m stays below 1e7.
WEIGHT_TOLERANCE = 1e-9


def checked_weights(weights: NDArray, what: str) -> NDArray:
    """Validated float64 copy of `weights`: finite, nonnegative, sum 1."""
    w = np.array(weights, dtype=np.float64)
    require(bool(np.isfinite(w).all()), f"{what}: weights contain NaN or infinity; drop those points")
    require(bool((w >= 0).all()), f"{what}: the smallest weight is {w.min() if w.size else 0:g}; weights must be >= 0")
    total = float(w.sum())
    require(
        abs(total - 1.0) <= WEIGHT_TOLERANCE, f"{what}: weights sum to {total:.12g}, not 1; divide them by their sum"
    )
    return w


def checked_rows(points: ArrayLike, what: str) -> NDArray:
    """`points` as a C-contiguous (m, p) array in its own dtype; integers stay integers, other things become float64."""
    x = np.asarray(points)
    if x.ndim == 1:
        x = x[:, None]
    require(x.ndim == 2, f"{what}: points have shape {x.shape}; give (m, p), one row a point")
    if x.dtype.kind not in "uif":
        require(x.dtype.kind == "b", f"{what}: points have dtype {x.dtype}; give real numbers")
        x = x.astype(np.uint8)
    if x.dtype.kind == "f":
        require(bool(np.isfinite(x).all()), f"{what}: points contain NaN or infinity; drop or repair those rows")
    return np.ascontiguousarray(x)


@dataclass(frozen=True)
class Measure:
    """A distribution with finite support.

    Parameters
    ----------
    points : array_like, shape (m, p) or (m,)
        Support points. A one-dimensional array is read as m points in R.
    labels : array_like, shape (m,), optional
        A label (or real target) per point.
    weights : array_like, shape (m,), optional
        Probabilities, summing to 1; uniform when absent.

    Raises
    ------
    InputError
        Empty support, NaN or infinite points, lengths that differ, weights that are negative or do not sum to 1.

    Examples
    --------
    >>> p = Measure([0.0, 1.0, 3.0], weights=[0.5, 0.25, 0.25])
    >>> len(p), float(p.mean()[0])
    (3, 1.0)
    """

    points: NDArray
    labels: NDArray | None = None
    weights: NDArray = None  # type: ignore[assignment]  # filled in below, never None afterwards

    def __post_init__(self) -> None:
        x = checked_rows(self.points, "Measure")
        m = len(x)
        require(m > 0, "Measure: no points; a distribution needs at least one")
        weights = np.full(m, 1.0 / m) if self.weights is None else np.asarray(self.weights)
        require(
            weights.shape == (m,), f"Measure: {m} points but weights of shape {weights.shape}; give one weight a point"
        )
        object.__setattr__(self, "points", x)
        object.__setattr__(self, "weights", checked_weights(weights, "Measure"))
        if self.labels is not None:
            y = np.ascontiguousarray(self.labels)
            require(y.shape == (m,), f"Measure: {m} points but labels of shape {y.shape}; give one label a point")
            object.__setattr__(self, "labels", y)

    def __len__(self) -> int:
        return len(self.points)

    def mean(self) -> NDArray:
        """Mean of the points, shape (p,)."""
        return self.weights @ self.points.astype(np.float64)
