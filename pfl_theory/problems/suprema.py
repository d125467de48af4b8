"""gamma_G as a supremum over w, certified from above on a line or in the plane."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..constants import Constant
from ..errors import require
from ..losses.certified import certified_max
from ..losses.logistic import SUP_D2_SIGMOID, Logistic
from ..losses.loss import ball_center
from ..losses.row_moments import user_rows
from ..rigour.rounding import UNIT
from .problem import Problem
from .rows import RowOracle

Slopes = Callable[
    [NDArray, float], tuple[float, float, float]
]  # of gamma_G, of gradients, of Hessians (r.m.s. over users)


@dataclass(frozen=True)
class Supremum(Constant):
    """A constant that is a supremum over w, with the largest value seen.

    Attributes
    ----------
    found : float
        Largest value at a point (or limit): the supremum is at least this.
    at : ndarray, shape (d,)
        Where; infinite for a limit.
    """

    found: float
    at: NDArray


def gamma_G_slope(problem: Problem, *, radius: float | None = None, center: ArrayLike | None = None) -> Constant:  # noqa: N802 - the paper's symbol
    """Lipschitz constant of w -> gamma_G(w), proved from above: the least of gamma_H, ((1/n) sum L_i^2)^(1/2) and, for
    convex users, max L_i / 2.

    Parameters
    ----------
    problem : Problem
    radius, center : float and (d,) array_like, optional
        Ball of w whose constants are used; the whole space when absent.

    Returns
    -------
    Constant
        One number, ``upper``; ``none`` where L is not known.

    Notes
    -----
    The derivative of gamma_G along a unit v is at most ((1/n) sum ||(H_i - H) v||^2)^(1/2), a standard deviation over
    users [theory 5.11].

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> fed = pfl.Federation.from_arrays([[[0.0]], [[0.0]]])
    >>> problem = pfl.Problem(pfl.losses.Quadratic([[[1.0]], [[0.0]]]), fed)  # w^2/2 and 0: gamma_G(w) = |w|/2
    >>> gamma_G_slope(problem).max(), problem.gamma_G([3.0])
    (0.5, 1.5)
    """
    return _slope(problem, problem.constants(radius=radius, center=center))


def supremum_gamma_G(  # noqa: N802 - the paper's symbol
    problem: Problem, *, radius: float | None, center: ArrayLike | None = None, tolerance: float = 1e-6
) -> Supremum:
    """Supremum of gamma_G(w) over a ball of w in dimension 1 or 2, certified from above by branch and bound.

    Parameters
    ----------
    problem : Problem
        d = 1 or 2, float64.
    radius : float or None
        Of the ball ||w - center|| <= radius. None means the whole line: only for Logistic without penalty and d = 1,
        where the tails are bounded.
    center : (d,) array_like, optional
        0 when absent.
    tolerance : float
        The returned bound exceeds the largest value seen by at most this (plus rounding), unless more than 20,000 cells
        are needed: the bound is then looser and still valid, and `reason` says by how much.

    Returns
    -------
    Supremum
        ``upper``, usable in a bound; `found` is the lower value and `at` its point.

    Raises
    ------
    InputError
        d > 2 (use :func:`search_gamma_G`), no proved Lipschitz constant, a whole line without tail bound.

    Notes
    -----
    A cell with a point p at gamma_G(p) = g, farthest reach h, slope s of :func:`gamma_G_slope` and q = g^2 holds no
    value above min(g + s h, (q + ||grad q(p)|| h + (s^2 + r (g + s h)) h^2)^(1/2)), r the root mean square of the
    users' rho [theory 5.11].

    Examples
    --------
    Users x = 1 and x = 2, both with label 1: neither w = 0 nor infinity is the maximiser [theory 5.11].

    >>> import pfl_theory as pfl
    >>> problem = pfl.Problem(pfl.losses.Logistic(), pfl.Federation.from_arrays([[[1.0]], [[2.0]]], [[1], [1]]))
    >>> sup = supremum_gamma_G(problem, radius=None)
    >>> sup.how, round(sup.max(), 5), round(sup.found, 8), round(float(sup.at[0]), 3)
    ('upper', 0.54499, 0.54498992, -1.663)
    """
    require(bool(np.isfinite(tolerance) and tolerance > 0), f"tolerance = {tolerance}; must be a finite number > 0")
    require(
        problem.dim <= 2,
        f"supremum_gamma_G: d = {problem.dim}; a supremum is certified for d = 1 or 2 only, use search_gamma_G for "
        "a value from below",
    )
    require(
        problem.oracle.dtype == np.float64,
        f"supremum_gamma_G: the problem computes in {problem.oracle.dtype}; use float64",
    )
    plain = isinstance(problem.oracle, RowOracle) and problem.dim == 1 and problem.loss == Logistic()
    if radius is None:
        require(
            plain,
            "supremum_gamma_G: radius = None (the whole line) needs Logistic() without penalty and d = 1; give "
            "radius= for a ball of w",
        )
        require(center is None, "supremum_gamma_G: a center needs radius=")
        return _on_the_line(problem, tolerance)
    middle = ball_center(problem.dim, None if center is None else np.asarray(center, dtype=np.float64))
    constants = problem.constants(radius=radius, center=middle)
    upper, found, at = _certified(
        problem, constants, middle, radius, tolerance, _logistic_slopes(problem) if plain else None
    )
    return _supremum(
        problem, constants, upper, found, at, f"ball of radius {radius:g}", float(np.linalg.norm(middle)) + radius
    )


# -- shared ------------------------------------------------------------------------------------------------------------


def _slope(problem: Problem, constants: dict[str, Constant]) -> Constant:
    curvature = constants.get("L")
    choices = {}
    if curvature is not None and curvature.usable:
        choices["r.m.s. of L_i"] = float(np.sqrt((curvature.values**2).mean()))
        if isinstance(problem.oracle, RowOracle) and problem.loss.convex:
            choices["max L_i / 2, convex users"] = curvature.max() / 2
    spread = constants.get("gamma_H")
    if spread is not None and spread.usable:
        choices["gamma_H"] = spread.max()
    if not choices:
        return Constant.none(1, "needs L or gamma_H from above")
    least = min(choices, key=lambda name: choices[name])
    return Constant.upper(choices[least], f"{least} [theory 5.11]")


def square_and_slope(problem: Problem, w: NDArray) -> tuple[float, NDArray]:
    """q = gamma_G(w)^2 and grad q = (2/n) sum H_i (m_i - m): the term with H drops out, as the differences sum to 0."""
    g = problem.gradient(w)
    away = g - g.mean(0)
    return float((away**2).sum(1).mean()), 2 * problem.hvp(w, away).mean(0)


def onto_ball(points: NDArray, center: NDArray, radius: float) -> NDArray:
    """Nearest points of the ball, row by row."""
    away = points - center
    distance = np.linalg.norm(away, axis=1, keepdims=True)
    return np.where(distance > radius, center + away * (radius / np.maximum(distance, 1e-300)), points)


def _certified(
    problem: Problem,
    constants: dict[str, Constant],
    center: NDArray,
    radius: float,
    tolerance: float,
    slopes: Slopes | None,
) -> tuple[float, float, NDArray]:
    """Branch and bound on the ball."""
    slope = _slope(problem, constants).bound("supremum_gamma_G: the Lipschitz constant of gamma_G")
    known = [c for c in (constants.get("L"), constants.get("rho")) if c is not None and c.usable]
    second_order = len(known) == 2 and problem.oracle.has_hvp
    if slopes is None:
        everywhere = (
            (slope, known[0].max(), float(np.sqrt((known[1].values ** 2).mean())))
            if second_order
            else (slope, 0.0, 0.0)
        )

    def bounds(points: NDArray, reach: float) -> tuple[NDArray, NDArray]:
        values, ceilings = np.empty(len(points)), np.empty(len(points))
        for k, p in enumerate(points):
            slope, curvature, third = everywhere if slopes is None else slopes(p, reach)
            if not second_order:
                values[k] = problem.gamma_G(p)
                ceilings[k] = values[k] + slope * reach
                continue
            q, steep = square_and_slope(problem, p)
            values[k] = math.sqrt(q)
            ceilings[k] = first = values[k] + slope * reach
            if curvature * reach <= values[k] and third * reach <= curvature:  # near enough for rounding to be covered
                ceilings[k] = min(
                    first, math.sqrt(q + float(np.linalg.norm(steep)) * reach + (slope**2 + third * first) * reach**2)
                )
        return values, ceilings

    disc = None if problem.dim == 1 else lambda p: onto_ball(p, center, radius)
    return certified_max(bounds, center - radius, center + radius, tolerance=tolerance, project=disc)


def _supremum(
    problem: Problem, constants: dict[str, Constant], upper: float, found: float, at: NDArray, where: str, reach: float
) -> Supremum:
    """The record: rounding added, cut to what the constants know of gamma_G."""
    gap, upper = upper - found, upper + _rounding(problem, constants, reach)
    known = constants.get("gamma_G")
    if known is not None and known.usable:
        upper = min(upper, known.max())
    reason = f"{where}: branch and bound, {gap:.1e} above the value {found:.10g} found [theory 5.11]"
    return Supremum(np.array([max(upper, found)]), "upper", reason, found, at)


def _rounding(problem: Problem, constants: dict[str, Constant], reach: float) -> float:
    """Bound of the rounding error of a computed gamma_G at ||w|| <= reach
    (docs/theory/heterogeneity.md#5-11-certified-supremum); functions are taken as they compute.
    """
    if not isinstance(problem.oracle, RowOracle):
        return 0.0
    fed = problem.federation
    size = float(np.abs(fed.x.astype(np.float64)).max()) * fed.scale * math.sqrt(fed.n_features)
    count = int(fed.sizes.max()) + fed.n_users + problem.dim + 64
    return (
        32
        * count
        * UNIT
        * (constants["B_datum"].bound("B_datum") + constants["L_datum"].bound("L_datum") * (reach + size))
    )


# -- the whole line, one feature ---------------------------------------------------------------------------------------


def _logistic_slopes(problem: Problem) -> Slopes:
    """Slopes of users with one feature at |w| >= a: sigma' is even and decreasing in the modulus, |sigma''| <=
    sigma'.
    """
    fed = problem.federation
    x = np.abs(fed.x[:, 0].astype(np.float64)) * fed.scale
    second, third, starts = fed.weights * x**2, fed.weights * x**3, fed.offsets[:-1]

    def slopes(point: NDArray, reach: float) -> tuple[float, float, float]:
        e = np.exp(-np.maximum(np.abs(point[0]) - reach, 0.0) * x)
        curvature = e / (1 + e) ** 2
        high = np.add.reduceat(second * curvature, starts)
        rho = np.add.reduceat(third * np.minimum(curvature, SUP_D2_SIGMOID), starts)
        top = float(high.max())
        return min(top / 2, float(np.sqrt((high**2).mean()))), top, float(np.sqrt((rho**2).mean()))

    return slopes


def _on_the_line(problem: Problem, tolerance: float) -> Supremum:
    """Branch and bound on [-W, W], and beyond it the limits with |gamma_G(w) - gamma_G(+-inf)| <= r.m.s. of E_i|x|
    e^{-W|x|} [theory 5.11].
    """
    users = [user_rows(problem.federation, i) for i in range(problem.n_users)]

    def tail(reach: float) -> float:
        return float(
            np.sqrt(np.mean([(pi @ (np.abs(x[:, 0]) * np.exp(-reach * np.abs(x[:, 0])))) ** 2 for x, pi, _ in users]))
        )

    largest = max(float(np.abs(x).max()) for x, _, _ in users)
    reach = 1 / largest if largest > 0 else 1.0
    while tail(reach) > tolerance / 2:  # ends: |x| e^{-W|x|} <= 1/(eW)
        reach *= 2
    limits = []
    for sign in (-1.0, 1.0):
        means = np.array([pi @ (((sign * x[:, 0] > 0) - np.asarray(y)) * x[:, 0]) for x, pi, y in users])
        limits.append((float(means.std()), sign))
    constants = problem.constants()
    upper, found, at = _certified(problem, constants, np.zeros(1), reach, tolerance, _logistic_slopes(problem))
    limit, sign = max(limits)
    if limit > found:
        found, at = limit, np.array([sign * np.inf])
    upper = max(upper, limit + tail(reach))
    # with one feature a margin has a relative error, and |u sigma'(u)| is bounded: rounding does not grow with |w|
    return _supremum(problem, constants, upper, found, at, f"whole line, tails beyond {reach:.4g}", 0.0)
