"""Corollary 4.6: how many rounds give E||grad F||^2 <= eps.

- paper: tau = eps^(-1/2), K = eps^(-3/2), beta = eps: at most O(1) (eps + alpha^2 sigma_G^2/D) (tight: false for r
  < 1: O(1) ~ eps^(-1/2))
- corrected, all-users: r = 1: at most eps (2 Delta + L_F v^2 + L_F^2 gamma_F^2 (1 + sqrt(eps))) + 1.961 b^2 (tight:
  rate yes)
- corrected, some-users: r < 1: at most 1.94 L_F p gamma_F^2 sqrt(eps) + O(eps), the O written out (tight: rate yes)
- corrected, rounds-necessary: on instance I no constant beta <= 1/L, tau need fewer than 2 Delta L p gamma^2/eps^2
  rounds (tight: constant, eps -> 0)
- corrected, rounds-sufficient: 2 Delta L (p gamma^2 + eps)/eps^2 rounds are enough (tight: constant, eps -> 0)

The two statements on rounds are about (1/K) sum_k E||grad F(w_k)||^2, a uniformly drawn round. Proofs:
docs/theory/corollary-4-6.md#9-5-8.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from ..algorithms.baselines import FedAvg
from ..judging import instance_one
from ..judging.claim import Case, Claim, Hypothesis, Sides, transcribed
from ..judging.exact_runs import quadratic_balls
from ..judging.hypotheses import SMALL_STEP, bound
from ..judging.instance import Instance
from ..judging.on_curves import ON_CURVES
from ..judging.on_runs import BOUNDED_BELOW, FULL, ON_ANY_PROBLEM, RUN, step_at_most
from ..judging.run_constants import sharp_reading
from ..judging.run_sides import on_assumptions
from ..judging.run_steps import batch_factors, steps_of
from ..losses.piecewise import Curve
from ..rigour.balls import Ball
from ..rigour.interval import Interval
from ..rigour.rounding import UNIT
from ..theory.master import CERTIFIED, MOST_S
from ..theory.rates import exactly, least_rounds, parameters, rate_at_full, rate_at_part

SOURCE = transcribed("Corollary 4.6")


# --- the corollary's parameters ---


def _has_parameters(instance: Instance) -> str | None:
    if instance.epsilon is None:
        return "the instance names no accuracy epsilon."
    tau, K, beta = parameters(instance.epsilon)
    found = steps_of(instance)
    if (found.tau, instance.rounds, found.beta) != (tau, K, beta):
        given = f"{found.tau}, {instance.rounds}, {found.beta:.17g}"
        asked = f"tau = {tau}, K = {K}, beta = {beta:g}"
        return f"the corollary's parameters at epsilon = {instance.epsilon:g} are {asked}: here {given}."
    return None


PARAMETERS = Hypothesis("tau = eps^(-1/2), K = eps^(-3/2), beta = eps", _has_parameters)
STEP = step_at_most(MOST_S, lambda instance: sharp_reading(instance).L_F, "beta tau L_F <= 1/10")


def on_instance_one(epsilon: float, participation: int = 1) -> Instance:
    """Instance I from w_0 = 1 with the corollary's parameters."""
    tau, K, beta = parameters(epsilon)
    base = instance_one.instance(tau=tau, rounds=K, beta=beta, participation=participation, w0=1.0)
    title = f"instance I, r n = {participation} of 2, epsilon = {epsilon:g}"
    return Instance(base.problem, 0.0, name=title, algorithm=base.algorithm, rounds=K, w0=base.w0, epsilon=epsilon)


def reached(epsilon: float, participation: int = 1) -> float:
    """M^2 of `on_instance_one`, in closed form.

    Examples
    --------
    >>> round(reached(1e-4) / 1e-4, 4), round(reached(1e-4, 2) / 1e-4, 6)
    (50.3338, 0.500025)
    """
    tau, K, beta = parameters(epsilon)
    return float(instance_one.closed_form(tau=tau, rounds=K, beta=beta, participation=participation, w0=1.0).M2)


def sides_paper(instance: Instance) -> Sides:
    """M^2 against eps + alpha^2 sigma_G^2/D."""
    assert instance.epsilon is not None
    bias = (instance.alpha * bound(instance, "sigma_G")) ** 2 * batch_factors(instance).inner
    rhs = Ball.relative(instance.epsilon + bias, 64 * UNIT)
    return on_assumptions(instance, sharp_reading, lambda _terms: rhs)


def _rate_sides(formula):  # type: ignore[no-untyped-def]
    def sides(instance: Instance) -> Sides:
        assert instance.epsilon is not None
        assert instance.rounds is not None
        beta, tau, _, _ = steps_of(instance)
        steps = Ball(beta) * float(tau) * float(instance.rounds)
        epsilon = Ball.relative(instance.epsilon, UNIT)  # the float and the decimal that names it (`exactly`)
        return on_assumptions(
            instance, sharp_reading, lambda terms: formula(epsilon, terms, terms.x / beta, terms.Phi * steps)
        )

    return sides


def _wrong_parameters() -> Instance:
    base = on_instance_one(1e-2)
    return Instance(
        base.problem, 0.0, name="instance I, K too small", algorithm=base.algorithm, rounds=10, w0=base.w0, epsilon=1e-2
    )


def random_at_parameters(rng: np.random.Generator, *, full: bool) -> Instance:
    """Quadratic runs of piecewise users (instance I with random centres and start) and the corollary's parameters."""
    n = int(rng.integers(2, 7))
    c = rng.uniform(-1, 1, n)
    c = (c - c.mean()) / 2
    c[-1] = -c[:-1].sum()
    epsilon = float(rng.choice([1e-2, 4e-3, 1e-3, 1e-4]))
    tau, K, beta = parameters(epsilon)
    m = n if full else int(rng.integers(1, n))
    base = instance_one.instance(
        tau=tau, rounds=K, beta=beta, c=c.tolist(), participation=m, w0=float(rng.uniform(-2, 2))
    )
    return Instance(
        base.problem,
        0.0,
        None,
        f"instance I, random centres, epsilon = {epsilon:g}",
        base.algorithm,
        rounds=K,
        w0=base.w0,
        epsilon=epsilon,
    )


# --- rounds ---


class _Family(NamedTuple):
    """A = 2 L Delta and P = p gamma^2 of an instance I at alpha = 0, and epsilon: rational numbers, nothing rounded."""

    A: Fraction
    P: Fraction
    epsilon: Fraction


def _exact_slope(curve: Curve, w: float) -> Fraction:
    """f'(w) as a rational number: slope at the anchor plus the integral of the piecewise linear f''."""
    nodes, heights = [Fraction(float(v)) for v in curve.x], [Fraction(float(v)) for v in curve.h]

    def rise(end: Fraction) -> Fraction:  # of f' from the first node to `end`
        total = Fraction(0)
        for x0, x1, h0, h1 in zip(nodes, nodes[1:], heights, heights[1:], strict=False):
            part = min(max(end, x0), x1) - x0
            total += part * (h0 + part * (h1 - h0) / (x1 - x0) / 2)
        return total

    return Fraction(float(curve.slope)) + rise(Fraction(float(w))) - rise(Fraction(float(curve.anchor)))


def _family(instance: Instance) -> _Family:
    """On instance I F'(w_0) = L (w_0 - c), so that 2 L Delta = F'(w_0)^2, and users differ by the same everywhere."""
    assert instance.epsilon is not None
    w0 = 0.0 if instance.w0 is None else float(instance.w0[0])
    slopes = [_exact_slope(curve, w0) for curve in instance.problem.family.curves]
    n, m, mean = len(slopes), steps_of(instance).m, sum(slopes, Fraction(0)) / len(slopes)
    p = Fraction(n - m, m * (n - 1)) if n > 1 else Fraction(0)
    return _Family(mean**2, p * sum(((g - mean) ** 2 for g in slopes), Fraction(0)) / n, exactly(instance.epsilon))


def _small_epsilon(instance: Instance) -> str | None:
    if instance.epsilon is None:
        return "the instance names no accuracy epsilon."
    A, P, epsilon = _family(instance)
    limit = min(A / 10, P / 2)
    if P > A:
        return f"p gamma^2 must be at most 2 L Delta: it is {float(P):.6g} against {float(A):.6g}."
    return None if epsilon <= limit else f"epsilon must be at most {float(limit):.6g}: it is {instance.epsilon:g}."


def _on_instance_one(instance: Instance) -> str | None:
    """f_i(w) = phi(w) - L c_i w, 0 <= phi'' <= L, and phi'' = L wherever a run with beta <= 1/L can come."""
    if instance.alpha != 0 or not isinstance(instance.algorithm, FedAvg):
        return "the statement is about instance I at alpha = 0: FedAvg on f itself."
    beta, _, n, m = steps_of(instance)
    if m == n:
        return f"some users must stay away (r < 1, n >= 2): here {m} of {n} take part."
    curves, family = instance.problem.family.curves, instance.problem.family
    nodes = np.unique(np.concatenate([c.x for c in curves]))
    if any(bool((c.hessian(nodes) != curves[0].hessian(nodes)).any()) for c in curves):
        return "the users of instance I have one curvature f'' everywhere: here it differs between users."
    if float(curves[0].h.min()) < 0:
        return f"the users of instance I are convex: here f'' goes down to {float(curves[0].h.min()):.6g}."
    if family.noise is not None and instance.algorithm.batch is not None:
        return "instance I has no noise: take batch=None, or users without noise."
    L = curves[0].curvature
    if beta * L > 1:
        return f"beta must be at most 1/L: beta L = {beta * L:.6g}."
    w0 = 0.0 if instance.w0 is None else float(instance.w0[0])
    if quadratic_balls(instance) is None or float(curves[0].hessian(np.array([w0]))[0]) != L:
        return "on instance I f'' is L from w_0 to the minimisers of all users: here it is not."
    return None


INSTANCE_ONE = Hypothesis("instance I: one curvature, convex, no noise, r < 1, beta <= 1/L", _on_instance_one)


def _least(family: _Family) -> Interval:
    """The least number of rounds."""
    low, high = least_rounds(float(family.epsilon), float(family.A), float(family.P))
    return Interval(float(low), float(high))


def sides_necessary(instance: Instance) -> Sides:
    """2 Delta L p gamma^2/eps^2 against the least number of rounds."""
    family = _family(instance)
    needed = float(family.A * family.P / family.epsilon**2)
    return Sides(Interval.rounded(needed, operations=1), _least(family), "all w")


def sides_sufficient(instance: Instance) -> Sides:
    """The least number of rounds against the bound of (M-i) at tau = 1, rounded up to an integer."""
    family = _family(instance)
    enough = math.ceil(family.A * (family.P + family.epsilon) / family.epsilon**2)
    return Sides(_least(family), Interval.rounded(float(enough), operations=1), "all w")


def for_rounds(epsilon: float, c: tuple[float, ...] = (-1.0, 1.0), participation: int = 1, w0: float = 1.0) -> Instance:
    """Instance I, asked how many rounds an accuracy needs (its own steps do not matter)."""
    base = instance_one.instance(tau=1, rounds=1, beta=0.1, c=c, participation=participation, w0=w0)
    return Instance(
        base.problem,
        0.0,
        None,
        f"instance I, r n = {participation} of {len(c)}, epsilon = {epsilon:g}",
        base.algorithm,
        rounds=1,
        w0=base.w0,
        epsilon=epsilon,
    )


def random_for_rounds(rng: np.random.Generator) -> Instance:
    """Instance I with random centres, start and accuracy, p gamma^2 <= 2 L Delta."""
    while True:
        n = int(rng.integers(2, 7))
        c = rng.uniform(-1, 1, n)
        c = (c - c.mean()) / 2
        c[-1] = -c[:-1].sum()
        m, w0 = int(rng.integers(1, n)), float(rng.uniform(0.3, 2)) * float(rng.choice([-1, 1]))
        A, P = w0**2, (n - m) / (m * (n - 1)) * float((c**2).mean())
        if P <= 0.99 * A:
            return for_rounds(float(rng.uniform(0.02, 0.9)) * min(A / 10, P / 2), tuple(c.tolist()), m, w0)


# --- what the witnesses reach ---


def reached_at_full() -> float:
    """One quadratic user: M^2 over 2 eps Delta at eps = 1e-4."""
    tau, K, beta = parameters(1e-4)
    return float(instance_one.closed_form(tau=tau, rounds=K, beta=beta, c=(0.0,), participation=1, w0=1.0).M2) / 1e-4


def _alone() -> Instance:
    tau, K, beta = parameters(1e-4)
    base = instance_one.instance(tau=tau, rounds=K, beta=beta, c=(0.0,), participation=1, w0=1.0)
    return Instance(
        base.problem,
        0.0,
        None,
        "one quadratic user, epsilon = 1e-4",
        base.algorithm,
        rounds=K,
        w0=base.w0,
        epsilon=1e-4,
    )


def reached_at_part(epsilon: float = 1e-8) -> float:
    """Instance I: M^2 over the right side with L = gamma = p = 1, Delta = 1/2, v = b = 0."""
    c0, _, _, c2g, c3, _ = CERTIFIED[1.0, "ii"]
    root = math.sqrt(epsilon)
    return reached(epsilon) / (c3 * (root + epsilon) + epsilon * (c0 / 2 + c2g * (1 + root)))


ROUNDS_AT = 1e-4  # epsilon of the witnesses on rounds
LEAST = (
    100_005_000  # rounds that epsilon = 1e-4 needs on instance I; tests/test_corollary.py finds it again in 60 digits
)

CLAIMS = (
    Claim(
        name="corollary-4.6",
        version="paper",
        form="",
        title="The rate of Per-FedAvg",
        short="for r < 1: O(1) ~ eps^(-1/2)",
        statement="with tau = eps^(-1/2), K = eps^(-3/2), beta = eps: E||grad F(w_eps)||^2 <= O(eps + alpha^2 "
        "sigma_G^2/D), for every r "
        "(w_eps uniform over rounds and local steps)",
        source=SOURCE,
        tight=False,
        known_ratio=reached(1e-4) / 1e-4,
        hypotheses=(*ON_ANY_PROBLEM, SMALL_STEP, PARAMETERS, STEP, BOUNDED_BELOW),
        sides=sides_paper,
        witness=lambda: on_instance_one(1e-4),
        random_instance=None,
        cases=(
            *(
                Case(
                    f"eps-{k}",
                    functools.partial(on_instance_one, 10.0**-k),
                    "VIOLATED",
                    ratio=reached(10.0**-k) * 10.0**k,
                )
                for k in (2, 6, 8)
            ),
            *(
                Case(f"all-users-{k}", functools.partial(on_instance_one, 10.0**-k, 2), "INCONCLUSIVE")
                for k in (2, 4, 8)
            ),
            Case("few-rounds", _wrong_parameters, "NOT_APPLICABLE"),
        ),
        expected="VIOLATED",
        open_constant="O(1)",
    ),
    Claim(
        name="corollary-4.6",
        version="corrected",
        form="all-users",
        title="The rate of Per-FedAvg, all users every round",
        statement="r = 1, the corollary's parameters: (1/(tau K)) sum E||grad F||^2 <= eps (2 Delta + L_F v^2 + "
        "L_F^2 gamma_F^2 (1 + sqrt(eps))) "
        "+ 1.961 b^2",
        short="r = 1: O(eps) + 1.961 b^2",
        source="docs/theory/corollary-4-6.md#9-5-8-corollary-4-6",
        tight=False,
        known_ratio=reached_at_full(),
        hypotheses=(*ON_ANY_PROBLEM, SMALL_STEP, FULL, PARAMETERS, STEP, BOUNDED_BELOW),
        sides=_rate_sides(rate_at_full),
        witness=_alone,
        random_instance=functools.partial(random_at_parameters, full=True),
        cases=(
            *(Case(f"eps-{k}", functools.partial(on_instance_one, 10.0**-k, 2), "HOLDS") for k in (2, 4, 6, 8)),
            Case("some-users", lambda: on_instance_one(1e-2), "NOT_APPLICABLE"),
        ),
    ),
    Claim(
        name="corollary-4.6",
        version="corrected",
        form="some-users",
        title="The rate of Per-FedAvg with the corollary's parameters, some users a round",
        short="r < 1: O(sqrt(eps)) + 4.87 b^2",
        statement="any r, the corollary's parameters: (1/(tau K)) sum E||grad F||^2 <= 1.94 L_F p gamma_F^2 "
        "(sqrt(eps) + eps) + eps (2.46 Delta "
        "+ 2.34 L_F v^2/m + 4.20 L_F^2 v^2 sqrt(eps) + 2.03 L_F^2 gamma_F^2 (1 + sqrt(eps))) + 4.87 b^2",
        source="docs/theory/corollary-4-6.md#9-5-8-corollary-4-6",
        tight=False,
        known_ratio=reached_at_part(),
        hypotheses=(*ON_ANY_PROBLEM, SMALL_STEP, PARAMETERS, STEP, BOUNDED_BELOW),
        sides=_rate_sides(rate_at_part),
        witness=lambda: on_instance_one(1e-8),
        random_instance=functools.partial(random_at_parameters, full=False),
        cases=tuple(Case(f"eps-{k}", functools.partial(on_instance_one, 10.0**-k), "HOLDS") for k in (2, 4, 6)),
    ),
    Claim(
        name="corollary-4.6",
        version="corrected",
        form="rounds-necessary",
        title="Rounds that an accuracy needs when some users take part",
        short="2 Delta L p gamma^2/eps^2 rounds necessary",
        statement="on instance I with p gamma^2 <= 2 L Delta and eps <= min(2 L Delta/10, p gamma^2/2): "
        "if (1/K) sum_k E||grad F(w_k)||^2 <= eps for some constant beta <= 1/L, tau then K >= 2 Delta L p "
        "gamma^2/eps^2",
        source="Proposition 5, docs/theory/corollary-4-6.md#9-5-8-proposition-5",
        tight=True,
        known_ratio=1e8 / LEAST,
        hypotheses=(RUN, ON_CURVES, INSTANCE_ONE, Hypothesis("eps small", _small_epsilon)),
        sides=sides_necessary,
        witness=lambda: for_rounds(ROUNDS_AT),
        random_instance=random_for_rounds,
        cases=(
            *(Case(f"eps-{e:g}", functools.partial(for_rounds, e), "HOLDS") for e in (0.05, 0.01, 0.001)),
            Case("large-eps", lambda: for_rounds(0.3), "NOT_APPLICABLE"),
        ),
    ),
    Claim(
        name="corollary-4.6",
        version="corrected",
        form="rounds-sufficient",
        title="Rounds that are enough when some users take part",
        short="nearly as many sufficient",
        statement="on instance I ceil(2 Delta L (p gamma^2 + eps)/eps^2) rounds with tau = 1, beta L = eps/(eps + "
        "p gamma^2) give "
        "(1/K) sum_k E||grad F(w_k)||^2 <= eps",
        source="from (M-i), docs/theory/corollary-4-6.md#9-5-8-proposition-5",
        tight=True,
        known_ratio=LEAST / 100_010_000,
        hypotheses=(RUN, ON_CURVES, INSTANCE_ONE, Hypothesis("eps small", _small_epsilon)),
        sides=sides_sufficient,
        witness=lambda: for_rounds(ROUNDS_AT),
        random_instance=random_for_rounds,
        cases=tuple(Case(f"eps-{e:g}", functools.partial(for_rounds, e), "HOLDS") for e in (0.05, 0.01, 0.001)),
    ),
)
