"""gamma_G as a supremum over w, searched from below in any dimension."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import require
from ..losses.loss import ball_center
from ..seeds import generator
from .problem import Problem
from .suprema import Supremum, onto_ball, square_and_slope

STEPS = 300  # of one ascent: most need a few dozen
FARTHEST = 1e30  # where gamma_G grows without end an ascent stops here


def search_gamma_G(  # noqa: N802 - the paper's symbol
    problem: Problem, *, starts: int, seed: int, radius: float | None = None, center: ArrayLike | None = None
) -> Supremum:
    """The largest gamma_G(w) that ascents from random points find: a value from below, in any dimension.

    Parameters
    ----------
    problem : Problem
        With Hessian-vector products.
    starts : int
        Number of ascents, >= 1. The first starts at `center`, the others at random points of all scales.
    seed : int
    radius, center : float and (d,) array_like, optional
        Search in the ball ||w - center|| <= radius; everywhere when absent.

    Returns
    -------
    Supremum
        ``lower``: no bound or hypothesis accepts it.

    Notes
    -----
    Projected gradient ascent on q = gamma_G^2 with Barzilai-Borwein steps; grad q = (2/n) sum H_i (m_i - m), one
    Hessian-vector product a step.

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> problem = pfl.Problem(pfl.losses.Logistic(), pfl.Federation.from_arrays([[[1.0]], [[2.0]]], [[1], [1]]))
    >>> c = search_gamma_G(problem, starts=3, seed=0)
    >>> c.how, c.usable, round(c.max(), 8)
    ('lower', False, 0.54498992)
    """
    require(isinstance(starts, (int, np.integer)) and starts >= 1, f"starts = {starts}; must be an integer >= 1")
    require(
        radius is None or bool(np.isfinite(radius) and radius >= 0), f"radius = {radius}; must be a finite number >= 0"
    )
    require(
        problem.oracle.has_hvp,
        "search_gamma_G: needs Hessian-vector products; give hvp= or hessian= to Problem.from_functions",
    )
    middle = ball_center(problem.dim, None if center is None else np.asarray(center, dtype=np.float64))

    def project(w: NDArray) -> NDArray:
        return w if radius is None else onto_ball(w[None], middle, radius)[0]

    best, at = -1.0, middle
    for k in range(starts):
        rng = generator(seed, "search_gamma_G", k)
        away = rng.normal(size=problem.dim)
        if radius is None:
            away *= 10.0 ** rng.uniform(-1.5, 1.5)
        else:
            away *= radius * rng.uniform() / np.linalg.norm(away)
        value, w = _ascend(problem, project(middle + (k > 0) * away), project)
        if value > best:
            best, at = value, w
    return Supremum(
        np.array([best]), "lower", f"largest of {starts} ascents, seed {seed}: not an upper bound", best, at
    )


def _ascend(problem: Problem, w: NDArray, project: Callable[[NDArray], NDArray]) -> tuple[float, NDArray]:
    """Monotone projected gradient ascent from w; returns gamma_G there and the point."""
    q, steep = square_and_slope(problem, w)
    step = (1.0 + float(np.linalg.norm(w))) / max(float(np.linalg.norm(steep)), 1e-300)
    for _ in range(STEPS):
        direction = project(w + step * steep) - w
        gain, share = float(steep @ direction), 1.0
        if not gain > 1e-14 * q:
            break
        while True:
            trial = w + share * direction
            new_q, new_steep = square_and_slope(problem, trial)
            if new_q >= q + 1e-4 * share * gain or share < 1e-10:
                break
            share /= 2
        if new_q <= q:
            break
        moved, bent = trial - w, float((trial - w) @ (steep - new_steep))
        step = float(moved @ moved) / bent if bent > 0 else 10 * step
        w, q, steep = trial, new_q, new_steep
        if np.abs(w).max() > FARTHEST:
            break
    return math.sqrt(q), w
