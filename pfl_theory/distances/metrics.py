"""Metrics that a user gives as a matrix or as a function, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, require
from ..seeds import generator

TRIPLES = 100_000
ROUNDING = (
    1e-12  # relative to the largest distance: what computing a metric in floats may cost in symmetry and triangles
)
MOST_POINTS = 4000


def real_matrix(given: Any) -> NDArray:
    """What a user gave as a matrix of distances, in float64."""
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"metric: {type(given).__name__} is neither 'euclidean', 'labelled', a matrix of numbers nor a function"
        ) from error


def checked_matrix(c: NDArray) -> NDArray:
    """A (k, k) matrix that is a metric as far as can be seen.

    Raises
    ------
    InputError
        Not square, not finite, negative, not symmetric, a diagonal that is not zero, or one of 100,000 random triples
        against the triangle inequality; the message names the points.

    Examples
    --------
    >>> checked_matrix(np.array([[0.0, 1.0], [2.0, 0.0]]))
    Traceback (most recent call last):
    ...
    pfl_theory.errors.InputError: metric: the distance from point 0 to 1 is 1, from 1 to 0 it is 2; a metric is
    symmetric
    """
    require(
        c.ndim == 2 and c.shape[0] == c.shape[1] and len(c) > 0, f"metric: a matrix of shape {c.shape}; give (k, k)"
    )
    k = len(c)
    require(
        bool(np.isfinite(c).all()), "metric: a distance is NaN or infinite; every two points need a finite distance"
    )
    require(bool((c >= 0).all()), f"metric: a distance is {c.min():g}; distances are >= 0")
    allowed = ROUNDING * float(c.max())
    i = int(np.argmax(np.abs(np.diag(c))))
    require(abs(c[i, i]) <= allowed, f"metric: the distance from point {i} to itself is {c[i, i]:g}; it must be 0")
    i, j = sorted(int(n) for n in np.unravel_index(int(np.argmax(np.abs(c - c.T))), c.shape))
    require(
        abs(c[i, j] - c[j, i]) <= allowed,
        f"metric: the distance from point {i} to {j} is {c[i, j]:g}, from {j} to {i} it is {c[j, i]:g}; a metric is "
        "symmetric",
    )
    a, b, m = generator(0, "triples of a metric").integers(k, size=(3, TRIPLES))
    excess = c[a, b] - c[a, m] - c[m, b]
    w = int(np.argmax(excess))
    require(
        excess[w] <= 4 * allowed,
        f"metric: from point {a[w]} to {b[w]} it is {c[a[w], b[w]]:g}, but by way of {m[w]} only "
        f"{c[a[w], m[w]] + c[m[w], b[w]]:g};"
        " the triangle inequality fails",
    )
    return c


def distances_by(metric: Any, x: NDArray, y: NDArray) -> NDArray:
    """Distances between the rows of x and y by a function, or by a matrix whose points are numbered."""
    if callable(metric):
        require(
            max(len(x), len(y)) <= MOST_POINTS,
            f"metric: a function on {max(len(x), len(y))} points; at most {MOST_POINTS}, larger problems need "
            "'euclidean' or 'labelled'",
        )
        c = np.asarray(metric(x, y), dtype=np.float64)
        require(
            c.shape == (len(x), len(y)),
            f"metric: the function returned shape {c.shape} for {len(x)} and {len(y)} points; must be ({len(x)}, "
            f"{len(y)})",
        )
        return c
    k = len(metric)
    for z in (x, y):
        whole = z[:, 0].astype(np.int64)
        good = z.shape[1] == 1 and (whole == z[:, 0]).all() and (whole >= 0).all() and (whole < k).all()
        require(
            bool(good),
            f"metric: with a matrix of {k} points, the measures' points are their numbers 0 to {k - 1}, shape (m, 1)",
        )
    return np.asarray(metric)[x[:, 0].astype(np.int64)[:, None], y[:, 0].astype(np.int64)]
