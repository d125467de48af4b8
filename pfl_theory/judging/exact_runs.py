"""Exact expectations of a run: by recursion for quadratic users (or piecewise users that provably stay where they are
quadratic), by enumeration for other piecewise users; and the infimum of F on piecewise users.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..algorithms.baselines import FedAvg
from ..errors import InputError, require
from ..expectations.batches import batch_sizes
from ..expectations.enumerated_runs import ExactRun, enumerate_run
from ..expectations.long_runs import long_run
from ..expectations.quadratics import QuadraticUsers, checked_batch_factor
from ..losses.noise import Flat
from ..losses.quadratic import Quadratic
from ..losses.row_moments import user_rows
from ..memory import remembered
from ..problems.curves import gradient_error
from ..problems.problem import Problem
from ..rigour.balls import Ball
from ..rigour.rounding import EQUAL_WEIGHTS, UNIT
from .instance import Instance
from .run_steps import ClosedRun, exact_smoothness, first_model, has_own_direction, steps_of

# of a batch factor where weights that are called equal differ in their last digits
FACTOR_ERROR = 4 * EQUAL_WEIGHTS


def exact_run(instance: Instance) -> ExactRun:
    """All expectations of the run, kept on the instance.

    Raises
    ------
    InputError
        Users for whom neither recursion nor enumeration is possible.
    """
    return remembered(instance, "exact run", lambda: _exact_run(instance))


def _exact_run(instance: Instance) -> ExactRun:
    if isinstance(instance, ClosedRun):
        assert instance.run is not None
        return instance.run
    users = quadratic_balls(instance)
    if users is not None:
        return _by_recursion(users, instance, first_model(instance))
    if instance.problem.kind != "curves":
        raise InputError(
            f"instance {instance.name!r}: exact expectations of a run are for quadratic users and piecewise users "
            "of one variable"
        )
    assert instance.algorithm is not None
    assert instance.rounds is not None
    return enumerate_run(
        instance.problem, instance.algorithm, instance.alpha, instance.rounds, float(first_model(instance)[0])
    )


def _by_recursion(users: QuadraticUsers, instance: Instance, w0: NDArray) -> ExactRun:
    beta, tau, _, m = steps_of(instance)
    algorithm: Any = instance.algorithm
    variant = "plain" if isinstance(algorithm, FedAvg) else "exact"
    require(
        not has_own_direction(instance),
        f"instance {instance.name!r}: on unbounded quadratics this direction has a bias without bound; use "
        "piecewise users",
    )
    assert instance.rounds is not None
    found = long_run(users, Ball(instance.alpha), Ball(beta), tau, m, variant, instance.rounds, Ball(w0))
    squares = (part.nonnegative() for part in (found.X2, found.M2, found.gamma2, found.gamma2_steps.max(), found.v2))
    X2, M2, gamma2, gamma2_steps, v2 = squares
    return ExactRun(X2, M2, found.first, found.last, gamma2, gamma2_steps, v2, Ball(0.0))


def quadratic_balls(instance: Instance) -> QuadraticUsers | None:
    """The users as quadratics in balls: from rows, or piecewise users whose runs never leave where all f_i'' are
    constant; else None.
    """
    problem = instance.problem
    if problem.kind == "rows":
        return _from_rows(problem, instance) if isinstance(problem.loss, Quadratic) else None
    return _from_curves(instance) if problem.kind == "curves" else None


def _from_rows(problem: Problem, instance: Instance) -> QuadraticUsers:
    fed, sizes = problem.federation, batch_sizes(instance.algorithm)
    loss = problem.loss
    assert isinstance(loss, Quadratic)
    A, parts = loss.matrices(fed.n_users, problem.dim).astype(np.float64), []
    for i in range(fed.n_users):
        z, weights, _ = user_rows(fed, i)
        pi = Ball(weights) / Ball(weights).sum()  # statements are read for weights divided by their sum
        c = (pi[:, None] * z).sum(0)
        away = Ball(z) - c
        a = Ball(A[i])
        spread = a @ (away.swapaxes(0, 1) @ (pi[:, None] * away)) @ a
        parts.append(
            (
                c,
                *(
                    spread * Ball.relative(checked_batch_factor(size, weights, replace=sizes.replace), FACTOR_ERROR)
                    for size in (sizes.inner, sizes.outer)
                ),
            )
        )
    c, inner, outer = (Ball(np.stack([p[k].mid for p in parts]), np.stack([p[k].rad for p in parts])) for k in range(3))
    return QuadraticUsers(Ball(A), c, inner, outer)  # type: ignore[arg-type]


class Hull(NamedTuple):
    """Where a run of piecewise users stays and all f_i'' are constant: f_i'' and lam_i = f_i'' (1 - alpha f_i'')^2,
    shape (n,), minimisers c_i, and the ends of the interval.
    """

    h: NDArray
    lam: NDArray
    centre: Ball
    low: float
    high: float


def _from_curves(instance: Instance) -> QuadraticUsers | None:
    """Piecewise users as the quadratics they are where the run can come, or None."""
    hull = hull_of(instance)
    if hull is None:
        return None
    noise, n = instance.problem.family.noise, len(hull.h)
    variance = Ball(0.0) if noise is None else Ball(noise.sigma_G) * Ball(noise.sigma_G)
    each = Ball(np.ones((n, 1, 1)))
    factors = _own_factors(instance)
    covariances = (each * variance * Ball.relative(c, FACTOR_ERROR) if c else 0.0 * each for c in factors)
    return QuadraticUsers(Ball(hull.h.reshape(n, 1, 1)), hull.centre.reshape(n, 1), *covariances)  # type: ignore[arg-type]


def _own_factors(instance: Instance) -> tuple[float, float]:
    """c_D and c_D' of a run on piecewise users, as its batches are drawn."""
    noise, sizes = instance.problem.family.noise, batch_sizes(instance.algorithm)
    weights = np.ones(1) if noise is None else np.asarray(noise.weights)
    inner, outer = (checked_batch_factor(k, weights, replace=sizes.replace) for k in (sizes.inner, sizes.outer))
    return inner, outer


def hull_of(instance: Instance) -> Hull | None:
    """The hull of a run of piecewise users, kept on the instance; None where none is known."""
    return remembered(instance, "hull", lambda: _hull(instance))


def _hull(instance: Instance) -> Hull | None:
    """An interval that no user leaves, and no adapted point, on which all f_i'' are constant; None where that is not
    known.

    With h_i > 0, alpha h_i <= 1 and beta lam_i <= 1 a local step is a convex combination of w and c_i plus beta times
    noise of at most N = (1 - alpha h_i)(alpha h_i |e| + |e'|): the hull of w_0 and the c_i, widened by N/lam_i, is
    never left, nor by more than alpha |e| by an adapted point.
    """
    family = instance.problem.family
    if (
        not (isinstance(instance.algorithm, FedAvg) and instance.alpha == 0)
        and getattr(instance.algorithm, "variant", "") != "exact"
    ):
        return None
    noise = family.noise
    if noise is not None and not all(isinstance(shape, Flat) for shape in noise.shapes):
        return None
    curves, n, alpha = family.curves, len(family.curves), instance.alpha
    w0 = 0.0 if instance.w0 is None else float(instance.w0[0])
    h = np.array([c.hessian(np.array([w0]))[0] for c in curves])
    lam = h * (1 - alpha * h) ** 2
    if bool((h <= 0).any()) or alpha * h.max() > 1 or steps_of(instance).beta * lam.max() > 1:
        return None
    inner, outer = ((noise.largest(0) if noise is not None and c > 0 else 0.0) for c in _own_factors(instance))
    kick = ((1 - alpha * h) * (alpha * h * inner + outer)).max()
    if kick and lam.min() == 0:
        return None
    reach = (kick / lam.min() if kick else 0.0) * (1 + 1e-9)
    slope = Ball(np.array([c.gradient(np.array([w0]))[0] for c in curves]), np.full(n, gradient_error(curves)))
    centre = w0 - slope / Ball(h)
    slack = reach + alpha * inner
    low, high = min(w0, float(centre.lower.min())) - slack, max(w0, float(centre.upper.max())) + slack
    for curve, height in zip(curves, h, strict=True):
        k = np.searchsorted(curve.x, [low, high])
        inside = curve.h[max(k[0] - 1, 0) : k[1] + 1]
        if low < curve.x[0] or high > curve.x[-1] or bool((inside != height).any()):
            return None
    return Hull(h, lam, centre, low, high)


def infimum(instance: Instance) -> Ball:
    """F* on piecewise users of one variable, enclosed; middle -infinity where F is unbounded below.

    Between breakpoints cells are cut in eight until F(c) - |F'(c)| h - L_F h^2/2 proves that nothing lower is left;
    beyond them F is linear.
    """
    return remembered(instance, "infimum", lambda: _infimum(instance))


def _infimum(instance: Instance) -> Ball:
    problem, alpha = instance.problem, instance.alpha
    require(
        problem.kind == "curves",
        f"instance {instance.name!r}: the infimum of F is computed for piecewise users of one variable",
    )
    curves = problem.family.curves

    def at(w: NDArray) -> tuple[NDArray, NDArray]:
        value = np.mean([c.value(w - alpha * c.gradient(w)) for c in curves], axis=0)
        return value, np.mean(
            [(1 - alpha * c.hessian(w)) * c.gradient(w - alpha * c.gradient(w)) for c in curves], axis=0
        )

    cuts = np.unique(np.concatenate([c.meta_breakpoints(alpha) for c in curves]))
    low, high = float(cuts[0]), float(cuts[-1])
    steep, L_F = max(c.steepest for c in curves), exact_smoothness(instance)
    assert L_F is not None
    L = float(L_F.upper)
    _, ends = at(np.array([low - 1.0, high + 1.0]))
    error = 64 * gradient_error(curves) * (1 + alpha * max(c.curvature for c in curves)) ** 2
    if ends[0] > error or ends[1] < -error:
        return Ball(-math.inf, math.inf)
    nodes, size = max(len(c.x) for c in curves), max(c.steepest + c.variation for c in curves)
    reach = max(abs(low), abs(high)) + alpha * steep
    rounding = (
        (8 * nodes + 256) * UNIT * size * (3 * reach + high - low) * (1 + alpha * max(c.curvature for c in curves))
    )
    centre, half = np.array([(low + high) / 2]), (high - low) / 2
    best, lowest = math.inf, math.inf
    parts = np.arange(-7, 8, 2)  # a cell is cut into eight
    for _ in range(30):
        value, slope = at(centre)
        best = min(best, float(value.min()))
        lower = value - (np.abs(slope) + error) * half - L * half**2 / 2
        open_ = lower < best - rounding
        lowest = min(lowest, float(lower[~open_].min())) if bool((~open_).any()) else lowest
        if not bool(open_.any()) or half < 1e-13 * max(1.0, high - low) or open_.sum() > 200_000:
            lowest = min(lowest, float(lower.min()))
            break
        half /= 8
        centre = (centre[open_][:, None] + half * parts).ravel()
    return Ball.between(min(lowest, best) - rounding, best + rounding)
