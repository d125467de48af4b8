"""Theorem 4.5 at full participation (r = 1): true as transcribed, with 2 Phi for 4 Phi, but for the constant of the
bias term.

(1/(tau K)) sum E||grad F(wbar_{k+1,t})||^2 is at most:

- paper: the transcribed bound with O(1) = 1 and the sharp lemmas' constants (tight: false: the bias term needs (1 +
  alpha L)^2)
- corrected: 2 Phi + x sigma_F^2 + x^2 tau(tau-1) gamma_F^2 + 7.85 alpha^2 L^2 sigma_G^2/D, x = beta L_F (tight: no;
  4 is needed for 7.85)
- corrected, M-r1: M*^2, the root of (1 - x/2) M^2 = Phi + (1-x) M Y2 + (x/2) Y2^2 + (x/2) v^2/n (tight: as s -> 0)

Proofs: docs/theory/theorem-4-5.md#9-5-7 (Propositions 3 and 4).
"""

from __future__ import annotations

import math

import numpy as np

from ..algorithms.per_fedavg import PerFedAvg
from ..expectations.enumerated_runs import ExactRun
from ..judging.claim import Case, Claim, Sides, transcribed
from ..judging.exact_runs import exact_run
from ..judging.hypotheses import SMALL_STEP, bound
from ..judging.instance import Instance
from ..judging.instance_one import one_quadratic, refuting
from ..judging.instances_of_runs import logistic_users
from ..judging.on_runs import BOUNDED_BELOW, EXACT_SIDES, EXACT_VARIANT, FULL, ON_ANY_PROBLEM, RUN, step_at_most
from ..judging.random_runs import random_piecewise_run
from ..judging.run_constants import Reading, lemma_reading, sharp_reading, smoothness
from ..judging.run_sides import on_assumptions, on_own_numbers
from ..judging.run_steps import ClosedRun, batch_factors, steps_of
from ..losses.noise import Bump, FiniteNoise
from ..losses.piecewise import Curve, Piecewise
from ..problems.problem import Problem
from ..rigour.balls import Ball
from ..rigour.rounding import UNIT
from ..theory.master import MOST_S, bound_r1, bracket, full_participation

SOURCE = transcribed("Theorem 4.5")
KINK = 2.0**-10  # half width e of the kink: the ratio is (1 + alpha L)^2 (1 - e/2)^2
BIAS_OF_LEMMA = 7.85  # of alpha^2 L^2 sigma_G^2/D: 1.961 times the square of Lemma 4.3's factor 2, rounded up


def _bias(instance: Instance) -> Ball:
    """alpha^2 L^2 sigma_G^2 / D."""
    L, sigma = bound(instance, "L"), bound(instance, "sigma_G")
    return Ball.relative((instance.alpha * L * sigma) ** 2 * batch_factors(instance).inner, 64 * UNIT)


def sides_paper(instance: Instance) -> Sides:
    """M^2 - 4 Phi against what O(1) multiplies."""
    return on_assumptions(instance, sharp_reading, lambda terms: bracket(terms, _bias(instance)), first=4.0)


def _without_bias(instance: Instance) -> Reading:
    return lemma_reading(instance)._replace(b2=0.0)


def sides_corrected(instance: Instance) -> Sides:
    """M^2 against Proposition 3 with the lemmas' constants."""
    bias = Ball.relative(BIAS_OF_LEMMA, UNIT) * _bias(instance)
    return on_assumptions(instance, _without_bias, lambda terms: full_participation(terms) + bias)


def sides_r1(instance: Instance) -> Sides:
    """M^2 against M*^2: with the run's own spread at all local steps, variance and bias, or, from runs, with the
    constants of the assumptions.
    """
    n = steps_of(instance).n
    if instance.runs:
        return on_assumptions(instance, sharp_reading, lambda terms: bound_r1(terms, n))
    spread = exact_run(instance).gamma2_steps
    return on_own_numbers(instance, lambda terms: bound_r1(terms._replace(gamma2=spread), n))


def absorbed(beta: float = 1e-18, tau: int = 1, rounds: int = 10**36, users: int = 2) -> Instance:
    """Proposition 4: 0 is absorbing, since w~ = -1/2 or 3/2 and f' and the noise vanish there, but F'(0) = -(1 + alpha
    L)(1 - e/2).

    alpha = L = sigma_G = 1. f'' = -1 on [-1, 1/2 - e], rising to 1 within the kink; far away it returns to 0: f is
    bounded below, |f'| <= 2.
    """
    x = np.array([-5.0, -4.0, -2.0, -1.0, 0.5 - KINK, 0.5 + KINK, 2.0, 3.0])
    h = np.array([0.0, 1.0, 1.0, -1.0, -1.0, 1.0, 1.0, 0.0])
    curves = [Curve(x, h, -0.5, 0.0)] * users
    problem = Problem.from_curves(Piecewise(curves, FiniteNoise(np.array([[-1.0], [1.0]]), [Bump(0.0, 0.375)])))
    algorithm = PerFedAvg(1.0, beta, tau, 1.0, batch_inner=1, batch_outer=1, batch_hessian=1)
    return Instance(problem, 1.0, None, "identical users, an absorbing point", algorithm, rounds=rounds, w0=np.zeros(1))


def absorbed_forever(beta: float = 1e-18, tau: int = 1, copies: int = 1, s: float | None = None) -> ClosedRun:
    """`absorbed` for 10^36 rounds: nothing moves, so both averages are F'(0)^2 and the bias of every direction is
    -F'(0).
    """
    base = absorbed(beta, tau)
    if s is not None:
        base = absorbed(s / tau / smoothness(base), tau)
    square = Ball(2.0 * (1.0 - KINK / 2)) * (2.0 * (1.0 - KINK / 2))
    zero = Ball(0.0)
    run = ExactRun(square, square, zero, zero, zero, zero, zero, square)
    keywords = {"algorithm": base.algorithm, "rounds": base.rounds, "w0": base.w0, "run": run, "copies": copies}
    return ClosedRun(base.problem, 1.0, name=base.name, **keywords)  # type: ignore[arg-type]


def random_full(rng: np.random.Generator) -> Instance:
    """Piecewise users, all of them every round, the exact direction, s <= 1/10 in the lemmas' constants."""
    return _full(rng, lambda instance: lemma_reading(instance).L_F, MOST_S)


def random_full_r1(rng: np.random.Generator) -> Instance:
    """Piecewise users, all of them every round, s up to 0.9."""
    return _full(rng, smoothness, 0.9)


def _full(rng, smooth, most):  # type: ignore[no-untyped-def]
    while True:
        found = random_piecewise_run(rng, most_s=most, smooth=smooth, bounded=True)
        steps = steps_of(found)
        if steps.m == steps.n and EXACT_VARIANT.check(found) is None:
            return found


def drift_reached(s: float, tau: int) -> float:
    """M^2 / M*^2 where only the bias counts: M* = Y2 = (1 + P_rms) b."""
    t = np.arange(tau)
    return 1 / (1 + math.sqrt(float((np.expm1(t * math.log1p(s / tau)) ** 2).mean()))) ** 2


REACHED = 4 * (1 - KINK / 2) ** 2

CLAIMS = (
    Claim(
        name="theorem-4.5-full",
        version="paper",
        form="",
        title="The average squared gradient along Per-FedAvg, all users every round",
        short="with O(1) = 1: its bias term needs (1 + alpha L)^2",
        statement="Theorem 4.5 as transcribed at r = 1, with O(1) = 1 and the constants of the sharp lemmas",
        source=SOURCE,
        tight=False,
        known_ratio=REACHED,
        hypotheses=(
            *ON_ANY_PROBLEM,
            EXACT_VARIANT,
            FULL,
            SMALL_STEP,
            step_at_most(0.1, lambda instance: sharp_reading(instance).L_F, "beta <= 1/(10 tau L_F)"),
            BOUNDED_BELOW,
        ),
        sides=sides_paper,
        witness=absorbed_forever,
        random_instance=None,
        cases=(
            Case("no-noise", lambda: refuting(64, participation=2, w0=1.0), "INCONCLUSIVE"),
            Case("half-the-users", lambda: refuting(3), "NOT_APPLICABLE"),
        ),
        expected="VIOLATED",
        open_constant="O(1)",
    ),
    Claim(
        name="theorem-4.5-full",
        version="corrected",
        form="",
        title="The average squared gradient along Per-FedAvg, all users every round, with explicit constants",
        short="2 Phi + ... + 7.85 alpha^2 L^2 sigma_G^2/D",
        statement="at r = 1 and beta tau L_F <= 1/10: (1/(tau K)) sum E||grad F(wbar_{k+1,t})||^2 <= 2 Phi + beta "
        "L_F sigma_F^2 "
        "+ (beta L_F)^2 tau(tau-1) gamma_F^2 + 7.85 alpha^2 L^2 sigma_G^2/D, constants of Lemmas 4.2 to 4.4 as "
        "transcribed",
        source="Proposition 3, docs/theory/theorem-4-5.md#9-5-7-proposition-3",
        tight=False,
        known_ratio=REACHED / BIAS_OF_LEMMA,
        hypotheses=(
            *ON_ANY_PROBLEM,
            EXACT_VARIANT,
            FULL,
            SMALL_STEP,
            step_at_most(MOST_S, lambda instance: lemma_reading(instance).L_F, "beta tau L_F <= 1/10"),
            BOUNDED_BELOW,
        ),
        sides=sides_corrected,
        witness=absorbed_forever,
        random_instance=random_full,
        cases=(
            Case("no-noise", lambda: refuting(64, lemma=True, participation=2, w0=1.0), "HOLDS"),
            Case("half-the-users", lambda: refuting(3, lemma=True), "NOT_APPLICABLE"),
            Case("logistic", lambda: logistic_users(participation=6, lemma=True), "HOLDS", ratio=0.00198459972),
        ),
    ),
    Claim(
        name="theorem-4.5-full",
        version="corrected",
        form="M-r1",
        title="The average squared gradient along Per-FedAvg, all users every round, step by step",
        short="(M-r1)",
        statement="at r = 1 and x = beta L_F: M^2 <= the largest root of (1 - x/2) M^2 = Phi + (1-x) M Y2 + (x/2) "
        "Y2^2 + (x/2) v^2/n, "
        "Y2 = P_rms (gamma + b) + b + N_rms v sqrt(1 - 1/n)",
        source="docs/theory/theorem-4-5.md#9-5-7-per-step-proof",
        tight=True,
        known_ratio=drift_reached(1e-3, 64),
        hypotheses=(RUN, FULL, EXACT_SIDES, step_at_most(1.0, smoothness, "s = beta tau L_F <= 1")),
        sides=sides_r1,
        witness=lambda: absorbed_forever(tau=64, s=1e-3),
        random_instance=random_full_r1,
        cases=(
            Case("one-quadratic", one_quadratic, "HOLDS", ratio=1.0),
            Case("logistic", lambda: logistic_users(participation=6), "HOLDS", ratio=0.00838370507),
            Case("half-the-users", lambda: refuting(3), "NOT_APPLICABLE"),
        ),
    ),
)
