"""Theorem 4.5: how small the gradient of F gets, on average over the rounds and local steps of Per-FedAvg.

(1/(tau K)) sum E||grad F(wbar_{k+1,t})||^2 is at most:

- paper, sharp-constants: 4 Phi + O(1) (x (1 + x tau(tau-1)) sigma_F^2 + x gamma_F^2 (p + x tau(tau-1)) + alpha^2
  L^2 sigma_G^2/D), x = beta L_F, with the sharp lemmas' constants (tight: false for r < 1: O(1) must grow like
  tau/2)
- paper, lemma-constants: the same with the constants of Lemmas 4.2 to 4.4 as transcribed (tight: the same,
  tau/1536)
- corrected, M-i: X*^2, the root of a scalar inequality; its left side is the average over w_k (tight: each term as
  s -> 0)
- corrected, M-ii: (1/tau) sum_t (X* + R_t)^2 (tight: each term as s -> 0)
- corrected, theorem-2: 2.46 Phi + 2.34 x v^2/m + 4.20 x^2 (tau-1) v^2 + 2.03 x^2 tau(tau-1) gamma^2 + 1.94 s p
  gamma^2 + 4.87 b^2, s = tau x <= 1/10 (tight: no)

Phi = (F(w_0) - F*)/(beta tau K), p = (1-r)/(r(n-1)), m = r n; v^2 and b^2 bound variance and squared bias of the
direction of the variant in use (exact, FO, HF, FedAvg). The M forms are judged with the run's own v, b, gamma and
Phi (trajectory form), theorem-2 with the constants of Assumptions 1 to 5 alone. Proofs: docs/theory/theorem-4-5.md#9-5.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from ..algorithms.baselines import FedAvg
from ..algorithms.per_fedavg import PerFedAvg
from ..expectations.enumerated_runs import ExactRun
from ..federations.federation import Federation
from ..judging import instance_one
from ..judging.claim import Case, Claim, Sides, transcribed
from ..judging.hypotheses import SMALL_STEP, bound
from ..judging.instance import Instance
from ..judging.instance_one import TAU, S, one_quadratic, refuting
from ..judging.instances_of_runs import femnist_writers, logistic_users, quadratic_users
from ..judging.on_runs import BOUNDED_BELOW, EXACT_SIDES, EXACT_VARIANT, ON_ANY_PROBLEM, RUN, step_at_most
from ..judging.random_runs import random_piecewise_run
from ..judging.run_constants import Reading, lemma_reading, sharp_reading, smoothness
from ..judging.run_sides import on_assumptions, on_own_numbers
from ..judging.run_steps import ClosedRun, batch_factors
from ..losses.noise import FiniteNoise, Flat
from ..losses.piecewise import Curve, Piecewise
from ..losses.quadratic import Quadratic
from ..problems.problem import Problem
from ..rigour.balls import Ball
from ..rigour.rounding import UNIT
from ..theory.master import CERTIFIED, MOST_S, bound_i, bound_ii, bracket, linear

SOURCE = transcribed("Theorem 4.5")


# --- as transcribed ---


def _paper_sides(reading: Callable[[Instance], Reading]) -> Callable[[Instance], Sides]:
    def sides(instance: Instance) -> Sides:
        share, L, sigma = batch_factors(instance).inner, bound(instance, "L"), bound(instance, "sigma_G")
        bias = Ball.relative((instance.alpha * L * sigma) ** 2 * share, 64 * UNIT)
        return on_assumptions(instance, reading, lambda terms: bracket(terms, bias), first=4.0)

    return sides


def _sharp_smoothness(instance: Instance) -> float:
    return sharp_reading(instance).L_F


def _lemma_smoothness(instance: Instance) -> float:
    return lemma_reading(instance).L_F


def by_the_algorithm() -> Instance:
    """tau = 3, judged by runs of the algorithm itself on the functions of instance I."""
    return refuting(3, rounds=300, runs=160)


def by_the_algorithm_from_afar() -> Instance:
    """The same from w_0 = 1, where both sides are of the size of the largest gradient: few runs settle it."""
    return refuting(3, rounds=30, w0=1.0, runs=80)


def needed_constant(tau: int, *, lemma: bool = False, rounds: int = 10**12, participation: int = 1) -> float:
    """O(1) that `refuting` asks for, in closed form (w_0 = 0, so Phi = 0).

    Examples
    --------
    >>> round(needed_constant(3), 4), round(needed_constant(4096, lemma=True), 3)
    (1.4002, 2.424)
    """
    factor, gamma2 = (4, 192.0) if lemma else (1, 1.0)
    beta = 1.0 / (10 * tau**2 * factor)
    x, p = beta * factor, 1.0 if participation == 1 else 0.0
    left = float(instance_one.closed_form(tau=tau, rounds=rounds, beta=beta, participation=participation).M2)
    return left / (x * gamma2 * (p + x * tau * (tau - 1)))


def _closed(tau: int, *, lemma: bool = False) -> ClosedRun:
    """The same instance with its left side by formula instead of recursion."""
    base = refuting(tau, lemma=lemma)
    assert base.rounds is not None
    assert isinstance(base.algorithm, FedAvg)
    form = instance_one.closed_form(tau=tau, rounds=base.rounds, beta=base.algorithm.beta)
    zero = Ball(0.0)
    run = ExactRun(form.X2, form.M2, zero, zero, Ball(1.0), Ball(1.0), zero, zero)
    return ClosedRun(
        base.problem,
        0.0,
        name=f"{base.name}, closed form",
        algorithm=base.algorithm,
        rounds=base.rounds,
        w0=base.w0,
        run=run,
    )


def _large_beta() -> Instance:
    return instance_one.instance(tau=3, rounds=300, beta=0.05, name="instance I, beta = 1/(20 L_F), tau = 3")


def _first_order() -> Instance:
    algorithm = PerFedAvg(alpha=0.25, beta=0.01, local_steps=2, participation=1, variant="first-order")
    return Instance(
        instance_one.users(), 0.25, name="instance I, first-order", algorithm=algorithm, rounds=4, w0=np.zeros(1)
    )


def _unbounded() -> Instance:
    curve = Curve(np.array([-1.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0]), 0.0, 5.0)
    problem = Problem.from_curves(Piecewise([curve]))
    return Instance(
        problem, 0.0, name="a function that falls without end", algorithm=FedAvg(beta=0.01), rounds=3, w0=np.zeros(1)
    )


def _large_drift() -> Instance:
    """n = 50, r = 0.2, s = 1/10: beta tau L_F exceeds p, so the transcribed drift term pays for the missing factor
    (docs/theory/theorem-4-5.md#9-5-2).
    """
    c = tuple(float(v) for v in np.linspace(-1, 1, 50))
    return instance_one.instance(
        tau=10, rounds=10**9, beta=0.01, c=c, participation=10, name="n = 50, r = 0.2, s = 1/10, tau = 10"
    )


def ten_users() -> Instance:
    """n = 10, r = 0.2, tau = 16, beta = p/(10 tau^2): shares of users that are used in practice."""
    c = tuple(np.resize([-1.0, 1.0], 10).tolist())
    return instance_one.instance(tau=16, rounds=10**12, beta=(4 / 9) / (10 * 16**2), c=c, participation=2)


PAPER_CASES = (
    Case("tau-1", lambda: refuting(1), "INCONCLUSIVE"),
    Case("all-users", lambda: refuting(64, participation=2, w0=1.0), "INCONCLUSIVE"),
    Case("large-drift", _large_drift, "INCONCLUSIVE"),
    Case("large-beta", _large_beta, "NOT_APPLICABLE"),
    Case("first-order", _first_order, "NOT_APPLICABLE"),
    Case("unbounded", _unbounded, "NOT_APPLICABLE"),
)


# --- corrected: the run's own numbers ---


def sides_i(instance: Instance) -> Sides:
    """X^2 against X*^2."""
    return on_own_numbers(instance, bound_i, server=True)


def sides_ii(instance: Instance) -> Sides:
    """M^2 against (M-ii)."""
    return on_own_numbers(instance, bound_ii)


def sides_linear(instance: Instance) -> Sides:
    """M^2 against the linear form with the constants of the assumptions."""
    constants = tuple(Ball.relative(c, UNIT) for c in CERTIFIED[1.0, "ii"])
    return on_assumptions(instance, sharp_reading, lambda terms: linear(terms, constants))


def identical_noise(s: float = S, tau: int = TAU) -> Instance:
    """Four identical users, additive noise of variance 1, r = 1, from the minimiser: only the noise term."""
    problem = Problem(Quadratic(1.0), Federation.from_arrays([[-1.0, 1.0]] * 4))
    return Instance(
        problem,
        0.0,
        name=f"identical users with noise, s = {s:g}",
        algorithm=FedAvg(beta=s / tau, local_steps=tau, batch=1),
        rounds=10**9,
    )


def opposite_curvatures(s: float = S, tau: int = TAU) -> Instance:
    """Two users of curvatures 1 and -1 at the fixed point of their rounds, r = 1: only the drift of users apart."""
    x = s / tau
    g = (math.expm1(tau * math.log1p(x)) + math.expm1(tau * math.log1p(-x))) / (
        math.expm1(tau * math.log1p(x)) - math.expm1(tau * math.log1p(-x))
    )
    fed = Federation.from_arrays([[-(1.0 + g)], [-(1.0 - g)]])  # gradients g + 1 and g - 1 at 0
    problem = Problem(Quadratic([[[1.0]], [[-1.0]]]), fed)
    return Instance(
        problem, 0.0, name=f"curvatures 1 and -1, s = {s:g}", algorithm=FedAvg(beta=x, local_steps=tau), rounds=1
    )


def participation_only(s: float = S, tau: int = TAU) -> Instance:
    """Instance I, one of two users a round: only the participation term."""
    return instance_one.instance(tau=tau, rounds=10**9, beta=s / tau, name=f"instance I, s = {s:g}")


def constant_bias(s: float = S, tau: int = TAU, copies: int = 10**9) -> ClosedRun:
    """Identical users at a point where every direction is 0 but grad F is not (as in Proposition 4): only the bias
    term, LHS = b^2 = 1.
    """
    base = one_quadratic(s, tau)
    one, zero = Ball(1.0), Ball(0.0)
    run = ExactRun(one, one, zero, zero, zero, zero, zero, one)
    return ClosedRun(
        base.problem,
        0.0,
        name=f"identical users of constant bias, s = {s:g}",
        algorithm=base.algorithm,
        rounds=1,
        w0=np.zeros(1),
        run=run,
        copies=copies,
    )


def kinked_noise(s: float = S, copies: int = 10**15) -> ClosedRun:
    """Identical users with F' = a + |w|, tau = 2, noise +-1, a = -x/2, one round from 0: only the drift by noise.

    w_1 has mean 0 (the mean displacement of a user is -beta (2 a + x E|a +- 1|) = 0 as |a| < 1) and variance at most
    beta^2 (2 + 4 x)/n, so
    |E F(w_1) - F(0)| <= Var/2 by smoothness: Phi is 0 up to x (1 + 2 x)/n.
    """
    base = one_quadratic(s, 2)
    x = Ball(s) / 2.0
    a = x / 2.0
    shift = float((Ball(s / 2) * (1.0 + x * 2.0) / float(copies)).upper) * s  # beta tau Phi, from above
    one, zero = Ball(1.0), Ball(0.0)
    run = ExactRun(a * a, a * a, Ball(0.0, shift), Ball(0.0), zero, zero, one, zero)
    algorithm = FedAvg(beta=s / 2, local_steps=2)
    return ClosedRun(
        base.problem,
        0.0,
        name=f"kinked users with noise, s = {s:g}",
        algorithm=algorithm,
        rounds=1,
        w0=np.zeros(1),
        run=run,
        copies=copies,
    )


def one_step() -> Instance:
    """tau = 1, curvature constant, no bias: (M-i) is an equality."""
    problem = Problem(Quadratic(1.0), Federation.from_arrays([[-2.0, 1.0], [0.5, 0.5], [1.5, -1.0, 2.5]]))
    algorithm = FedAvg(beta=0.1, local_steps=1, participation=2, batch=1)
    return Instance(
        problem,
        0.0,
        name="three quadratics of one curvature, tau = 1",
        algorithm=algorithm,
        rounds=20,
        w0=np.array([3.0]),
    )


def variant(name: str) -> Instance:
    """Three piecewise users with noise under each direction, enumerated."""
    x, h = np.array([-4.0, -2.0, 0.0, 2.0, 4.0]), np.array([0.0, 1.0, 0.25, 1.0, 0.0])
    curves = [Curve(x + shift, h * (1 + 0.2 * shift), shift, 0.3 * shift) for shift in (-0.75, 0.25, 0.5)]
    problem = Problem.from_curves(Piecewise(curves, FiniteNoise(np.array([[-0.5], [0.5]]), [Flat()])))
    alpha, beta = 0.5, 0.009
    if name == "fedavg-on-F":
        return Instance(
            problem,
            alpha,
            None,
            "FedAvg measured on F",
            FedAvg(beta=beta, local_steps=3, participation=2, batch=1),
            rounds=2,
            w0=np.ones(1),
        )
    algorithm = PerFedAvg(
        alpha,
        beta,
        2,
        1,
        1,
        1,
        1 if name != "first-order" else None,
        name,
        delta=0.05 if name == "hessian-free" else None,
    )
    return Instance(problem, alpha, None, f"piecewise users, {name}", algorithm, rounds=2, w0=np.ones(1))


VARIANT_CASES = tuple(
    Case(name, functools.partial(variant, name), "HOLDS")
    for name in ("exact", "first-order", "hessian-free", "fedavg-on-F")
)


# with the ratios that intervals of the runs prove at least
ON_ROWS = tuple(
    Case(f"logistic-{name}", functools.partial(logistic_users, name), "HOLDS", ratio=ratio)
    for name, ratio in (
        ("exact", 0.00356567682),
        ("first-order", 0.00178081148),
        ("hessian-free", 0.00356251558),
        ("fedavg", 0.00155827435),
    )
)


# --- random instances ---


def random_quadratics(rng: np.random.Generator) -> Instance:
    """Quadratic users of different curvatures, batches with and without replacement, any variant without bias; s up to
    0.9, K up to 10^6.
    """
    n, d, tau = int(rng.integers(1, 6)), int(rng.integers(1, 4)), int(rng.integers(1, 9))
    sign = rng.random() < 0.3
    parts = rng.normal(size=(n, d, d))
    curvatures = (parts + parts.transpose(0, 2, 1)) / 2 if sign else parts @ parts.transpose(0, 2, 1) / d
    size = int(rng.integers(2, 5))
    fed = Federation.from_arrays(
        [rng.normal(rng.normal(scale=2, size=d), rng.uniform(0, 1.5), size=(size, d)) for _ in range(n)]
    )
    problem = Problem(Quadratic(curvatures.tolist()), fed)
    alpha = (
        0.0 if rng.random() < 0.3 else float(rng.uniform(0, 1)) / float(np.abs(np.linalg.eigvalsh(curvatures)).max())
    )
    found = problem.meta_smoothness(alpha)
    assert found is not None
    beta = float(rng.choice([0.02, 0.1, 0.3, 0.9])) / tau / float(found[0].max())
    m, replace = int(rng.integers(1, n + 1)), bool(rng.random() < 0.5)
    batch = [None if rng.random() < 0.3 else int(rng.integers(1, size + 1)) for _ in range(3)]
    if alpha == 0:
        algorithm: PerFedAvg | FedAvg = FedAvg(
            beta=beta, local_steps=tau, participation=m, batch=batch[0], replace=replace
        )
    else:
        kind = str(rng.choice(["exact", "hessian-free"]))
        delta = 0.1 if kind == "hessian-free" else None
        algorithm = PerFedAvg(alpha, beta, tau, m, batch[0], batch[1], batch[2], kind, delta, replace)
    rounds = int(rng.integers(1, 30)) if sign else int(10 ** rng.uniform(0, 6))
    return Instance(
        problem, alpha, None, "random quadratic users", algorithm, rounds=rounds, w0=rng.normal(scale=3, size=d)
    )


def random_run(rng: np.random.Generator) -> Instance:
    """Half quadratic users, half piecewise ones."""
    return random_quadratics(rng) if rng.random() < 0.5 else random_piecewise_run(rng)


def random_bounded(rng: np.random.Generator) -> Instance:
    """Piecewise users bounded below, with s <= 1/10 in the constants of the assumptions."""
    return random_piecewise_run(rng, most_s=MOST_S, smooth=_sharp_smoothness, bounded=True)


# --- closed forms of what the witnesses reach ---


def first_term_reached(s: float = S, tau: int = TAU) -> tuple[float, float]:
    """X^2 / X*^2 and M^2 over (M-ii) on `one_quadratic`: with one user and no noise X* = X(Phi) is a quotient."""
    x, t = s / tau, np.arange(tau + 1)
    P = np.expm1(t * math.log1p(x))
    psi = np.concatenate([[0.0], np.cumsum(P[:-1]) / t[1:] / 1.0])
    q = math.exp(tau * math.log1p(-x))
    last = psi[-1]
    star = 1 / (1 - s / 2 - (1 - s) * last - s / 2 * last**2)  # X*^2 / Phi
    x2 = 2 * s / (1 - q * q)  # X^2 / Phi
    m2 = x2 * (1 - q * q) / (tau * (2 * x - x * x))
    steps = 1 + x * t[:-1] * (1 + psi[:-1])  # (X + R_t) / X
    return x2 / star, m2 / (star * float((steps**2).mean()))


def linear_reached() -> float:
    """M^2 over 2.46 Phi on `one_quadratic`."""
    x = S / TAU
    return (2 * S / (TAU * (2 * x - x * x))) / CERTIFIED[1.0, "ii"][0]


BOUNDED_STEP = step_at_most(MOST_S, _sharp_smoothness, "s = beta tau L_F <= 1/10")
MASTER_STEP = step_at_most(
    0.99, smoothness, "s = beta tau L_F <= 0.99 (beyond, the master inequality may bound nothing)"
)

CLAIMS = (
    Claim(
        name="theorem-4.5",
        version="paper",
        form="sharp-constants",
        title="The average squared gradient along Per-FedAvg",
        short="for r < 1: O(1) ~ tau/2",
        statement="(1/(tau K)) sum_k sum_t E||grad F(wbar_{k+1,t})||^2 <= 4 (F(w_0) - F*)/(beta tau K) "
        "+ O(1) (beta L_F (1 + beta L_F tau(tau-1)) sigma_F^2 + beta L_F gamma_F^2 ((1-r)/(r(n-1)) + beta L_F "
        "tau(tau-1)) "
        "+ alpha^2 L^2 sigma_G^2/D), if beta <= 1/(10 tau L_F); L_F, gamma_F and sigma_F of the sharp lemmas",
        source=SOURCE,
        tight=False,
        known_ratio=needed_constant(3),
        hypotheses=(
            *ON_ANY_PROBLEM,
            EXACT_VARIANT,
            SMALL_STEP,
            step_at_most(0.1, _sharp_smoothness, "beta <= 1/(10 tau L_F)"),
            BOUNDED_BELOW,
        ),
        sides=_paper_sides(sharp_reading),
        witness=lambda: refuting(3),
        random_instance=None,
        cases=(
            Case("closed-form-3", lambda: _closed(3), "VIOLATED"),
            Case("algorithm-3", by_the_algorithm, "VIOLATED"),
            *(Case(f"tau-{tau}", functools.partial(refuting, tau), "VIOLATED") for tau in (4, 16, 64, 256, 4096)),
            Case("ten-users", ten_users, "VIOLATED", ratio=7.30817817),
            *PAPER_CASES,
        ),
        expected="VIOLATED",
        open_constant="O(1)",
    ),
    Claim(
        name="theorem-4.5",
        version="paper",
        form="lemma-constants",
        title="The average squared gradient along Per-FedAvg, with the lemmas' constants",
        short="for r < 1: O(1) ~ tau/1536",
        statement="as sharp-constants, with L_F = 4 L + alpha rho B, gamma_F^2 = 3 B^2 alpha^2 gamma_H^2 + 192 "
        "gamma_G^2 and sigma_F^2 of Lemma 4.3",
        source=SOURCE,
        tight=False,
        known_ratio=needed_constant(4096, lemma=True),
        hypotheses=(
            *ON_ANY_PROBLEM,
            EXACT_VARIANT,
            SMALL_STEP,
            step_at_most(0.1, _lemma_smoothness, "beta <= 1/(10 tau L_F)"),
            BOUNDED_BELOW,
        ),
        sides=_paper_sides(lemma_reading),
        witness=lambda: refuting(4096, lemma=True),
        random_instance=None,
        cases=(
            Case("closed-form-4096", lambda: _closed(4096, lemma=True), "VIOLATED"),
            Case("tau-256", lambda: refuting(256, lemma=True), "INCONCLUSIVE"),
            Case("tau-1536", lambda: refuting(1536, lemma=True), "INCONCLUSIVE"),
            Case("tau-2048", lambda: refuting(2048, lemma=True), "VIOLATED"),
            Case("all-users", lambda: refuting(64, lemma=True, participation=2, w0=1.0), "INCONCLUSIVE"),
        ),
        expected="VIOLATED",
        open_constant="O(1)",
    ),
    Claim(
        name="theorem-4.5",
        version="corrected",
        form="M-i",
        title="The average squared gradient at the server's models",
        statement="(1/K) sum_k E||grad F(w_k)||^2 <= X*^2, the largest X^2 with (1 - s/2) X^2 <= Phi + (1-s) X Y + "
        "(s/2) Y^2 "
        "+ (s/2) [p (gamma + Y)^2 + (kap v/sqrt(tau) + (1+psi) b)^2/m], Y = psi sqrt(X^2 + gamma^2) + (1+psi) b + nu v",
        source="Theorem 1, docs/theory/theorem-4-5.md#9-5-3-theorem-1",
        tight=True,
        known_ratio=first_term_reached()[0],
        hypotheses=(RUN, EXACT_SIDES, MASTER_STEP),
        sides=sides_i,
        witness=one_quadratic,
        random_instance=random_run,
        cases=(
            Case("noise", identical_noise, "HOLDS", ratio=0.940996842),
            Case("users-apart", opposite_curvatures, "HOLDS", ratio=0.999353938),
            Case("noise-drift", kinked_noise, "HOLDS", ratio=0.999500000),
            Case("participation", participation_only, "HOLDS", ratio=0.976800000),
            Case("bias", constant_bias, "HOLDS", ratio=0.998032554),
            Case("one-step", one_step, "HOLDS", ratio=1.0),
            *VARIANT_CASES,
            Case("logistic", logistic_users, "HOLDS", ratio=0.00972193959),
        ),
    ),
    Claim(
        name="theorem-4.5",
        version="corrected",
        form="M-ii",
        title="The average squared gradient along Per-FedAvg, corrected",
        short="the master inequalities (M-i), (M-ii)",
        statement="(1/(tau K)) sum_k sum_t E||grad F(wbar_{k+1,t})||^2 <= (1/tau) sum_{t<tau} (X* + R_t)^2, "
        "R_t = x t sqrt((X* + Y_t)^2 + p (gamma + Y_t)^2 + (kap_t v/sqrt(t) + (1+psi_t) b)^2/m)",
        source="Theorem 1, docs/theory/theorem-4-5.md#9-5-3-theorem-1",
        tight=True,
        known_ratio=first_term_reached()[1],
        hypotheses=(RUN, EXACT_SIDES, MASTER_STEP),
        sides=sides_ii,
        witness=one_quadratic,
        random_instance=random_run,
        cases=(
            Case("noise", identical_noise, "HOLDS", ratio=0.889340448),
            Case("users-apart", opposite_curvatures, "HOLDS", ratio=0.997726495),
            Case("participation", participation_only, "HOLDS", ratio=0.935167),
            Case("bias", constant_bias, "HOLDS", ratio=0.996070573),
            *VARIANT_CASES,
            Case("logistic", logistic_users, "HOLDS", ratio=0.00809811213),
        ),
    ),
    Claim(
        name="theorem-4.5",
        version="corrected",
        form="theorem-2",
        title="The average squared gradient along Per-FedAvg, corrected, with explicit constants",
        short="2.46 Phi + ... + 1.94 tau beta L_F p gamma_F^2 + 4.87 b^2",
        statement="(1/(tau K)) sum_k sum_t E||grad F(wbar_{k+1,t})||^2 <= 2.46 Phi + 2.34 x v^2/(r n) + 4.20 x^2 "
        "(tau-1) v^2 "
        "+ 2.03 x^2 tau(tau-1) gamma_F^2 + 1.94 tau x p gamma_F^2 + 4.87 b^2, x = beta L_F, if tau x <= 1/10; "
        "for exact, FO, HF and FedAvg with the v and b of each",
        source="Theorem 2, docs/theory/theorem-4-5.md#9-5-4-theorem-2, with docs/theory/theorem-4-5.md#9-5-5",
        tight=False,
        known_ratio=linear_reached(),
        hypotheses=(*ON_ANY_PROBLEM, SMALL_STEP, BOUNDED_STEP, BOUNDED_BELOW),
        sides=sides_linear,
        witness=one_quadratic,
        random_instance=random_bounded,
        cases=(
            *(Case(f"tau-{tau}", functools.partial(refuting, tau), "HOLDS") for tau in (3, 64, 4096)),
            *VARIANT_CASES,
            Case("algorithm-3", by_the_algorithm_from_afar, "HOLDS"),
            *ON_ROWS,
            Case("logistic-w1", functools.partial(logistic_users, gamma="w1"), "HOLDS", ratio=1.93973135e-6),
            Case("femnist", femnist_writers, "HOLDS", "FEMNIST", ratio=0.00905652498),
            Case("quadratics-on-ball", quadratic_users, "HOLDS", ratio=0.0148915274),
            Case("large-step", lambda: instance_one.instance(tau=8, rounds=10, beta=0.05), "NOT_APPLICABLE"),
        ),
    ),
)
