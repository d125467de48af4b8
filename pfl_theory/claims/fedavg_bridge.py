"""FedAvg with K steps of a is, to first order, Per-FedAvg with inner step a' = a (K - 1)/4.

u = (theta - FedAvg(theta)) / (a K), F the objective of Per-FedAvg with inner step alpha (the instance's), G2 the mean
of Hess f_i grad f_i:

- sharp: ||u - grad F(theta)|| <= a^2 B (L^2 (K-1)(K-2)/6 + rho B (K-1)(2K-1)/12) + alpha^2 B (L^2 + (1 + alpha L) rho
  B/2) for alpha = a' (tight: no)
- sharp, any-step: the same plus |a (K-1)/2 - 2 alpha| ||G2|| for every alpha (tight: no)
- sharp, necessary: |a (K-1)/2 - 2 alpha| ||G2|| - ||u - grad F(theta)|| is at most that bound: another inner step is
  off by first order (tight: as a -> 0)
- sharp, quadratic: ||u - grad F(theta)|| <= p_K(x) max ||g_i||, x = a L, rho = 0, alpha = a'; p_K(x) = sum over m >= 2
  of |c_m| x^m for the coefficients of ((1 + x)^K - 1)/(K x) - (1 + (K-1) x/4)^2 (tight)

Proofs: docs/theory/relatives.md#10-7.
"""

from __future__ import annotations

import math

import numpy as np

from ..judging.claim import Case, Claim, Hypothesis, Sides
from ..judging.hypotheses import bound, has_constants
from ..judging.instance import Instance
from ..judging.on_candidates import nonnegative
from ..judging.on_local_runs import (
    LOCAL,
    PATHS_IN_BALL,
    SEVERAL,
    LocalRun,
    all_runs,
    constant,
    every_constant,
    mean,
    one_user,
    quadratic,
    random_local,
    steps_of,
    total,
)
from ..judging.on_models import norm
from ..losses.piecewise import Curve, Piecewise
from ..problems.problem import Problem
from ..rigour.balls import Ball
from ..rigour.interval import Interval
from ..rigour.rounding import UNIT

PLACE = "docs/theory/relatives.md#10-7"


def bridge(a: float, steps: int) -> float:
    """a' = a (K - 1)/4.

    Examples
    --------
    >>> bridge(0.4, 11)
    1.0
    """
    return a * (steps - 1) / 4


def apart(runs: list[LocalRun], steps: int, alpha: Ball) -> Ball:
    """u - grad F(theta)."""
    return mean([total(run.gradients) / float(steps) - meta_gradient(run, alpha) for run in runs])


def inner_step(instance: Instance, *, bridged: bool) -> Ball:
    """The instance's alpha; where it stands for a (K - 1)/4 that number itself, which floats may not hold: a rounding
    of alpha is an error of first order.
    """
    a, K = steps_of(instance)
    return Ball(a) * float(K - 1) * 0.25 if bridged else Ball(instance.alpha)


def meta_gradient(run: LocalRun, alpha: Ball) -> Ball:
    """(I - alpha H) grad f(theta - alpha g)."""
    v = run.user.gradient(run.start - run.gradients[0] * alpha)
    return v - run.user.product(run.start, v) * alpha


def second_order(instance: Instance, alpha: Ball) -> Ball:
    """a^2 B (L^2 (K-1)(K-2)/6 + rho B (K-1)(2K-1)/12) + alpha^2 B (L^2 + (1 + alpha L) rho B/2)."""
    a, K = steps_of(instance)
    L, rho, B = every_constant(instance)
    local = L * L * (float((K - 1) * (K - 2))) / 6.0 + rho * B * float((K - 1) * (2 * K - 1)) / 12.0
    meta = L * L + (1.0 + alpha * L) * rho * B * 0.5
    return Ball(a) * a * B * local + alpha * alpha * B * meta


def first_order(instance: Instance, runs: list[LocalRun]) -> Ball:
    """|a (K-1)/2 - 2 alpha| ||G2||."""
    a, K = steps_of(instance)
    off = Ball(a) * ((K - 1) / 2.0) - Ball(instance.alpha) * 2.0
    size = Ball.between(max(0.0, float(off.lower), -float(off.upper)), float(off.size_bound))
    return size * norm(mean([run.user.product(run.start, run.gradients[0]) for run in runs]))


def _sides(form: str):  # type: ignore[no-untyped-def]
    def sides(instance: Instance) -> Sides:
        alpha = inner_step(instance, bridged=form == "")
        pairs, sizes = [], []
        for runs in all_runs(instance):
            error = norm(apart(runs, steps_of(instance)[1], alpha))
            rest = second_order(instance, alpha)
            sizes.append(max(float(norm(run.gradients[0]).lower) for run in runs))
            if form == "any-step":
                rest = rest + first_order(instance, runs)
            if form == "necessary":
                missed = first_order(instance, runs) - error
                pairs.append((_any(missed), _right(rest)))
                continue
            pairs.append((nonnegative(error), _right(rest)))
        return Sides.over(pairs, "points", size=min(sizes))

    return sides


def _any(ball: Ball) -> Interval:
    lower, upper = float(ball.lower), float(ball.upper)
    return Interval(lower, upper, upper - lower) if math.isfinite(upper - lower) else Interval(-math.inf, math.inf)


def _right(ball: Ball) -> Interval:
    return Interval(0.0, 0.0, 0.0) if float(ball.upper) < 1e-290 else nonnegative(ball)


def coefficients(steps: int) -> list[float]:
    """c_2, c_3, ...: those of ((1 + x)^K - 1)/(K x) - (1 + (K-1) x/4)^2, absolute values.

    Examples
    --------
    >>> coefficients(2)
    [0.0625]
    """
    found = [math.comb(steps, m + 1) / steps for m in range(2, steps)] or [0.0]
    square = (steps - 1) ** 2 / 16
    return [abs((steps - 1) * (5 * steps - 13) / 48) if steps > 2 else square, *found[1:]]


def quadratic_sides(instance: Instance) -> Sides:
    """Users of constant Hessian."""
    (a, K), pairs, sizes = steps_of(instance), [], []
    x = constant(instance, "L") * a
    series = Ball(0.0)
    for c in reversed(coefficients(K)):
        series = series * x + Ball.relative(c, 8 * UNIT)
    for runs in all_runs(instance):
        steep = [norm(run.gradients[0]) for run in runs]
        G = Ball.between(max(float(g.lower) for g in steep), max(float(g.upper) for g in steep))
        error = norm(apart(runs, K, inner_step(instance, bridged=True)))
        sizes.append(float(G.lower))
        pairs.append((nonnegative(error), _right(series * x * x * G)))
    return Sides.over(pairs, "points", size=min(sizes))


def _bridged(instance: Instance) -> str | None:
    a, K = steps_of(instance)
    asked = bridge(a, K)
    if abs(instance.alpha - asked) <= 4 * UNIT * asked:
        return None
    return f"alpha must be a (K - 1)/4 = {asked:.9g}: it is {instance.alpha:.9g}."


def _flat(instance: Instance) -> str | None:
    rho = bound(instance, "rho")
    return None if rho == 0 else f"rho must be 0: it is {rho:.6g}."


# --- witnesses ---


STEEP = 2.0**10


def turning(a: float = 2.0**-13, steps: int = 2) -> Instance:
    """f'' = |w| near 0, f'(0) about 2^10: no curvature at the start, L = rho = 1."""
    nodes = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    curve = Curve(nodes, np.array([0.0, 1.0, 0.0, 1.0, 0.0]), 2.0, STEEP)
    return one_user(Problem.from_curves(Piecewise([curve])), 0.0, a, steps, "turning", alpha=bridge(a, steps))


def turning_ratio(a: float = 2.0**-13) -> float:
    """For two steps and alpha = a/4: (rho G^2/2)(a^2/2 - a^2/16) over the bound."""
    G, B, alpha = STEEP - 1.0, STEEP, a / 4
    left = G * G * (a * a / 4 - alpha * alpha / 2)
    right = a * a * B * (B * 3 / 12) + alpha * alpha * B * (1 + (1 + alpha) * B / 2)
    return left / right


def concave(steps: int = 10, x: float = 0.3, times: float = 1.0) -> Instance:
    """f = -w^2 / 2, on a ball that holds the steps."""
    far = (1 + x) ** steps
    return quadratic(-1.0, 1.0, x, steps, alpha=bridge(x, steps) * times, ball=(far, None))


def convex(times: float = 1.0, a: float = 2.0**-12) -> Instance:
    """f = w^2 / 2 on the unit ball, small steps."""
    return quadratic(1.0, 1.0, a, 10, alpha=bridge(a, 10) * times, ball=(1.0, None))


def convex_ratio(times: float, a: float = 2.0**-12, K: int = 10) -> float:
    """Of `convex` for any step: u = (1 - (1 - a)^K)/(a K) and grad F = (1 - alpha)^2."""
    alpha = bridge(a, K) * times
    off = -np.expm1(K * np.log1p(-a)) / (a * K) - (1 - alpha) ** 2
    return float(abs(off) / (abs(a * (K - 1) / 2 - 2 * alpha) + a * a * (K - 1) * (K - 2) / 6 + alpha**2))


def necessary_ratio(a: float = 2.0**-12, K: int = 10) -> float:
    """Of `convex` without an inner step: a (K-1)/2 - (1 - u) = a^2 (K-1)(K-2)/6 - ..., by its series."""
    left = sum((-1) ** m * math.comb(K, m + 1) * a**m for m in range(2, K)) / K
    return left / (a * a * (K - 1) * (K - 2) / 6)


def random_bridge(rng: np.random.Generator) -> Instance:
    """alpha = a (K-1)/4."""
    return random_local(rng, alpha=bridge)


def random_other(rng: np.random.Generator) -> Instance:
    """Another inner step."""
    share = float(rng.uniform(0, 3))
    return random_local(rng, alpha=lambda a, steps: share * bridge(a, steps))


def random_quadratic(rng: np.random.Generator) -> Instance:
    """Users of constant Hessian."""
    while True:
        found = random_bridge(rng)
        if found.problem.kind == "rows":
            return found


BRIDGED = Hypothesis("alpha = a (K - 1)/4", _bridged)
CONSTANTS = has_constants("L", "rho", "B")
COMMON = (*LOCAL, SEVERAL, CONSTANTS, PATHS_IN_BALL)
TITLE = "FedAvg as Per-FedAvg with inner step a (K-1)/4"
TWICE = Case("twice-the-step", lambda: convex(2.0), "NOT_APPLICABLE")

CLAIMS = (
    Claim(
        name="fedavg-bridge",
        version="sharp",
        title=TITLE,
        short="second order in a",
        statement="for alpha = a (K-1)/4: ||(theta - FedAvg(theta))/(a K) - grad F(theta)|| <= a^2 B (L^2 (K-1)(K-2)/6 "
        "+ rho B (K-1)(2K-1)/12) + alpha^2 B (L^2 + (1 + alpha L) rho B/2)",
        source=PLACE,
        tight=False,
        known_ratio=turning_ratio(),
        hypotheses=(*COMMON, BRIDGED),
        sides=_sides(""),
        witness=turning,
        random_instance=random_bridge,
        cases=(TWICE, Case("convex", convex, "HOLDS")),
    ),
    Claim(
        name="fedavg-bridge",
        version="sharp",
        form="any-step",
        title="FedAvg against Per-FedAvg with any inner step",
        statement="for every alpha: ||(theta - FedAvg(theta))/(a K) - grad F(theta)|| <= |a (K-1)/2 - 2 alpha| ||G2|| "
        "+ the same second-order terms",
        source=PLACE,
        tight=False,
        known_ratio=convex_ratio(2.0),
        hypotheses=COMMON,
        sides=_sides("any-step"),
        witness=lambda: convex(2.0),
        random_instance=random_other,
        cases=(Case("bridge", convex, "HOLDS"),),
    ),
    Claim(
        name="fedavg-bridge",
        version="sharp",
        form="necessary",
        title="FedAvg against Per-FedAvg with another inner step, from below",
        short="another step: off by |a (K-1)/2 - 2 alpha| ||G2||",
        statement="for every alpha: |a (K-1)/2 - 2 alpha| ||G2|| - ||(theta - FedAvg(theta))/(a K) - grad F(theta)|| "
        "is at most the same second-order terms",
        source=PLACE,
        tight=True,
        known_ratio=necessary_ratio(),
        hypotheses=COMMON,
        sides=_sides("necessary"),
        witness=lambda: convex(0.0),
        random_instance=random_other,
    ),
    Claim(
        name="fedavg-bridge",
        version="sharp",
        form="quadratic",
        title=f"{TITLE}, quadratic users",
        short="quadratic: p_K(a L) max ||g_i||",
        statement="for constant Hessians and alpha = a (K-1)/4: ||(theta - FedAvg(theta))/(a K) - grad F(theta)|| <= "
        "p_K(a L) max ||g_i||, leading term a^2 L^2 (K-1)|5K-13|/48",
        source=PLACE,
        tight=True,
        hypotheses=(*LOCAL, SEVERAL, Hypothesis("rho = 0", _flat), BRIDGED),
        sides=quadratic_sides,
        witness=concave,
        random_instance=random_quadratic,
        cases=(
            TWICE,
            Case("two-steps", lambda: concave(2), "HOLDS", ratio=1.0),
            Case("turning", turning, "NOT_APPLICABLE"),
        ),
    ),
)
