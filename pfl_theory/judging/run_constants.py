"""Constants of a run's right side: exact or proved from above, with the rounding of each.

`exact_terms` are the abstract hypotheses (A) to (D) with the run's own numbers; `assumption_terms` use nothing but the
constants of Assumptions 1 to 5 and a proved lower bound of F, on any problem that has them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..algorithms.baselines import FedAvg
from ..algorithms.per_fedavg import PerFedAvg
from ..expectations.enumerated_runs import ExactRun
from ..memory import remembered
from ..rigour.balls import Ball
from ..rigour.rounding import UNIT
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
from .exact_runs import exact_run, hull_of, infimum
from .hypotheses import bound, roundings_of_constants
from .instance import Instance
from .on_data import imbalance
from .run_steps import ClosedRun, batch_factors, exact_smoothness, first_model, participation_factor, steps_of
from .spread_of_users import spread_of_users


class Reading(NamedTuple):
    """L_F, gamma_F^2, sigma_F^2 (or v^2) and b^2 from the constants of the assumptions."""

    L_F: float
    gamma2: float
    v2: float
    b2: float


def sharp_reading(instance: Instance) -> Reading:
    """Sharp lemmas (L_F itself where users are no curves and it is known), and bias and variance of every variant
    (docs/theory/theorem-4-5.md#9-5-5).
    """
    alpha, c = instance.alpha, batch_factors(instance)
    L, B, rho, sg, sh = (bound(instance, name) for name in ("L", "B", "rho", "sigma_G", "sigma_H"))
    gamma_g, gamma_h = spread_of_users(instance)[:2]
    a = 1 + alpha * L
    known = None if instance.problem.kind == "curves" else exact_smoothness(instance)
    L_F = smoothness_sharp(alpha, L, rho, B) if known is None else float(known.upper)
    gamma2 = spread_sharp(alpha, L, B, gamma_g, gamma_h)
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
    gamma_g, gamma_h = spread_of_users(instance)[:2]
    return Reading(
        L_F=smoothness_paper(alpha, L, rho, B),
        gamma2=spread_paper(alpha, L, B, gamma_g, gamma_h),
        v2=error_paper(Numbers(alpha, L, B, sg, sh, *c)),
        b2=bias_paper(alpha, L, rho, sg, c.inner) ** 2,
    )


def smoothness(instance: Instance) -> float:
    """L_F, hypothesis (A): exact with its rounding error where it is known, else that of the sharp lemma."""
    known = exact_smoothness(instance)
    return sharp_reading(instance).L_F if known is None else float(known.upper)


def relative_error(instance: Instance) -> float:
    """Of the formulas above: constants are known up to their own rounding, in formulas of degree at most 8."""
    if instance.problem.kind != "curves":
        return (64 + 8 * roundings_of_constants(instance)) * UNIT
    curves = instance.problem.family.curves
    worst = max((3 * len(c.x) + 64) * (1 + c.variation / c.steepest) if c.steepest else 64.0 for c in curves)
    return (64 + 8 * worst) * UNIT


STEEPEST_FORMULA = 14.0  # d sqrt(gamma_F^2) / d gamma_G: (1 + alpha L)^2 <= 4 or sqrt(192)


def assumption_terms(instance: Instance, reading: Reading) -> Terms:
    """Terms from the constants of the assumptions, Phi with the infimum of F or a proved lower bound of it."""
    beta, tau, n, m = steps_of(instance)
    assert instance.rounds is not None
    delta = (first_value(instance) - lowest_value(instance)).nonnegative()
    error = relative_error(instance)
    L_F, v2, b2 = (Ball.relative(v, error) for v in (reading.L_F, reading.v2, reading.b2))
    root = math.sqrt(reading.gamma2)
    apart = Ball(root, root * error + STEEPEST_FORMULA * spread_of_users(instance).error).nonnegative()
    phi = delta / (Ball(beta) * float(tau) * float(instance.rounds))
    return Terms(Ball(beta) * L_F, tau, m, participation_factor(n, m), phi, apart * apart, v2, b2)


def exact_terms(instance: Instance, *, run: ExactRun | None = None) -> Terms:
    """Hypotheses (A) to (D) with the run's own numbers: Phi in trajectory form, exact spread, variance and bias."""
    found = exact_run(instance) if run is None else run
    beta, tau, n, m = steps_of(instance)
    assert instance.rounds is not None
    phi = (found.first - found.last) / (Ball(beta) * float(tau) * float(instance.rounds))
    L = exact_smoothness(instance)
    assert L is not None
    return Terms(Ball(beta) * L, tau, m, participation_factor(n, m), phi, found.gamma2, found.v2, found.b2)


# --- F at the start, from below, and the largest gradient ---


def first_value(instance: Instance) -> Ball:
    """F(w_0), with its rounding (docs/theory/rounding.md#4-6)."""
    w0, alpha = first_model(instance), instance.alpha
    value = float(instance.problem.meta_value(w0, alpha).mean())
    if instance.problem.kind == "curves":
        return Ball(value, float(infimum(instance).rad))
    if instance.problem.kind == "functions":
        return Ball.relative(value, 64 * UNIT)
    fed = instance.problem.federation
    B, L = bound(instance, "B_datum"), bound(instance, "L_datum")
    size = float(np.linalg.norm(w0)) + fed.scale * float(np.abs(fed.x).max(initial=0.0)) * math.sqrt(fed.n_features)
    count = int(fed.sizes.max()) + instance.problem.dim + fed.n_users + 64
    slope = count * UNIT * (B + L * size)
    rounding = 2 * count * UNIT * (abs(value) + B * size + (B**2 / L if L else 0.0)) + 2 * B * alpha * slope
    return Ball(value, rounding + 1.01 * imbalance(fed) * abs(value))


def lowest_value(instance: Instance) -> Ball:
    """The infimum of F on curves; elsewhere the mean of proved lower bounds of the f_i, which bounds every F from
    below.
    """
    problem = instance.problem
    if problem.kind == "curves":
        return infimum(instance)
    floors = problem.lower_bounds()
    return Ball(float(floors.mean()), (len(floors) + 8) * UNIT * float(np.abs(floors).max()))


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


def trivial_bound(instance: Instance) -> float:
    """Square of the largest gradient: what bounds a left side before any theorem. Infinite where B is not known."""
    known = all(name in instance.constants and instance.constants[name].usable for name in ("L", "B"))
    return remembered(instance, "trivial bound", lambda: largest_gradient(instance) ** 2) if known else math.inf
