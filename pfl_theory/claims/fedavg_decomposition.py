"""FedAvg's update as gradients of meta-learning: g_j = grad f_i(theta_j) is the first-order MAML gradient with j - 1
inner steps of size a.

R_j = g_j - (g - a (j - 1) H g) for g = g_1, H = Hess f_i(theta), x = a L, G = ||g||:

- sharp: (theta - FedAvg(theta)) / a = grad f + sum over j < K of FOMAML(j), exactly (tight)
- sharp, growing: ||R_j|| <= ((1 + x)^(j-1) - 1 - (j-1) x) G + (rho / (2 L^2)) ((1 + x)^(j-1) - 1)^2 G^2 (tight)
- sharp, bounded: ||R_j|| <= a^2 (L^2 B (j-1)(j-2)/2 + rho B^2 (j-1)^2/2), B on the path (tight: as a -> 0)
- sharp, crude: ||R_j|| <= a^2 (j-1)^2 (L^2 B + rho B^2)/2 (tight: no)
- sharp, sum: sum R_j <= a^2 B (L^2 K(K-1)(K-2)/6 + rho B K(K-1)(2K-1)/12) (tight: as a -> 0)

Proofs: docs/theory/relatives.md#10-6.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..judging.claim import Case, Claim, Sides
from ..judging.hypotheses import has_constants
from ..judging.instance import Instance
from ..judging.on_candidates import nonnegative
from ..judging.on_local_runs import (
    LOCAL,
    PATHS_IN_BALL,
    SEVERAL,
    LocalRun,
    all_runs,
    constant,
    each_run,
    equal,
    every_constant,
    mean,
    one_user,
    powers,
    quadratic,
    random_local,
    run_error,
    steps_of,
    total,
)
from ..judging.on_models import norm, widened
from ..losses.piecewise import Curve, Piecewise
from ..problems.problem import Problem
from ..rigour.balls import Ball
from ..rigour.interval import Interval

PLACE = "docs/theory/relatives.md#10-6"
Bound = Callable[[Instance, LocalRun, int], Ball]


def identity_sides(instance: Instance) -> Sides:
    """The library's own round of the algorithm against the gradients at the adapted points, user by user."""
    a, steps = steps_of(instance)
    algorithm, pairs = instance.algorithm, []
    assert algorithm is not None
    for w, runs in zip(instance.judged_at, all_runs(instance), strict=True):
        state = algorithm.init(instance.problem, w)
        ended = algorithm.round(instance.problem, state, seed=0, round_=0).state
        rate = getattr(algorithm, "server_step", 1.0)
        reached = widened(Ball(ended.w), run_error(instance, w) * max(1.0, rate) * 2)
        update = (Ball(w) - reached) / (Ball(a) * rate)
        meant = total([mean([fomaml(run, a, j) for run in runs]) for j in range(steps)])
        lhs, rhs = equal(update, meant)
        pairs.append((nonnegative(lhs), nonnegative(rhs)))
    return Sides.over(pairs, "points")


def fomaml(run: LocalRun, a: float, inner: int) -> Ball:
    """First-order MAML: the gradient after `inner` steps of size a, taken anew from the start."""
    w = run.start
    for _ in range(inner):
        w = w - run.user.gradient(w) * a
    return run.user.gradient(w)


def remainder(run: LocalRun, a: float, j: int) -> Ball:
    """R_j."""
    g = run.gradients[0]
    return run.gradients[j - 1] - g + run.user.product(run.start, g) * (a * (j - 1))


def _each(right: Bound) -> Callable[[Instance], Sides]:
    def sides(instance: Instance) -> Sides:
        a, steps = steps_of(instance)
        pairs, sizes = [], []
        for run in each_run(instance):
            sizes.append(max(float(norm(g).lower) for g in run.gradients))
            pairs.append((nonnegative(norm(remainder(run, a, steps))), _side(right(instance, run, steps))))
        return Sides.over(pairs, "points", size=min(sizes))

    return sides


def _side(ball: Ball) -> Interval:
    """A right side: exactly 0 where nothing but underflow is left of it."""
    return Interval(0.0, 0.0, 0.0) if float(ball.upper) < 1e-290 else nonnegative(ball)


def growing(instance: Instance, run: LocalRun, j: int) -> Ball:
    """From L, rho and G alone."""
    a, _ = steps_of(instance)
    L, rho = constant(instance, "L"), constant(instance, "rho")
    x, G = L * a, norm(run.gradients[0])
    reach = powers(x, j - 1, 1) * a * G
    return x * x * powers(x, j - 1, 2) * G + rho * 0.5 * reach * reach


def bounded(instance: Instance, run: LocalRun, j: int) -> Ball:
    """From L, rho and B."""
    a, _ = steps_of(instance)
    L, rho, B = every_constant(instance)
    return Ball(a) * a * B * (L * L * ((j - 1) * (j - 2) / 2.0) + rho * B * ((j - 1) ** 2 / 2.0))


def crude(instance: Instance, run: LocalRun, j: int) -> Ball:
    """The same with the steps counted alike."""
    a, _ = steps_of(instance)
    L, rho, B = every_constant(instance)
    return Ball(a) * a * B * (L * L + rho * B) * ((j - 1) ** 2 / 2.0)


def sum_sides(instance: Instance) -> Sides:
    """All K steps together."""
    a, steps = steps_of(instance)
    pairs, sizes = [], []
    for run in each_run(instance):
        sizes.append(max(float(norm(g).lower) for g in run.gradients))
        lhs = norm(total([remainder(run, a, j) for j in range(1, steps + 1)]))
        pairs.append((nonnegative(lhs), _side(sum_bound(instance))))
    return Sides.over(pairs, "points", size=min(sizes))


def sum_bound(instance: Instance) -> Ball:
    """a^2 B (L^2 K(K-1)(K-2)/6 + rho B K(K-1)(2K-1)/12)."""
    a, K = steps_of(instance)
    L, rho, B = every_constant(instance)
    bent = L * L * float(K * (K - 1) * (K - 2)) / 6.0 + rho * B * float(K * (K - 1) * (2 * K - 1)) / 12.0
    return Ball(a) * a * B * bent


# --- witnesses ---


def concave(x: float = 0.7, steps: int = 7) -> Instance:
    """f = -w^2 / 2: gradients grow as (1 + x)^j."""
    return quadratic(-1.0, 1.0, x, steps)


STEEP = 2.0**14  # rho B / L^2 of the bending witness


def bending(a: float = 2.0**-16, steps: int = 2) -> Instance:
    """f'' = L + rho w left of 0 and L - rho w right of it, f'(0) = B - L^2 / (2 rho), so that |f'| <= B = 2^14, L = rho
    = 1.
    """
    nodes = np.array([-2.0, -1.0, 0.0, 1.0])
    curve = Curve(nodes, np.array([0.0, 0.0, 1.0, 0.0]), 1.0, STEEP)
    return one_user(Problem.from_curves(Piecewise([curve])), 0.0, a, steps, "bending upwards")


def bending_ratio() -> float:
    """||R_2|| over its bound: (rho G^2 / 2) / (rho B^2 / 2)."""
    return ((STEEP - 0.5) / STEEP) ** 2


def flat(a: float = 2.0**-10, steps: int = 10) -> Instance:
    """f = w^2 / 2 on a ball round 0, from its edge: rho = 0, G = B."""
    return quadratic(1.0, 1.0, a, steps, ball=(1.0, None))


def flat_ratio(a: float = 2.0**-10, j: int = 4) -> float:
    """((1 - a)^(j-1) - 1 + (j-1) a) / (a^2 (j-1)(j-2)/2)."""
    return float((np.expm1((j - 1) * np.log1p(-a)) + (j - 1) * a) / (a * a * (j - 1) * (j - 2) / 2))


def flat_sum(a: float = 2.0**-10, steps: int = 10) -> float:
    """The sum of the same over its bound."""
    terms = [np.expm1((j - 1) * np.log1p(-a)) + (j - 1) * a for j in range(1, steps + 1)]
    return float(sum(terms) / (a * a * steps * (steps - 1) * (steps - 2) / 6))


def left_the_ball() -> Instance:
    """A concave quadratic drives out of the ball of its constants."""
    return quadratic(-1.0, 1.0, 0.5, 3, ball=(1.0, None))


def one_step() -> Instance:
    """K = 1."""
    return quadratic(1.0, 1.0, 0.5, 1)


CONSTANTS = has_constants("L", "rho", "B")
WITH_B = (*LOCAL, SEVERAL, CONSTANTS, PATHS_IN_BALL)
CASES = (Case("left-the-ball", left_the_ball, "NOT_APPLICABLE"), Case("one-step", one_step, "NOT_APPLICABLE"))
TITLE = "FedAvg as first-order MAML: remainder of a step"

CLAIMS = (
    Claim(
        name="fedavg-decomposition",
        version="sharp",
        title="FedAvg's update is FedSGD's and first-order MAML gradients",
        short="exact",
        statement="(theta - FedAvg(theta)) / a = mean grad f_i(theta) + sum over j = 1 .. K-1 of the mean first-order "
        "MAML gradient with j inner steps of size a",
        source=PLACE,
        tight=True,
        hypotheses=LOCAL,
        sides=identity_sides,
        witness=concave,
        random_instance=random_local,
    ),
    Claim(
        name="fedavg-decomposition",
        version="sharp",
        form="growing",
        title=f"{TITLE}, from L, rho and ||g||",
        short="S1: (1 + x)^(j-1) - 1 - (j-1) x, ...",
        statement="||R_j|| <= ((1 + x)^(j-1) - 1 - (j-1) x) G + (rho/(2 L^2)) ((1 + x)^(j-1) - 1)^2 G^2, x = a L, "
        "for the last step j = K",
        source=PLACE,
        tight=True,
        hypotheses=(*LOCAL, SEVERAL, has_constants("L", "rho"), PATHS_IN_BALL),
        sides=_each(growing),
        witness=concave,
        random_instance=random_local,
        cases=(CASES[1], Case("bending", bending, "HOLDS", ratio=1.0)),
    ),
    Claim(
        name="fedavg-decomposition",
        version="sharp",
        form="bounded",
        title=f"{TITLE}, from L, rho and B",
        short="S2: a^2 (L^2 B (j-1)(j-2)/2 + rho B^2 (j-1)^2/2)",
        statement="||R_j|| <= a^2 (L^2 B (j-1)(j-2)/2 + rho B^2 (j-1)^2/2) for the last step j = K",
        source=PLACE,
        tight=True,
        known_ratio=bending_ratio(),
        hypotheses=WITH_B,
        sides=_each(bounded),
        witness=bending,
        random_instance=random_local,
        cases=(*CASES, Case("flat", lambda: flat(steps=4), "HOLDS", ratio=flat_ratio())),
    ),
    Claim(
        name="fedavg-decomposition",
        version="sharp",
        form="crude",
        title=f"{TITLE}, all steps counted alike",
        statement="by the usual chain of estimates: ||R_j|| <= a^2 (j-1)^2 (L^2 B + rho B^2)/2 for every j <= K; "
        "nobody's printed bound",
        source=PLACE,
        tight=False,
        known_ratio=bending_ratio() * STEEP / (STEEP + 1),
        hypotheses=WITH_B,
        sides=_each(crude),
        witness=bending,
        random_instance=random_local,
        cases=CASES,
    ),
    Claim(
        name="fedavg-decomposition",
        version="sharp",
        form="sum",
        title="FedAvg as first-order MAML: remainder of all steps",
        short="sum: a^2 B (L^2 K(K-1)(K-2)/6 + rho B K(K-1)(2K-1)/12)",
        statement="||(theta - theta_{K+1})/a - K g + (a K(K-1)/2) H g|| <= a^2 B (L^2 K(K-1)(K-2)/6 + rho B "
        "K(K-1)(2K-1)/12)",
        source=PLACE,
        tight=True,
        known_ratio=flat_sum(),
        hypotheses=WITH_B,
        sides=sum_sides,
        witness=flat,
        random_instance=random_local,
        cases=(*CASES, Case("bending", bending, "HOLDS", ratio=bending_ratio())),
    ),
)
