"""Both sides' ingredients for statements about a run: exact expectations on the left, constants with their standing on
the right.

`exact_run` finds the exact route: quadratic users (or piecewise users that provably stay where they are quadratic) by
recursion, other piecewise users by enumeration. `exact_terms` are the abstract hypotheses (A) to (D) with the run's own
numbers; `assumption_terms` use nothing but the constants of Assumptions 1 to 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..algorithms.algorithm import participants
from ..algorithms.baselines import FedAvg
from ..algorithms.per_fedavg import PerFedAvg
from ..errors import InputError, require
from ..expectations.batches import batch_sizes, without_replacement_failure
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
from ..rigour.interval import Interval
from ..rigour.rounding import EQUAL_WEIGHTS, UNIT
from ..theory.lemmas import (
    Numbers,
    bias_paper,
    error_paper,
    error_sharp,
    smoothness_paper,
    smoothness_sharp,
    spread_paper,
    spread_sharp,
)
from ..theory.master import Terms
from .claim import Hypothesis
from .hypotheses import bound, has_constants
from .instance import Instance
from .on_curves import gammas


@dataclass(frozen=True, eq=False)
class ClosedRun(Instance):
    """An instance whose run is known in closed form (identical users without number, say): it lives in code and cannot
    be written to a file.
    """

    run: ExactRun | None = None
    copies: int = 1  # identical users that each of the problem's users stands for
    note: str = ""

    def save(self, path: Any) -> Any:
        raise InputError(
            f"instance {self.name!r}: its run is a closed form in the library, which a file cannot hold; judge it "
            "by its name"
        )


class Steps(NamedTuple):
    """The numbers of a run's algorithm."""

    beta: float
    tau: int
    n: int
    m: int


def steps_of(instance: Instance) -> Steps:
    """beta, tau, n and m = r n."""
    algorithm: Any = instance.algorithm
    copies = instance.copies if isinstance(instance, ClosedRun) else 1
    n = instance.problem.n_users
    return Steps(
        float(algorithm.beta), int(algorithm.local_steps), n * copies, participants(algorithm.participation, n) * copies
    )


def participation_factor(n: int, m: int) -> Ball:
    """p = (1 - r)/(r (n - 1)) = (n - m)/(m (n - 1)); 0 for n = 1."""
    return Ball(float(n - m)) / Ball(float(m) * float(n - 1)) if n > 1 else Ball(0.0)


# of a batch factor where weights that are called equal differ in their last digits
FACTOR_ERROR = 4 * EQUAL_WEIGHTS


# --- hypotheses ---


def _is_run(instance: Instance) -> str | None:
    if not isinstance(instance.algorithm, (PerFedAvg, FedAvg)):
        return "the statement is about a run of Per-FedAvg or FedAvg: the instance needs algorithm= and rounds=."
    if instance.rounds is None:
        return "the instance names no number of rounds K."
    own = getattr(instance.algorithm, "alpha", instance.alpha)
    if own != instance.alpha:
        return f"the algorithm adapts with alpha = {own:g}, but F is that of alpha = {instance.alpha:g}."
    if instance.problem.kind == "functions" or isinstance(instance, ClosedRun):
        return None  # no data known one by one to draw from
    return without_replacement_failure(instance.problem, batch_sizes(instance.algorithm))


def _is_exact_variant(instance: Instance) -> str | None:
    algorithm = instance.algorithm
    if isinstance(algorithm, FedAvg):
        return None if instance.alpha == 0 else "FedAvg is Algorithm 1 only for alpha = 0."
    assert isinstance(algorithm, PerFedAvg)
    return (
        None
        if algorithm.variant == "exact"
        else f"the statement is about the exact direction, not the {algorithm.variant} one."
    )


def step_at_most(limit: float, smoothness: Any, text: str) -> Hypothesis:
    """beta tau L_F <= limit."""

    def check(instance: Instance) -> str | None:
        s = float(steps_of(instance).beta * steps_of(instance).tau * smoothness(instance))
        return None if s <= limit * (1 + 2.0**-40) else f"beta tau L_F must be at most {limit:g}: it is {s:.6g}."

    return Hypothesis(text, check)


def _bounded_below(instance: Instance) -> str | None:
    """Every f_i, as (A1) asks, and with it every F_i: both have the slopes of f_i far away."""
    for i, curve in enumerate(instance.problem.family.curves):
        left, right = curve.gradient(curve.x[[0, -1]])  # f' is constant beyond the nodes
        error = gradient_error([curve])
        if left > error or right < -error:
            end, slope = ("left", left) if left > error else ("right", right)
            return f"f of user {i} is not bounded below: f' is {slope:.6g} on the far {end}."
    low = infimum(instance)
    return None if math.isfinite(float(low.mid)) else "F is not bounded below."


def _exact_sides(instance: Instance) -> str | None:
    """Whether both sides can be had: L_F over the whole space, and every expectation of the run."""
    problem = instance.problem
    if isinstance(instance, ClosedRun):
        return None
    if problem.meta_smoothness(instance.alpha) is None or problem.kind == "functions":
        return "the smoothness of F and the run's expectations are known for quadratic and piecewise users only."
    if problem.kind == "rows" and _has_own_direction(instance):
        return "on unbounded quadratics this direction has a bias without bound; piecewise users have one."
    return None


def _has_own_direction(instance: Instance) -> bool:
    """Whether steps go another way than grad F_i on average: FO, and FedAvg measured on F."""
    other = isinstance(instance.algorithm, FedAvg) or getattr(instance.algorithm, "variant", "exact") == "first-order"
    return other and instance.alpha > 0


def _full(instance: Instance) -> str | None:
    s = steps_of(instance)
    return None if s.m == s.n else f"all users must take part (r = 1): here {s.m} of {s.n} do."


RUN = Hypothesis("a run of K rounds", _is_run)
RUN_CONSTANTS = has_constants("L", "B", "rho", "sigma_G", "sigma_H")
EXACT_VARIANT = Hypothesis("the exact direction of Algorithm 1", _is_exact_variant)
BOUNDED_BELOW = Hypothesis("every f_i is bounded below", _bounded_below)
EXACT_SIDES = Hypothesis("L_F and the run's expectations are known", _exact_sides)
FULL = Hypothesis("r = 1", _full)


def _meta_smoothness(problem: Problem, alpha: float) -> tuple[NDArray, NDArray]:
    found = problem.meta_smoothness(alpha)
    if found is None:
        raise InputError("the smoothness of F is not known exactly for these users; use quadratic or piecewise ones")
    return found


def smoothness(instance: Instance) -> float:
    """L_F, the exact smoothness of the F_i over the whole line with its rounding error: hypothesis (A)."""
    value, error = _meta_smoothness(instance.problem, instance.alpha)
    return float((value + error).max())


# --- exact expectations ---


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
    start = 0.0 if instance.w0 is None else instance.w0
    users = quadratic_balls(instance)
    if users is not None:
        return _by_recursion(
            users, instance, np.broadcast_to(np.asarray(start, dtype=np.float64), (instance.problem.dim,))
        )
    if instance.problem.kind != "curves":
        raise InputError(
            f"instance {instance.name!r}: exact expectations of a run are for quadratic users and piecewise users "
            "of one variable"
        )
    assert instance.algorithm is not None
    assert instance.rounds is not None
    return enumerate_run(
        instance.problem, instance.algorithm, instance.alpha, instance.rounds, float(np.ravel(start)[0])
    )


def _by_recursion(users: QuadraticUsers, instance: Instance, w0: NDArray) -> ExactRun:
    beta, tau, _, m = steps_of(instance)
    algorithm: Any = instance.algorithm
    variant = "plain" if isinstance(algorithm, FedAvg) else "exact"
    require(
        not _has_own_direction(instance),
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


def largest_gradient(instance: Instance) -> float:
    """Bound of ||grad F|| wherever the run comes: lam_i |w - c_i| where piecewise users stay quadratic, else (1 + alpha
    L) B.
    """
    known = instance.problem.kind == "curves" and not isinstance(instance, ClosedRun)
    hull = hull_of(instance) if known else None
    if hull is None:
        return (1 + instance.alpha * bound(instance, "L")) * bound(instance, "B") * (1 + 2.0**-40)
    away = np.maximum(hull.high - hull.centre.lower, hull.centre.upper - hull.low)
    return float((hull.lam * away).max()) * (1 + 2.0**-40)


# --- the infimum of F ---


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
    steep, L = max(c.steepest for c in curves), smoothness(instance)
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


# --- right sides' constants ---


def exact_terms(instance: Instance, *, run: ExactRun | None = None) -> Terms:
    """Hypotheses (A) to (D) with the run's own numbers: Phi in trajectory form, exact spread, variance and bias."""
    found = exact_run(instance) if run is None else run
    beta, tau, n, m = steps_of(instance)
    assert instance.rounds is not None
    phi = (found.first - found.last) / (Ball(beta) * float(tau) * float(instance.rounds))
    value, error = _meta_smoothness(instance.problem, instance.alpha)
    L = Ball.between(float((value - error).max()), float((value + error).max()))
    return Terms(Ball(beta) * L, tau, m, participation_factor(n, m), phi, found.gamma2, found.v2, found.b2)


class VarianceFactors(NamedTuple):
    """c_D, c_D' and c_D'' of the statements: 1/D, which no way of drawing exceeds, 0 for the exact expectation."""

    inner: float
    outer: float
    hessian: float


def batch_factors(instance: Instance) -> VarianceFactors:
    """Variance factors of the batch means."""
    return VarianceFactors(*(0.0 if size is None else 1.0 / size for size in batch_sizes(instance.algorithm)[:3]))


class Reading(NamedTuple):
    """L_F, gamma_F^2, sigma_F^2 (or v^2) and b^2 from the constants of the assumptions."""

    L_F: float
    gamma2: float
    v2: float
    b2: float


def sharp_reading(instance: Instance) -> Reading:
    """Sharp lemmas, and bias and variance of every variant (docs/theory/theorem-4-5.md#9-5-5)."""
    alpha, c = instance.alpha, batch_factors(instance)
    L, B, rho, sg, sh = (bound(instance, name) for name in ("L", "B", "rho", "sigma_G", "sigma_H"))
    gamma_g, gamma_h = gammas(instance.problem)
    a = 1 + alpha * L
    L_F, gamma2 = smoothness_sharp(alpha, L, rho, B), spread_sharp(alpha, L, B, gamma_g, gamma_h)
    noisy = alpha * L * sg * math.sqrt(c.inner)
    if isinstance(instance.algorithm, FedAvg):
        return Reading(L_F, gamma2, sg**2 * c.outer, (2 * alpha * L * B) ** 2)
    algorithm = instance.algorithm
    assert isinstance(algorithm, PerFedAvg)
    own = sg**2 * (c.outer + (alpha * L) ** 2 * c.inner)
    if algorithm.variant == "first-order":
        return Reading(L_F, gamma2, own, (alpha * L * B + noisy) ** 2)
    v2 = error_sharp(Numbers(alpha, L, B, sg, sh, *c))
    extra = (
        alpha * rho * algorithm.difference_step * (B**2 + sg**2 * c.outer) / 2
        if algorithm.variant == "hessian-free"
        else 0.0
    )
    return Reading(L_F, gamma2, v2, (a * noisy + extra) ** 2)


def lemma_reading(instance: Instance) -> Reading:
    """L_F, gamma_F^2 and sigma_F^2 of Lemmas 4.2 to 4.4, as transcribed; b^2 is the square of Lemma 4.3's bias."""
    alpha, c = instance.alpha, batch_factors(instance)
    L, B, rho, sg, sh = (bound(instance, name) for name in ("L", "B", "rho", "sigma_G", "sigma_H"))
    gamma_g, gamma_h = gammas(instance.problem)
    return Reading(
        L_F=smoothness_paper(alpha, L, rho, B),
        gamma2=spread_paper(alpha, L, B, gamma_g, gamma_h),
        v2=error_paper(Numbers(alpha, L, B, sg, sh, *c)),
        b2=bias_paper(alpha, L, rho, sg, c.inner) ** 2,
    )


def relative_error(instance: Instance) -> float:
    """Of the formulas above: constants of piecewise users are known up to their own rounding, in formulas of degree at
    most 8.
    """
    curves = instance.problem.family.curves
    worst = max((3 * len(c.x) + 64) * (1 + c.variation / c.steepest) if c.steepest else 64.0 for c in curves)
    gamma_g, _ = gammas(instance.problem)
    spread = 4 * gradient_error(curves) / gamma_g / UNIT if gamma_g else 0.0  # a difference: relative to itself
    return (64 + 8 * worst + 8 * spread) * UNIT


def assumption_terms(instance: Instance, reading: Reading) -> Terms:
    """Terms from the constants of the assumptions, Phi with the infimum of F."""
    beta, tau, n, m = steps_of(instance)
    assert instance.rounds is not None
    w0 = np.zeros(1) if instance.w0 is None else instance.w0
    first = float(instance.problem.meta_value(w0, instance.alpha).mean())
    low = infimum(instance)
    delta = (Ball(first, float(low.rad)) - low).nonnegative()
    error = relative_error(instance)
    parts = [Ball.relative(v, error) for v in (reading.L_F, reading.gamma2, reading.v2, reading.b2)]
    phi = delta / (Ball(beta) * float(tau) * float(instance.rounds))
    return Terms(Ball(beta) * parts[0], tau, m, participation_factor(n, m), phi, *parts[1:])


def interval(ball: Ball, *, rounding: bool = True) -> Interval:
    """A ball as a side of a claim; its width is rounding unless said otherwise."""
    lower, upper = float(ball.lower), float(ball.upper)
    return Interval(lower, upper, (upper - lower) if rounding else 0.0)
