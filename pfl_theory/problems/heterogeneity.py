"""Heterogeneity at given points: along a run, and from samples with the noise of sampling taken out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import require
from ..federations.federation import Federation
from ..losses.row_moments import DENSE_LIMIT
from .problem import Problem
from .rows import RowOracle

TOGETHER = 2**21  # numbers of gradients of single data held at once: 16 MB


@dataclass(frozen=True)
class AlongRun:
    """gamma at the points of a run. A plain record and no :class:`~pfl_theory.Constant`: it says nothing of other
    points and enters no claim.

    Attributes
    ----------
    gamma_G, gamma_H, gamma_F : ndarray, shape (points,), or None
        At each point; None where it was not asked for or the dimension is too large.
    label : str
    """

    gamma_G: NDArray  # noqa: N815 - the paper's symbols
    gamma_H: NDArray | None  # noqa: N815
    gamma_F: NDArray | None  # noqa: N815
    label: str = "along the run"

    def maxima(self) -> dict[str, float]:
        """Largest value of each over the points."""
        return {
            name: float(v.max()) for name in ("gamma_G", "gamma_H", "gamma_F") if (v := getattr(self, name)) is not None
        }


def gamma_along_run(problem: Problem, points: ArrayLike, alpha: float | None = None) -> AlongRun:
    """gamma_G, gamma_H and gamma_F at visited points: what the proofs use of them [theory 5.11].

    Parameters
    ----------
    problem : Problem
    points : array_like, shape (k, d)
        Common points, such as the models w_0, w_1, ... of a run.
    alpha : float, optional
        Inner step of gamma_F; without it there is no gamma_F.

    Returns
    -------
    AlongRun
        gamma_H only for d <= 64 and users with Hessians: it takes all eigenvalues of n matrices a point.

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> problem = pfl.Problem(pfl.losses.LogCosh(), pfl.Federation.from_arrays([[[-1.0]], [[1.0]]]))
    >>> here = gamma_along_run(problem, [[0.0], [2.0]])
    >>> here.label, [round(float(v), 6) for v in here.gamma_G], round(here.maxima()["gamma_G"], 6)
    ('along the run', [0.761594, 0.11673], 0.761594)
    """
    w = np.asarray(points, dtype=np.float64)
    good = w.ndim == 2 and w.shape[1] == problem.dim and len(w) > 0
    require(good, f"points has shape {w.shape}; give (k, {problem.dim}), one common point a row, at least one")
    require(bool(np.isfinite(w).all()), "points contain NaN or infinity; drop what came after a divergence")
    dense = problem.dim <= DENSE_LIMIT and problem.oracle.has_hessian
    return AlongRun(
        np.array([problem.gamma_G(p) for p in w]),
        np.array([problem.gamma_H(p) for p in w]) if dense else None,
        None if alpha is None else np.array([problem.gamma_F(p, alpha) for p in w]),
    )


# -- from samples ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Debiased:
    """gamma_G(w)^2 of the users' laws, estimated from samples of them. All numbers are squares, in the units of
    gamma_G^2.

    Attributes
    ----------
    plug_in : float
        gamma_G(w)^2 of the samples: on average too large by what `floor` estimates.
    floor : float
        What sampling alone adds, (1/n)(1 - 1/n) sum s_i^2/m_i.
    debiased : float
        plug_in - floor: unbiased. May be negative and is not clipped: averages of clipped values are biased again.
    standard_error : float
    lower, upper : float
        The interval; `lower` may be negative, `upper` is at least `debiased`.
    level : float
    interval : str
        What the interval is.
    """

    plug_in: float
    floor: float
    debiased: float
    standard_error: float
    lower: float
    upper: float
    level: float
    interval: str = "asymptotic: covers less than its level on rare events and few rows"


def debiased_gamma_G(problem: Problem, w: ArrayLike, *, level: float = 0.95) -> Debiased:  # noqa: N802 - the paper's symbol
    """gamma_G(w)^2 of the laws from which the users' rows were drawn: the plug-in minus the noise of sampling [theory
    5.12].

    Parameters
    ----------
    problem : Problem
        From a federation with ``law="sample"``, uniform weights and at least two rows a user.
    w : array_like, shape (d,)
        One common point, fixed before the rows were drawn: at a point fitted to the rows the estimate is not unbiased.
    level : float
        Of the interval, in (0, 1).

    Returns
    -------
    Debiased

    Raises
    ------
    InputError
        The rows are the law itself, weights are not uniform, a user has one row.

    Notes
    -----
    The users are fixed, their rows random and independent. The estimate is a U-statistic; its variance is the smaller
    of the leave-one-row-out jackknife and of the linear part alone (they agree as the m_i grow). The interval keeps the
    ratio of variance to plug-in and not the variance itself, for a square has a variance that grows with it: all t with
    (plug_in - s)^2 <= z^2 (variance/plug_in) s, s = t + floor. It is asymptotic in the m_i, and conservative near
    gamma_G = 0 (docs/theory/heterogeneity.md#5-12); users with fewer than ten rows are too few for its level. One
    gradient a row is computed; memory stays at blocks of 16 MB of them.

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> fed = pfl.federations.location(n_users=10, dim=3, size=30, heterogeneity=0.0)  # identical laws: gamma_G = 0
    >>> e = debiased_gamma_G(pfl.Problem(pfl.losses.Quadratic(), fed), [0.0, 0.0, 0.0])
    >>> e.plug_in > 0.05, e.lower < 0.0 < e.upper
    (True, True)
    """
    fed, loss, oracle = problem.federation, problem.loss, problem.oracle
    assert isinstance(oracle, RowOracle)  # a problem from functions has no federation
    point = np.asarray(w, dtype=np.float64)
    require(point.shape == (problem.dim,), f"w has shape {point.shape}; give one common point, ({problem.dim},)")
    require(0 < level < 1, f"level = {level}; must be between 0 and 1")
    require(
        fed.law == "sample",
        "debiased_gamma_G: the rows are the users' laws (law='exact') and carry no noise of sampling; use "
        "problem.gamma_G",
    )
    require(
        oracle.uniform,
        "debiased_gamma_G: rows of one user have different weights; it needs plain samples with uniform weights",
    )
    few = int(np.argmin(fed.sizes))
    require(
        int(fed.sizes[few]) >= 2, f"debiased_gamma_G: user {few} has one row; a variance needs two, drop such users"
    )
    require(
        loss.poolable(), f"debiased_gamma_G: users have a {loss.name} of their own; it needs one loss for all users"
    )

    n = fed.n_users
    means = problem.gradient(point).astype(np.float64)
    away = means - means.mean(0)
    noise, linear, left_out = np.empty(n), np.empty(n), np.empty(n)
    for i in range(n):
        m = int(fed.sizes[i])
        square, along = _moments_of_rows(problem, i, point, means[i], away[i])
        # what leaving row j out does to the U-statistic, but for constants and a factor
        moved = along - (1 - 1 / n) * (square - square.mean()) / max(m - 2, 1)
        noise[i], linear[i], left_out[i] = (v.sum() / (m * (m - 1)) for v in (square, along**2, moved**2))
    plug_in, floor = float((away**2).sum(1).mean()), (1 - 1 / n) * float(noise.mean())
    variance = 4 / n**2 * float(min(linear.sum(), left_out.sum()))
    from scipy.special import ndtri

    z = float(ndtri((1 + level) / 2))
    ratio = variance / plug_in if plug_in > 0 else 0.0  # bounded: linear is a quadratic form in `away`
    middle, half = plug_in + z**2 * ratio / 2, z * math.sqrt(ratio * plug_in + (z * ratio / 2) ** 2)
    return Debiased(
        plug_in, floor, plug_in - floor, math.sqrt(variance), middle - half - floor, middle + half - floor, level
    )


def _moments_of_rows(
    problem: Problem, i: int, w: NDArray, mean: NDArray, direction: NDArray
) -> tuple[NDArray, NDArray]:
    """||e||^2 and <e, direction> for e = gradient of a row of user i minus the user's mean, shapes (m_i,); rows as
    users, block by block.
    """
    fed = problem.federation
    first, last, size = int(fed.offsets[i]), int(fed.offsets[i + 1]), max(1, TOGETHER // problem.dim)
    square, along = np.empty(last - first), np.empty(last - first)
    for start in range(first, last, size):
        rows = slice(start, min(start + size, last))
        count, here = rows.stop - start, slice(start - first, rows.stop - first)
        single = Federation(
            fed.x[rows], None if fed.y is None else fed.y[rows], np.ones(count), np.arange(count + 1), scale=fed.scale
        )
        e = Problem(problem.loss, single, problem.oracle.dtype).gradient(w) - mean
        square[here], along[here] = np.einsum("jd,jd->j", e, e), e @ direction
    return square, along
