r"""Corollary 4.6: how many rounds give E||grad F||^2 <= eps.

=============================  ===============================================================================================  =================
version, form                  statement                                                                                        tight
=============================  ===============================================================================================  =================
paper                          tau = eps^(-1/2), K = eps^(-3/2), beta = eps: at most O(1) (eps + alpha^2 sigma_G^2/D)           false for r < 1:
                                                                                                                                O(1)
                                                                                                                                ~
                                                                                                                                eps^(-1/2)
corrected, all-users           r = 1: at most eps (2 Delta + L_F v^2 + L_F^2 gamma_F^2 (1 + sqrt(eps))) + 1.961 b^2             rate yes
corrected, some-users          r < 1: at most 1.94 L_F p gamma_F^2 sqrt(eps) + O(eps), the O written out                        rate yes
corrected, rounds-necessary    on instance I no constant beta, tau need fewer than 2 Delta L p gamma^2/eps^2 rounds             constant, eps -> 0
corrected, rounds-sufficient   2 Delta L (p gamma^2 + eps)/eps^2 rounds are enough                                              constant, eps -> 0
=============================  ===============================================================================================  =================

The two statements on rounds are about (1/K) sum_k E||grad F(w_k)||^2, a uniformly drawn round. Proofs: docs/theory.md,
section 9.5.8.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from ..algorithms.baselines import FedAvg
from ..expectations.enumerated_runs import ExactRun
from ..judging import instance_one
from ..judging.claim import Case, Claim, Hypothesis, Sides, has_constants
from ..judging.instance import Instance
from ..judging.on_curves import ON_CURVES
from ..judging.on_runs import (
    BOUNDED_BELOW,
    FULL,
    RUN,
    ClosedRun,
    assumption_terms,
    batch_shares,
    exact_run,
    interval,
    sharp_reading,
    step_at_most,
    steps_of,
)
from ..rigour.balls import UNIT, Ball
from ..rigour.interval import Interval
from ..theory.master import BIAS_AT_FULL, CERTIFIED, MOST_S, Terms
from .theorem_4_5 import SMALL_STEP, random_piecewise_run

SOURCE = "Fallah, Mokhtari and Ozdaglar (2020), arXiv 2002.07948v4, Corollary 4.6, as transcribed"
CONSTANTS = has_constants("L", "B", "rho", "sigma_G", "sigma_H")
MARGIN = (
    1e-9  # of X^2 in the search for the least number of rounds: far above the rounding of its formulas (below 1e-11)
)


# --- the corollary's parameters ---


def parameters(epsilon: float) -> tuple[int, int, float]:
    """tau = ceil(eps^(-1/2)), K = ceil(eps^(-3/2)), beta = eps (powers of 1/10 that are squares come out exactly)."""
    root = 1 / math.sqrt(epsilon)
    whole = round(root)
    root = whole if abs(root - whole) < 1e-9 * root else root
    return math.ceil(root), math.ceil(root**3), epsilon


def _has_parameters(instance: Instance) -> str | None:
    if instance.epsilon is None:
        return "the instance names no accuracy epsilon."
    tau, K, beta = parameters(instance.epsilon)
    found = steps_of(instance)
    if (found.tau, instance.rounds) != (tau, K) or abs(found.beta - beta) > 1e-12 * beta:
        given = f"{found.tau}, {instance.rounds}, {found.beta:g}"
        return f"the corollary's parameters at epsilon = {instance.epsilon:g} are tau = {tau}, K = {K}, beta = {beta:g}: here {given}."
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
    bias = (instance.alpha * instance.constants["sigma_G"].bound("sigma_G")) ** 2 * batch_shares(instance).inner
    return Sides(interval(exact_run(instance).M2), Interval.rounded(instance.epsilon + bias, operations=64), "points")


def rate_at_full(epsilon: Ball, terms: Terms, L_F: Ball, delta: Ball) -> Ball:
    """eps (2 Delta + L_F v^2 + L_F^2 gamma^2 (1 + sqrt(eps))) + 1.961 b^2: tau is rounded up, so eps^2 tau (tau - 1) <=
    eps (1 + sqrt(eps)).
    """
    linear = 2.0 * delta + L_F * terms.v2 + L_F * L_F * terms.gamma2 * (1.0 + epsilon.sqrt())
    return epsilon * linear + Ball.relative(BIAS_AT_FULL, UNIT) * terms.b2


def rate_at_part(epsilon: Ball, terms: Terms, L_F: Ball, delta: Ball) -> Ball:
    """c3 L_F p gamma^2 (sqrt(eps) + eps) + eps (c0 Delta + c1 L_F v^2/m + c2v L_F^2 v^2 eps^(1/2) + c2g L_F^2 gamma^2
    (1 + eps^(1/2))) + c4 b^2.
    """
    c0, c1, c2v, c2g, c3, c4 = (Ball.relative(c, UNIT) for c in CERTIFIED[1.0, "ii"])
    root = epsilon.sqrt()
    square = L_F * L_F
    linear = (
        c0 * delta
        + c1 * L_F * terms.v2 / terms.m
        + c2v * square * terms.v2 * root
        + c2g * square * terms.gamma2 * (1.0 + root)
    )
    return c3 * L_F * terms.p * terms.gamma2 * (root + epsilon) + epsilon * linear + c4 * terms.b2


def _rate_sides(formula):  # type: ignore[no-untyped-def]
    def sides(instance: Instance) -> Sides:
        assert instance.epsilon is not None
        assert instance.rounds is not None
        terms = assumption_terms(instance, sharp_reading(instance))
        beta, tau, _, _ = steps_of(instance)
        L_F, delta = terms.x / beta, terms.Phi * (Ball(beta) * float(tau) * float(instance.rounds))
        return Sides(
            interval(exact_run(instance).M2), interval(formula(Ball(instance.epsilon), terms, L_F, delta)), "points"
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


def average_square(u: np.ndarray, K: float, A: float, P: float) -> np.ndarray:
    """X^2 = A geo + P (1-q)/(1+q) (1-geo) on instance I, A = 2 L Delta, P = p gamma^2, q = 1 - u the factor of a
    round.
    """
    log_q = np.log1p(-u)
    geo = np.expm1(2 * K * log_q) / (K * u * (u - 2))
    return A * geo + P * u / (2 - u) * (1 - geo)


def least_rounds(epsilon: float, A: float = 1.0, P: float = 1.0) -> tuple[int, int]:
    """Least K for which some factor q in [0, 1) gives X^2 <= eps: a lower and an upper end.

    The upper end comes with a q that does it. Below the lower end no q does: on a cell of sigma = u/(2 - u) the first
    term of X^2 is least at its upper end and the second at its lower end, and no sigma beyond eps/P can do it
    (docs/theory.md, section 9.5.8).

    Examples
    --------
    >>> low, high = least_rounds(0.01)
    >>> low <= high, round(high * 0.01**2, 4)
    (True, 1.005)
    """
    if epsilon >= A:
        return 1, 1  # X^2 = A at K = 1
    guess = A * P / epsilon**2
    cells = int(min(max(40 * P / epsilon, 20_000), 400_000))  # their width is what the lower end loses

    def works(K: float) -> bool:
        scale = math.sqrt(A / (4 * P * K))
        sigma = np.geomspace(min(0.05 * scale, 0.5), min(20 * scale, 1 - 1e-12), 801)
        u = 2 * sigma / (1 + sigma)
        k = int(np.argmin(average_square(u, K, A, P)))
        fine = np.linspace(u[max(k - 1, 0)], u[min(k + 1, len(u) - 1)], 2001)
        return bool((average_square(fine, K, A, P) <= epsilon * (1 - MARGIN)).any())

    low, high = max(1, math.floor(guess / 2)), math.ceil(guess * 4)
    while not works(high):  # guess is no guide where epsilon is large against P
        high *= 2
    while high - low > max(1, high * 1e-9):
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    upper = high

    def fails(K: float) -> bool:
        scale = math.sqrt(A / (4 * P * K))
        near = np.geomspace(scale / 3, min(scale * 3, epsilon / P), cells + 1)
        below, above = (
            np.geomspace(1e-6 * scale, scale / 3, 20_001),
            np.geomspace(scale * 3, max(epsilon / P, scale * 3), 2001),
        )
        for sigma in (near, below, above):
            u = 2 * sigma / (1 + sigma)
            geo = np.expm1(2 * K * np.log1p(-np.minimum(u, 1 - 1e-16))) / (K * u * (u - 2))
            if bool((A * geo[1:] + P * sigma[:-1] * (1 - geo[:-1]) <= epsilon * (1 + MARGIN)).any()):
                return False
        least = (
            2e-6 * scale / (1 + 1e-6 * scale)
        )  # u of the smallest sigma looked at; below it geo alone is too large, for it grows as sigma falls
        return bool(A * math.expm1(2 * K * math.log1p(-least)) / (K * least * (least - 2)) > epsilon * (1 + MARGIN))

    low, top = 1, upper
    while top - low > max(1, top * 1e-7):
        middle = (low + top) // 2
        low, top = (middle, top) if fails(middle) else (low, middle)
    return low + 1, upper


class _Family:
    """A = 2 L Delta and P = p gamma^2 of an instance I at alpha = 0."""

    def __init__(self, instance: Instance) -> None:
        terms = assumption_terms(instance, sharp_reading(instance))
        beta, tau, _, _ = steps_of(instance)
        assert instance.rounds is not None
        delta = float((terms.Phi * (Ball(beta) * float(tau) * float(instance.rounds))).mid)
        self.A, self.P = 2 * float(terms.x.mid) / beta * delta, float(terms.p.mid * terms.gamma2.mid)


def _small_epsilon(instance: Instance) -> str | None:
    if instance.epsilon is None:
        return "the instance names no accuracy epsilon."
    family = _Family(instance)
    limit = min(family.A / 10, family.P / 2)
    if family.P > family.A * (1 + 1e-9):
        return f"p gamma^2 must be at most 2 L Delta: it is {family.P:.6g} against {family.A:.6g}."
    return None if instance.epsilon <= limit else f"epsilon must be at most {limit:.6g}: it is {instance.epsilon:g}."


def _on_instance_one(instance: Instance) -> str | None:
    from ..judging.on_runs import quadratic_balls

    fine = instance.alpha == 0 and isinstance(instance.algorithm, FedAvg) and quadratic_balls(instance) is not None
    return (
        None
        if fine
        else "the statement is about instance I at alpha = 0: users of one curvature wherever the run comes."
    )


def sides_necessary(instance: Instance) -> Sides:
    """2 Delta L p gamma^2/eps^2 against the least number of rounds."""
    family, epsilon = _Family(instance), float(instance.epsilon or 0)
    low, high = least_rounds(epsilon, family.A, family.P)
    return Sides(
        Interval.rounded(family.A * family.P / epsilon**2, operations=4096), Interval(float(low), float(high)), "all w"
    )


def sides_sufficient(instance: Instance) -> Sides:
    """The least number of rounds against the bound of (M-i) at tau = 1, rounded up to an integer."""
    family, epsilon = _Family(instance), float(instance.epsilon or 0)
    low, high = least_rounds(epsilon, family.A, family.P)
    enough = math.ceil(family.A * (family.P + epsilon) / epsilon**2 * (1 - 1e-10))
    return Sides(Interval(float(low), float(high)), Interval.rounded(float(enough), operations=4096), "all w")


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


class Recipe(NamedTuple):
    """Parameters that reach an accuracy, up to c4 b^2, by the linear form: beta = s/(tau L_F)."""

    s: float
    tau: int
    rounds: int


def recipe(
    epsilon: float, *, n: int, m: int, delta: float, L_F: float = 1.0, gamma2: float = 1.0, v2: float = 1.0
) -> Recipe:
    """Theorem 2 with its five terms at eps/5 each.

    Parameters
    ----------
    epsilon : float
        Wanted (1/(tau K)) sum E||grad F||^2, besides 4.87 b^2.
    n, m : int
        Users, users a round.
    delta, L_F, gamma2, v2 : float
        F(w_0) - F*, smoothness of F, gamma_F^2 and v^2.

    Notes
    -----
    For r < 1 and small epsilon both s and x = s/tau are of order epsilon, so tau does not grow: local steps replace the
    averaging of noise within a batch, they do not save rounds (docs/theory.md, section 9.5.8).

    Examples
    --------
    >>> recipe(0.01, n=50, m=10, delta=1.0).tau, recipe(1e-4, n=50, m=50, delta=1.0).tau
    (2, 8)
    """
    c0, c1, c2v, c2g, c3, _ = CERTIFIED[1.0, "ii"]
    p, share = ((n - m) / (m * (n - 1)) if n > 1 else 0.0), epsilon / 5
    limits = [MOST_S]
    if gamma2 > 0:
        limits.append(math.sqrt(share / (c2g * gamma2)))
        if p > 0:
            limits.append(share / (c3 * p * gamma2))
    s = min(limits)
    x = min(m * share / (c1 * v2), share / (c2v * s * v2)) if v2 > 0 else math.inf
    return Recipe(s, max(1, math.ceil(s / x)), max(1, math.ceil(c0 * L_F * delta / (s * share))))


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
        hypotheses=(RUN, ON_CURVES, CONSTANTS, SMALL_STEP, PARAMETERS, STEP, BOUNDED_BELOW),
        sides=sides_paper,
        witness=lambda: on_instance_one(1e-4),
        draw=None,
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
        source="docs/theory.md, section 9.5.8",
        tight=False,
        known_ratio=reached_at_full(),
        hypotheses=(RUN, ON_CURVES, CONSTANTS, SMALL_STEP, FULL, PARAMETERS, STEP, BOUNDED_BELOW),
        sides=_rate_sides(rate_at_full),
        witness=_alone,
        draw=functools.partial(random_at_parameters, full=True),
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
        source="docs/theory.md, section 9.5.8",
        tight=False,
        known_ratio=reached_at_part(),
        hypotheses=(RUN, ON_CURVES, CONSTANTS, SMALL_STEP, PARAMETERS, STEP, BOUNDED_BELOW),
        sides=_rate_sides(rate_at_part),
        witness=lambda: on_instance_one(1e-8),
        draw=functools.partial(random_at_parameters, full=False),
        cases=tuple(Case(f"eps-{k}", functools.partial(on_instance_one, 10.0**-k), "HOLDS") for k in (2, 4, 6)),
    ),
    Claim(
        name="corollary-4.6",
        version="corrected",
        form="rounds-necessary",
        title="Rounds that an accuracy needs when some users take part",
        short="2 Delta L p gamma^2/eps^2 rounds necessary",
        statement="on instance I with p gamma^2 <= 2 L Delta and eps <= min(2 L Delta/10, p gamma^2/2): "
        "if (1/K) sum_k E||grad F(w_k)||^2 <= eps for some constant beta, tau then K >= 2 Delta L p gamma^2/eps^2",
        source="docs/theory.md, section 9.5.8, Proposition 5",
        tight=True,
        known_ratio=1e8 / LEAST,
        hypotheses=(
            RUN,
            ON_CURVES,
            Hypothesis("instance I", _on_instance_one),
            Hypothesis("eps small", _small_epsilon),
        ),
        sides=sides_necessary,
        witness=lambda: for_rounds(ROUNDS_AT),
        draw=random_for_rounds,
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
        source="docs/theory.md, section 9.5.8, from (M-i)",
        tight=True,
        known_ratio=LEAST / 100_010_000,
        hypotheses=(
            RUN,
            ON_CURVES,
            Hypothesis("instance I", _on_instance_one),
            Hypothesis("eps small", _small_epsilon),
        ),
        sides=sides_sufficient,
        witness=lambda: for_rounds(ROUNDS_AT),
        draw=random_for_rounds,
        cases=tuple(Case(f"eps-{e:g}", functools.partial(for_rounds, e), "HOLDS") for e in (0.05, 0.01, 0.001)),
    ),
)

__all__ = ["CLAIMS", "ClosedRun", "ExactRun", "average_square", "least_rounds", "parameters", "random_piecewise_run"]
