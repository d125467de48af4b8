"""A finite-support probability distribution, and what enters one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, require

# Weights are sums of m terms; a sum of m floats near 1 is off by at most about m/2 ulp, and m stays below 1e7.
WEIGHT_TOLERANCE = 1e-9


EXACT = 2**53  # whole numbers up to this are floats


def given_array(values: Any, what: str) -> NDArray:
    """`values` as an array that says what they said: no mask dropped, no whole number rounded.

    Raises
    ------
    InputError
        Masked values; whole numbers beyond 2^53, which arithmetic in floats would take for one another.
    """
    require(not _masked(values), f"{what}: some values are masked; drop those rows, or fill them in")
    try:
        x = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise InputError(f"{what}: {_short(error)}; give an array of numbers, or rows of one length") from error
    if x.dtype.kind in "iu" and x.dtype.itemsize == 8 and x.size:
        require(
            max(-int(x.min()), int(x.max())) <= EXACT,
            f"{what}: integers up to {max(abs(int(x.min())), abs(int(x.max())))}; beyond 2^53 integers have no exact "
            "float: subtract a common number, or scale them",
        )
    elif x.dtype.kind == "f" and x.size:
        large = np.abs(x) >= EXACT
        if large.any() and not isinstance(values, np.ndarray):  # whole numbers among floats were rounded just now
            entries = np.asarray(values, dtype=object).ravel()[np.flatnonzero(large.ravel())]
            require(
                not any(isinstance(v, (int, np.integer)) and abs(int(v)) > EXACT for v in entries),
                f"{what}: integers beyond 2^53 among floats have no exact float: subtract a common number, or scale "
                "them",
            )
        if x.dtype.itemsize > 8:
            with np.errstate(over="ignore"):
                narrow = x.astype(np.float64)
            require(
                bool((narrow == x).all() or not np.isfinite(x).all()),
                f"{what}: {x.dtype} holds more digits than float64; round them, or subtract a common number",
            )
            x = narrow
    return x


def _masked(values: Any) -> bool:
    """Whether a masked array, or a list that holds one, hides values."""
    if isinstance(values, np.ma.MaskedArray):
        return bool(np.ma.getmaskarray(values).any())
    return isinstance(values, (list, tuple)) and any(
        v is np.ma.masked or (isinstance(v, (list, tuple, np.ma.MaskedArray)) and _masked(v)) for v in values
    )


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def checked_labels(labels: Any, what: str) -> NDArray:
    """Labels as they are, in a contiguous array: classes in any names, or real targets."""
    y = np.ascontiguousarray(given_array(labels, f"{what}: labels"))
    if y.dtype.kind == "O":
        require(not any(missing(v) for v in y.ravel()), f"{what}: a label is missing (None or NaN); drop those points")
    return y


def missing(value: Any) -> bool:
    """Whether a value of a table stands for none: None, NaN, NaT, pandas.NA."""
    return (
        value is None
        or value is np.ma.masked
        or type(value).__name__ in ("NAType", "NaTType")
        or (isinstance(value, (float, np.floating)) and value != value)  # NaN
        or (isinstance(value, (np.datetime64, np.timedelta64)) and bool(np.isnat(value)))
    )


def checked_weights(weights: NDArray, what: str) -> NDArray:
    """Validated float64 copy of `weights`: finite, nonnegative, sum 1."""
    given = given_array(weights, f"{what}: weights")
    require(given.dtype.kind in "uifb", f"{what}: weights have dtype {given.dtype}; give real numbers")
    w = np.array(given, dtype=np.float64)
    require(bool(np.isfinite(w).all()), f"{what}: weights contain NaN or infinity; drop those points")
    require(bool((w >= 0).all()), f"{what}: the smallest weight is {w.min() if w.size else 0:g}; weights must be >= 0")
    total = float(w.sum())
    require(
        abs(total - 1.0) <= WEIGHT_TOLERANCE, f"{what}: weights sum to {total:.12g}, not 1; divide them by their sum"
    )
    return w


def checked_rows(points: ArrayLike, what: str) -> NDArray:
    """`points` as a C-contiguous (m, p) array in its own dtype; integers stay integers, other things become float64."""
    x = given_array(points, f"{what}: points")
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
        Probabilities, summing to 1; uniform when absent. They stand for the real numbers w_i / sum w, taken exactly.
        Rounded quotients k_i / N of whole numbers stand for these quotients as well: between two such measures
        distances are taken between the counts, and certified ends hold both readings.

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
        weights = np.full(m, 1.0 / m) if self.weights is None else given_array(self.weights, "Measure: weights")
        require(
            weights.shape == (m,), f"Measure: {m} points but weights of shape {weights.shape}; give one weight a point"
        )
        object.__setattr__(self, "points", x)
        object.__setattr__(self, "weights", checked_weights(weights, "Measure"))
        if self.labels is not None:
            y = checked_labels(self.labels, "Measure")
            require(y.shape == (m,), f"Measure: {m} points but labels of shape {y.shape}; give one label a point")
            object.__setattr__(self, "labels", y)

    def __len__(self) -> int:
        return len(self.points)

    def mean(self) -> NDArray:
        """Mean of the points, shape (p,)."""
        return self.weights @ self.points.astype(np.float64)
