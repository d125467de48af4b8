"""Certified maxima by branch and bound: only cells that may hold the maximum are halved (proof:
docs/theory/constants.md#5-7, the certified maximum).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

FIRST_CELLS = 256  # 256 on a line, 16 x 16 in the plane
MOST_CELLS = 20_000  # beyond this the bound stays looser than asked for, and valid
TOGETHER = 512  # points evaluated at once

Bounds = Callable[[NDArray, float], tuple[NDArray, NDArray]]


def by_slope(f: Callable[[NDArray], NDArray], slope: float) -> Bounds:
    """Ceilings of a function (k, d) -> (k,) with Lipschitz constant `slope`: its value plus slope times reach."""

    def bounds(points: NDArray, reach: float) -> tuple[NDArray, NDArray]:
        values = f(points)
        return values, values + slope * reach

    return bounds


def certified_max(
    bounds: Bounds,
    low: ArrayLike,
    high: ArrayLike,
    *,
    tolerance: float,
    project: Callable[[NDArray], NDArray] | None = None,
) -> tuple[float, float, NDArray]:
    """Upper bound of the maximum of a function on a box, or on a convex part of it.

    Parameters
    ----------
    bounds : callable (points (k, d), reach) -> values (k,), ceilings (k,)
        Values at points, and upper bounds of the function within distance `reach` of each (and inside the convex part).
    low, high : (d,) array_like
        Corners of the box.
    tolerance : float
        Cells are halved until each remaining ceiling is within this of its value, or there are more than 20,000 of
        them.
    project : callable (k, d) -> (k, d), optional
        Projection onto a convex set: the maximum is then over the part of the set in the box. Points of the set in a
        cell are no farther from the projection of its centre than from the centre itself, so the projection stands in
        for the centre.

    Returns
    -------
    tuple of float, float, ndarray (d,)
        The upper bound; the largest value seen, a lower bound; where it was seen.

    Examples
    --------
    >>> upper, found, at = certified_max(by_slope(lambda p: np.sin(p[:, 0]), 1.0), [0.0], [3.0], tolerance=1e-6)
    >>> 1.0 <= upper <= found + 1e-6, found <= 1.0, round(float(at[0]), 2)
    (True, True, 1.57)
    """
    lows, highs = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    d = len(lows)
    pieces = round(FIRST_CELLS ** (1 / d))
    axes = [np.linspace(a, b, pieces + 1)[:-1] for a, b in zip(lows, highs, strict=True)]
    cells = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)  # corners
    widths = (highs - lows) / pieces
    best, at = -np.inf, lows
    while True:
        centres, reach = cells + widths / 2, float(np.linalg.norm(widths)) / 2
        if project is not None:
            points = project(centres)
            meets = np.linalg.norm(points - centres, axis=1) <= reach * (1 + 1e-12)
            cells, centres = cells[meets], points[meets]
        parts = [bounds(part, reach) for part in np.array_split(centres, max(1, len(centres) // TOGETHER))]
        values, ceilings = (np.concatenate(both) for both in zip(*parts, strict=True))
        top = int(np.argmax(values))
        if values[top] > best:
            best, at = float(values[top]), centres[top].copy()
        keep = ceilings > best
        # what was dropped, now or earlier, had a ceiling at or below the best value
        if not keep.any() or (ceilings - values)[keep].max() < tolerance or keep.sum() > MOST_CELLS:
            return max(best, float(ceilings.max())), best, at
        widths = widths / 2
        corners = [np.array(corner) * widths for corner in itertools.product((0, 1), repeat=d)]
        cells = np.concatenate([cells[keep] + corner for corner in corners])
