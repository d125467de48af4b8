"""Cheaper quantities that bound W1 from below. None of them bounds gamma_G from above, except through W1 itself
[theory 8.7].
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..errors import require
from ..federations.measure import Measure
from ..seeds import generator
from .costs import euclidean
from .support import checked_pair


def mean_sliced_factor(d: int) -> float:
    """E|theta_1| for theta uniform on the sphere of R^d: Gamma(d/2) / (sqrt(pi) Gamma((d+1)/2)).

    Examples
    --------
    >>> round(mean_sliced_factor(2), 4), round(mean_sliced_factor(784), 5)
    (0.6366, 0.0285)
    """
    return math.exp(math.lgamma(d / 2) - math.lgamma((d + 1) / 2)) / math.sqrt(math.pi)


def lower_bounds(
    p: Measure, q: Measure, *, directions: int = 100, smoothing: float = 0.1, sweeps: int = 20, seed: int = 0
) -> dict[str, float]:
    """Lower bounds of the Euclidean W1(p, q), each proved in docs/theory/sampling.md#8-7.

    Parameters
    ----------
    p, q : Measure
        Labels do not count.
    directions : int
        For the sliced bounds. ``max sliced`` is a bound for every choice of directions; ``sliced`` is the mean over
        random directions divided by E|theta_1|: an estimate of a lower bound, with Monte Carlo error of its own.
    smoothing : float
        Of the Sinkhorn bound, in units of the mean distance.
    sweeps : int
        Sinkhorn sweeps; the bound holds however few.
    seed : int
        Of the directions.

    Returns
    -------
    dict of str to float
        ``max sliced``, ``sliced``, ``energy`` (half the energy distance), ``sinkhorn``, ``nearest neighbour``,
        ``means``.

    Examples
    --------
    >>> found = lower_bounds(Measure([[0.0, 0.0]]), Measure([[3.0, 4.0]]))
    >>> {name: round(value, 6) for name, value in found.items() if "sliced" not in name}
    {'means': 5.0, 'energy': 5.0, 'sinkhorn': 5.0, 'nearest neighbour': 5.0}
    """
    checked_pair(p, q)
    require(
        directions >= 1 and sweeps >= 1 and smoothing > 0,
        "lower_bounds: directions and sweeps must be >= 1, smoothing > 0",
    )
    x, y = p.points.astype(np.float64), q.points.astype(np.float64)
    slices = _slices(x, y, p.weights, q.weights, directions, seed)
    cross, within_p, within_q = (euclidean(a, b).dense() for a, b in ((x, y), (x, x), (y, y)))
    mean = float(p.weights @ cross @ q.weights)
    energy = mean - 0.5 * float(p.weights @ within_p @ p.weights + q.weights @ within_q @ q.weights)
    near = max(float(p.weights @ cross.min(1)), float(q.weights @ cross.min(0)))
    return {
        "means": float(np.linalg.norm(p.weights @ x - q.weights @ y)),
        "max sliced": float(slices.max()),
        "sliced": float(slices.mean()) / mean_sliced_factor(x.shape[1]),
        "energy": energy,
        "sinkhorn": _sinkhorn(cross, within_p, within_q, p.weights, q.weights, smoothing * mean, sweeps)
        if mean > 0
        else 0.0,
        "nearest neighbour": near,
    }


def _slices(x: NDArray, y: NDArray, a: NDArray, b: NDArray, directions: int, seed: int) -> NDArray:
    """W1 of the projections: int |F - G| direction by direction."""
    theta = generator(seed, "directions").standard_normal((directions, x.shape[1]))
    theta /= np.linalg.norm(theta, axis=1, keepdims=True)
    at = np.concatenate([x, y]) @ theta.T
    signed = np.concatenate([a, -b])
    order = np.argsort(at, axis=0, kind="stable")
    ahead = np.cumsum(signed[order], axis=0)[:-1]
    return (np.abs(ahead) * np.diff(np.take_along_axis(at, order, 0), axis=0)).sum(0)


def _sinkhorn(
    cross: NDArray, within_p: NDArray, within_q: NDArray, a: NDArray, b: NDArray, eps: float, sweeps: int
) -> float:
    """int (f - g)/2 d(p - q) with f, g extended as soft minima of distances: both are 1-Lipschitz, converged or not."""

    def soft(c: NDArray, dual: NDArray, weights: NDArray) -> NDArray:
        with np.errstate(divide="ignore"):  # points without weight
            exponent = (dual - c) / eps + np.log(weights)
        top = exponent.max(1, keepdims=True)
        return -eps * (top[:, 0] + np.log(np.exp(exponent - top).sum(1)))

    g = np.zeros(len(b))
    for _ in range(sweeps):
        f = soft(cross, g, b)
        g = soft(cross.T, f, a)
    # values of both at the points of both measures; f from g and g from f, on the whole space
    f_x, f_y = soft(cross, g, b), soft(within_q, g, b)
    g_x, g_y = soft(within_p, f, a), soft(cross.T, f, a)
    return float(a @ (f_x - g_x) - b @ (f_y - g_y)) / 2
