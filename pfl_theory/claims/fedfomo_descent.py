"""FedFomo: what the combined step does to the validation loss.

With w from the formula, s = sum w_n (theta_n - theta), l_n = l(theta_n), -m I <= Hess l <= L I, V = sum w_n ||theta_n -
theta||^2 - ||s||^2:

- sharp: l(theta + s) - sum w_n l_n <= (m/2) V (tight: for every w)
- sharp, damped: l(theta + t s) - (1 - t) l(theta) - t sum w_n l_n <= (m/2) (t sum w_n D_n^2 - t^2 ||s||^2) (tight)
- sharp, lower: sum w_n l_n - l(theta + s) <= (L/2) V (tight)
- sharp, descent-lemma: l(theta + s) - sum w_n l_n <= (L/2) (sum w_n D_n^2 + ||s||^2) (tight: only where s = 0)
- sharp, convex: m = 0: 2 Delta_b / (1 + sqrt(1 + N)) <= l(theta) - l(theta + s), N = sum over other winners of D_b/D_n
  (tight)

Where Hess l has negative eigenvalues the loss may rise although every candidate is better: cases `saddle`, `symmetric`.
Proofs: docs/theory/relatives.md#10-3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..algorithms.fedfomo import FedFomo
from ..judging.claim import Case, Claim, Hypothesis, Sides
from ..judging.instance import Instance
from ..judging.on_candidates import (
    CONVEX_VALUES,
    FORMULA,
    TWO_HELP,
    WEIGHED,
    Weighed,
    all_weighed,
    at_weighed,
    curved,
    functions,
    nonnegative,
    quadratic_users,
    random_candidates,
    random_convex_candidates,
)
from ..judging.on_models import side
from ..losses.piecewise import Curve, Piecewise
from ..problems.problem import Problem
from ..rigour.balls import Ball
from ..rigour.interval import Interval

PLACE = "docs/theory/relatives.md#10-3"


def _told(instance: Instance) -> str:
    """Where the loss goes, at the user for whom it rises most."""
    found = all_weighed(instance)
    rise = [float(one.loss_at()) - float(one.base_loss) for one in found]
    worst = found[int(np.argmax(rise))]
    return f"The loss goes from {float(worst.base_loss):.6g} to {float(worst.loss_at()):.6g}."


def _sides(pair: Callable[[Weighed, Instance], tuple[Ball, Ball]]) -> Callable[[Instance], Sides]:
    def sides(instance: Instance) -> Sides:
        def pairs_of(one: Weighed) -> list[tuple[Interval, Interval]]:
            if len(one.winners) < 2:
                return []  # one winner: the step is its model
            lhs, rhs = pair(one, instance)
            return [(side(lhs), nonnegative(rhs))]

        return replace(at_weighed(instance, pairs_of), note=_told(instance))

    return sides


def upper(one: Weighed, instance: Instance) -> tuple[Ball, Ball]:
    """The loss above the mean of the candidates' losses, against the spread."""
    return one.loss_at() - one.mean_loss, curved(one.user.below, one.spread)


def lower(one: Weighed, instance: Instance) -> tuple[Ball, Ball]:
    """The loss below the mean of the candidates' losses, against the spread."""
    return one.mean_loss - one.loss_at(), curved(one.user.smooth, one.spread)


def damped(one: Weighed, instance: Instance) -> tuple[Ball, Ball]:
    """The same after a share t of the step."""
    t = Ball(instance.alpha)
    squares, _ = _squares(one)
    mean = (1.0 - t) * one.base_loss + t * one.mean_loss
    # t sum w D^2 - t^2 ||s||^2 = t (1 - t) sum w D^2 + t^2 V: nonnegative terms
    return one.loss_at(t) - mean, curved(one.user.below, t * (1.0 - t) * squares + t * t * one.spread)


def descent_lemma(one: Weighed, instance: Instance) -> tuple[Ball, Ball]:
    """The same by the usual chain of estimates."""
    squares, moved = _squares(one)
    return one.loss_at() - one.mean_loss, curved(one.user.smooth, squares + moved)


def _squares(one: Weighed) -> tuple[Ball, Ball]:
    """sum w_n D_n^2 and ||s||^2."""
    return (one.weight * one.far * one.far).sum(), (one.move * one.move).sum()


def convex_sides(instance: Instance) -> Sides:
    """What the step is guaranteed to gain against what it gains, for every winner b."""

    def pairs_of(one: Weighed) -> list[tuple[Interval, Interval]]:
        pairs, gained = [], side(one.base_loss - one.loss_at())
        for b in range(len(one.winners)):
            others = Ball(0.0)
            for n in range(len(one.winners)):
                if n != b:
                    share = one.far[b] / one.far[n]
                    sure = float(one.gain.lower[n]) > 0
                    others = others + (share if sure else Ball.between(0.0, float(share.upper)))
            least = one.gain[b] * 2.0 / ((others + 1.0).sqrt() + 1.0)
            pairs.append((nonnegative(least), gained))
        return pairs

    return replace(at_weighed(instance, pairs_of), note=_told(instance))


def _share(instance: Instance) -> str | None:
    return None if instance.alpha <= 1 else f"t must lie in [0, 1]: the instance's alpha is {instance.alpha:.6g}."


# --- witnesses ---


def saddle() -> Instance:
    """l(x, y) = y - 2 x^2, candidates (1, 1) and (-1, 1): both at -1, and the step goes from 0 to 1."""
    return functions(
        lambda w: w[:, 1] - 2 * w[:, 0] ** 2,
        lambda w: np.stack([-4 * w[:, 0], np.ones(len(w))], axis=1),
        [[0.0, 0.0], [1.0, 1.0], [-1.0, 1.0]],
        "saddle, two candidates at its sides",
        L=4.0,
        lower=4.0,
    )


def symmetric() -> Instance:
    """A linear net of two layers, l(a, b) = (a b - 1)^2 / 2, and two better candidates of which one is the other
    optimum: 0.28125 to 0.422140. On the line a = b that the candidates span, -1 <= l'' <= 2.
    """
    return functions(
        lambda w: (w[:, 0] * w[:, 1] - 1) ** 2 / 2,
        lambda w: (w[:, 0] * w[:, 1] - 1)[:, None] * w[:, ::-1],
        [[0.5, 0.5], [0.6, 0.6], [-1.0, -1.0]],
        "linear net, two layers",
        L=2.0,
        lower=1.0,
    )


def witness(alpha: float = 1.0) -> Instance:
    """A concave quadratic in two dimensions, three candidates that all help."""
    points = [[0.25, 0.0], [1.0, 1.0], [-2.0, 1.0], [0.5, -3.0]]
    return quadratic_users(-1.0, [[0.0, 0.0]], points, "concave quadratic", alpha=alpha)


def bowl() -> Instance:
    """l = ||theta||^2 / 2: the mean of losses lies (1/2) V above."""
    points = [[3.0, 0.0], [1.0, 1.0], [-2.0, 1.0], [0.5, -2.0]]
    return quadratic_users(1.0, [[0.0, 0.0]], points, "convex quadratic")


def opposite() -> Instance:
    """l = -theta^2 / 2, base 0, candidates 1 and -1: no move, and the descent lemma loses nothing."""
    return quadratic_users(-1.0, [[0.0]], [[0.0], [1.0], [-1.0]], "concave quadratic, opposite candidates")


def near_and_far(others: int = 2) -> Instance:
    """A linear loss; one candidate at distance 1, others at 1 / (others + 2): the step gains 2 Delta_b / (1 + sqrt(1 +
    N)), no more.
    """
    nodes = np.array([-4.0, 4.0])
    problem = Problem.from_curves(Piecewise([Curve(nodes, np.zeros(2), 0.0, -1.0)]))
    points = [0.0, 1.0, *[1.0 / (others + 2)] * others]
    return Instance(problem, 1.0, np.array(points)[:, None], "linear loss, near and far candidates")


def alone() -> Instance:
    """One candidate is better."""
    return quadratic_users(1.0, [[0.0]], [[1.0], [0.5], [2.0]], "one better candidate")


def l1_weights() -> Instance:
    """The weights of another norm."""
    return replace(bowl(), algorithm=FedFomo(1.0, norm="l1"), name="weights by the l1 norm")


WHOLE = (*WEIGHED, TWO_HELP)
RISING = (Case("saddle", saddle, "HOLDS", ratio=1.0), Case("symmetric", symmetric, "HOLDS", ratio=0.63639820634))
TITLE = "FedFomo: the loss after the combined step"

CLAIMS = (
    Claim(
        name="fedfomo-descent",
        version="sharp",
        title=TITLE,
        short="(m/2) V above the mean of losses",
        statement="for any weights w in the simplex and Hess l >= -m I on the hull: l(theta + s) - sum w_n l_n <= "
        "(m/2) V, V = (1/2) sum w_n w_k ||theta_n - theta_k||^2",
        source=PLACE,
        tight=True,
        hypotheses=WHOLE,
        sides=_sides(upper),
        witness=witness,
        random_instance=random_candidates,
        cases=(*RISING, Case("one-winner", alone, "NOT_APPLICABLE"), Case("l1-weights", l1_weights, "HOLDS")),
    ),
    Claim(
        name="fedfomo-descent",
        version="sharp",
        form="damped",
        title=f"{TITLE}, a share t of it",
        statement="for 0 <= t <= 1: l(theta + t s) - (1 - t) l(theta) - t sum w_n l_n <= (m/2) (t sum w_n D_n^2 - t^2 "
        "||s||^2); t is the instance's alpha",
        source=PLACE,
        tight=True,
        hypotheses=(*WHOLE, Hypothesis("0 <= t <= 1", _share)),
        sides=_sides(damped),
        witness=lambda: witness(0.5),
        random_instance=random_candidates,
        cases=(Case("twice", lambda: witness(2.0), "NOT_APPLICABLE"), RISING[0]),
    ),
    Claim(
        name="fedfomo-descent",
        version="sharp",
        form="lower",
        title=f"{TITLE}, from below",
        statement="for Hess l <= L I on the hull: sum w_n l_n - l(theta + s) <= (L/2) V",
        source=PLACE,
        tight=True,
        hypotheses=WHOLE,
        sides=_sides(lower),
        witness=bowl,
        random_instance=random_candidates,
    ),
    Claim(
        name="fedfomo-descent",
        version="sharp",
        form="descent-lemma",
        title=f"{TITLE}, by the descent lemma",
        statement="by the usual chain of estimates: l(theta + s) - sum w_n l_n <= (L/2) (sum w_n D_n^2 + ||s||^2); "
        "nobody's printed bound",
        source=PLACE,
        tight=False,
        hypotheses=WHOLE,
        sides=_sides(descent_lemma),
        witness=opposite,
        random_instance=random_candidates,
        cases=(Case("saddle", saddle, "HOLDS", ratio=1.0 / 3.0),),
    ),
    Claim(
        name="fedfomo-descent",
        version="sharp",
        form="convex",
        title="FedFomo: what the step gains at least, for convex losses",
        short="convex: gains 2 Delta_b/(1 + sqrt(1 + N))",
        statement="for convex l and any candidate b better than the base: 2 Delta_b / (1 + sqrt(1 + N)) <= l(theta) - "
        "l(theta + s), N = sum over the other winners of D_b/D_n",
        source=PLACE,
        tight=True,
        hypotheses=(*WEIGHED, FORMULA, CONVEX_VALUES),
        sides=convex_sides,
        witness=near_and_far,
        random_instance=random_convex_candidates,
        cases=(
            Case("saddle", saddle, "NOT_APPLICABLE"),
            Case("l1-weights", l1_weights, "NOT_APPLICABLE"),
            Case("one-winner", alone, "HOLDS", ratio=1.0),
        ),
    ),
)
