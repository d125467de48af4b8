"""L_F, gamma_F^2, variance and bias of a run from the constants of the assumptions, in 50 digits."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..real import ZERO, Real, average, mp, real
from .batches import can_be_drawn
from .hypotheses import at_most, broken, constant, small_step, worst
from .lines import bounded_below, gamma, infimum, lines_of
from .master import Terms
from .runs import Run, is_run, participation, steps_of


class Reading(NamedTuple):
    """Of the sharp lemmas, or of Lemmas 4.2 to 4.4 as transcribed."""

    L_F: Real
    gamma2: Real
    v2: Real
    b2: Real


def shares(instance: Any) -> tuple[Real, Real, Real]:
    """1/D, 1/D' and 1/D''; 0 for the exact expectation."""
    algorithm = instance.algorithm
    if type(algorithm).__name__ == "FedAvg":
        sizes = (None, algorithm.batch, None)
    else:
        sizes = (algorithm.batch_inner, algorithm.batch_outer, algorithm.batch_hessian)
    one, two, three = (ZERO if size is None else real(1) / size for size in sizes)
    return one, two, three


def _constants(instance: Any) -> tuple[Real, ...]:
    return tuple(constant(instance, name) for name in ("L", "B", "rho", "sigma_G", "sigma_H"))


def sharp(instance: Any) -> Reading:
    """Sharp lemmas, with bias and variance of every variant."""
    alpha, (c, c1, c2), algorithm = real(instance.alpha), shares(instance), instance.algorithm
    L, B, rho, sg, sh = _constants(instance)
    gamma_g, gamma_h = gamma(lines_of(instance.problem))
    a = 1 + alpha * L
    L_F, gamma2 = a**2 * L + alpha * rho * B, (a**2 * gamma_g + alpha * B * gamma_h) ** 2
    noise = alpha * L * sg * mp.sqrt(c)
    if type(algorithm).__name__ == "FedAvg":
        return Reading(L_F, gamma2, sg**2 * c1, (2 * alpha * L * B) ** 2)
    v2 = sg**2 * (c1 + (alpha * L) ** 2 * c)
    if algorithm.variant == "first-order":
        return Reading(L_F, gamma2, v2, (alpha * L * B + noise) ** 2)
    v2 = a**2 * v2 + (alpha * sh) ** 2 * c2 * (B**2 + sg**2 * c1)
    b = a * noise
    if algorithm.variant == "hessian-free":
        b += alpha * rho * real(algorithm.difference_step) * (B**2 + sg**2 * c1) / 2
    return Reading(L_F, gamma2, v2, b**2)


def lemma(instance: Any) -> Reading:
    """Lemmas 4.2 to 4.4, as transcribed."""
    alpha, (c, c1, c2) = real(instance.alpha), shares(instance)
    L, B, rho, sg, sh = _constants(instance)
    gamma_g, gamma_h = gamma(lines_of(instance.problem))
    noise = sg**2 * (c1 + (alpha * L) ** 2 * c)
    v2 = 12 * (B**2 + noise) * (1 + sh**2 * alpha**2 * c2 / 4) - 12 * B**2
    return Reading(
        4 * L + alpha * rho * B, 3 * (alpha * B * gamma_h) ** 2 + 192 * gamma_g**2, v2, 4 * (alpha * L * sg) ** 2 * c
    )


def assumption_terms(instance: Any, found: Reading) -> Terms:
    """Phi with the infimum of F."""
    beta, tau, n, m, K = steps_of(instance)
    alpha, lines = real(instance.alpha), lines_of(instance.problem)
    w0 = ZERO if instance.w0 is None else real(instance.w0[0])
    delta = average([line.meta_value(w0, alpha) for line in lines]) - infimum(lines, alpha)
    return Terms(
        beta * found.L_F,
        tau,
        m,
        participation(n, m),
        max(delta, ZERO) / (beta * tau * K),
        found.gamma2,
        found.v2,
        found.b2,
        n,
    )


def run_terms(instance: Any, run: Run, L_F: Real) -> Terms:
    """The run's own numbers, Phi in trajectory form."""
    beta, tau, n, m, K = steps_of(instance)
    phi = (run.first - run.last) / (beta * tau * K)
    return Terms(beta * L_F, tau, m, participation(n, m), phi, run.gamma2, run.v2, run.b2, n)


def smoothness(instance: Any) -> Real | None:
    """L_F of curves and of rows under a quadratic."""
    from ..referees.lemma_4_2 import _left

    problem = instance.problem
    if problem.kind == "curves" or (problem.kind == "rows" and type(problem.loss).__name__ == "Quadratic"):
        return _left(instance)
    return None


def bias_term(instance: Any) -> Real:
    """alpha^2 L^2 sigma_G^2 / D."""
    return (real(instance.alpha) * constant(instance, "L") * constant(instance, "sigma_G")) ** 2 * shares(instance)[0]


def on_assumptions(
    instance: Any, reading: Any, *, limit: Real, exact: bool, full: bool = False
) -> tuple[bool | None, str]:
    """Hypotheses of the statements with constants of the assumptions: run, curves, alpha <= 1/L, beta tau L_F <= limit,
    every f_i bounded below; the exact direction and full participation where they are asked for.
    """
    missing = is_run(instance)
    if missing:
        return False, missing
    if instance.problem.kind != "curves":
        if instance.runs or instance.ball is not None:
            return None, "runs of data are not written out here"
        return False, "no left side: neither runs= nor users whose every run can be written out"
    algorithm, steps = instance.algorithm, steps_of(instance)
    if exact and (algorithm.variant != "exact" if type(algorithm).__name__ == "PerFedAvg" else instance.alpha != 0):
        return False, "not the exact direction"
    if full and steps.m != steps.n:
        return False, "not all users take part"
    if None in _constants(instance):
        return None, "no formula of sigma_G here"
    answers = {
        "alpha <= 1/L": small_step(instance),
        "beta tau L_F": at_most(steps.beta * steps.tau * reading(instance).L_F, limit),
        "batches that the data allow": can_be_drawn(instance.problem, algorithm),
        "bounded below": worst(*(bounded_below(line) for line in lines_of(instance.problem))),
    }
    return worst(*answers.values()), broken(answers)
