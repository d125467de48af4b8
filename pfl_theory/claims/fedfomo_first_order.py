"""FedFomo: what its weights miss of the gradient, and of the best convex combination of the candidates.

- sharp, gradient: |Delta_n/D_n + <g, d_n/D_n>| <= (L/2) D_n, g = grad l(theta) (tight)
- sharp: l(theta + s) - phi* <= sum w_n (l_n - l_min) + (m/2) V + (L/2) R^2, phi* the least loss over the hull of the
  candidates, R the radius of the smallest ball round them (tight: in the limit)
- sharp, convex: the same without (m/2) V (tight: in the limit)

Proofs: docs/theory/relatives.md#10-4.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..judging.claim import Case, Claim, Hypothesis, Sides
from ..judging.instance import Instance
from ..judging.on_candidates import (
    CONVEX_VALUES,
    WEIGHED,
    Weighed,
    at_weighed,
    curved,
    least_on_hull,
    nonnegative,
    quadratic_users,
    random_candidates,
    random_convex_candidates,
    squared_radius,
)
from ..judging.on_models import known_users, side
from ..losses.piecewise import Curve, Piecewise
from ..problems.problem import Problem
from ..rigour.balls import Ball
from ..rigour.interval import Interval

PLACE = "docs/theory/relatives.md#10-4"
E = 1e-3  # how far from -1 and 1 the witness is


def gradient_sides(instance: Instance) -> Sides:
    """Every winner against the slope towards it."""

    def pairs_of(one: Weighed) -> list[tuple[Interval, Interval]]:
        slope = one.user.gradient(one.base)
        pairs = []
        for n in range(len(one.winners)):
            decrease = one.base_loss - one.losses[int(one.winners[n])]
            off = (decrease + (slope * one.away[n]).sum()) / one.far[n]
            size = Ball.between(max(0.0, float(off.lower), -float(off.upper)), float(off.size_bound))
            pairs.append((nonnegative(size), nonnegative(curved(one.user.smooth, one.far[n]))))
        return pairs

    return at_weighed(instance, pairs_of)


def _gap(*, convex: bool) -> Callable[[Instance], Sides]:
    def sides(instance: Instance) -> Sides:
        points = instance.judged_at[1:]
        radius = squared_radius(points)

        def pairs_of(one: Weighed) -> list[tuple[Interval, Interval]]:
            gap = one.loss_at() - least_on_hull(one, points)
            least = Ball.between(float(one.losses.lower.min()), float(one.losses.upper.min()))
            rest = (one.weight * (one.losses[one.winners] - least).nonnegative()).sum()
            rest = rest + curved(one.user.smooth, radius)
            if not convex:
                rest = rest + curved(one.user.below, one.spread)
            lhs = side(gap)
            return [(Interval(lhs.lower, lhs.upper), nonnegative(rest))]  # the hull is searched, not rounded

        return at_weighed(instance, pairs_of)

    return sides


def witness(e: float = E) -> Instance:
    """l = theta^2 / 2, base and one candidate at 1 + e, the other at -1: all weight goes to -1, the best is 0."""
    return quadratic_users(1.0, [[0.0]], [[1.0 + e], [-1.0], [1.0 + e]], "base among the candidates")


def bump() -> Instance:
    """A bump between the candidates: not convex."""
    nodes = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    problem = Problem.from_curves(Piecewise([Curve(nodes, np.array([0.0, 1.0, -1.0, 1.0, 0.0]), 0.0, 0.1)]))
    return Instance(problem, 1.0, np.array([[1.9], [1.0], [-1.5], [0.5]]), "bump between candidates")


def quadratic() -> Instance:
    """l = 2 ||theta||^2: off the slope by D_n L / 2, whatever the candidate."""
    return quadratic_users(4.0, [[0.0, 0.0]], [[1.0, 1.0], [0.5, 0.0], [0.0, 0.25]], "quadratic")


def _hull(instance: Instance) -> str | None:
    if instance.problem.dim == 1:
        return None
    lowest = max(float(user.below.upper) for user in known_users(instance.problem))
    if lowest <= 0 and instance.problem.kind == "rows":
        return None
    return "the least loss over the candidates' hull is known on a line, and of convex quadratics."


def _gradients(instance: Instance) -> str | None:
    return None if instance.problem.kind != "functions" else "gradients of functions are not known up to rounding."


HULL = Hypothesis("the least loss over the hull is known", _hull)

CLAIMS = (
    Claim(
        name="fedfomo-first-order",
        version="sharp",
        title="FedFomo: first-order weights against the best convex combination",
        short="sum w_n (l_n - l_min) + (m/2) V + (L/2) R^2",
        statement="l(theta + s) - min over the simplex of l(sum v_n theta_n) <= sum w_n (l_n - l_min) + (m/2) V + "
        "(L/2) R^2",
        source=PLACE,
        tight=True,
        known_ratio=1 / (1 + E / 2) ** 2,
        hypotheses=(*WEIGHED, HULL),
        sides=_gap(convex=False),
        witness=witness,
        random_instance=lambda rng: _on_known_hull(rng),
        cases=(Case("bump", bump, "HOLDS"),),
    ),
    Claim(
        name="fedfomo-first-order",
        version="sharp",
        form="convex",
        title="FedFomo: first-order weights against the best convex combination, convex losses",
        short="convex: without (m/2) V",
        statement="for convex l: l(theta + s) - min over the simplex of l(sum v_n theta_n) <= sum w_n (l_n - l_min) + "
        "(L/2) R^2",
        source=PLACE,
        tight=True,
        known_ratio=1 / (1 + E / 2) ** 2,
        hypotheses=(*WEIGHED, CONVEX_VALUES, HULL),
        sides=_gap(convex=True),
        witness=witness,
        random_instance=random_convex_candidates,
        cases=(Case("bump", bump, "NOT_APPLICABLE"),),
    ),
    Claim(
        name="fedfomo-first-order",
        version="sharp",
        form="gradient",
        title="FedFomo: loss decrease over distance against the slope",
        short="(L/2) D_n off the slope",
        statement="|Delta_n/D_n + <grad l(theta), theta_n - theta>/D_n| <= (L/2) D_n",
        source=PLACE,
        tight=True,
        hypotheses=(*WEIGHED, Hypothesis("gradients known up to rounding", _gradients)),
        sides=gradient_sides,
        witness=quadratic,
        random_instance=random_candidates,
    ),
)


def _on_known_hull(rng: np.random.Generator) -> Instance:
    """Users on a line, or convex ones."""
    while True:
        found = random_candidates(rng, convex=bool(rng.random() < 0.3))
        if _hull(found) is None:
            return found
