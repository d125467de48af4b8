"""FedFomo: the weights lie in the simplex, and what does and does not change them.

- sharp: sum |w_n| + 2 |sum w_n - 1| <= 1: w >= 0 and sum w_n = 1, wherever a candidate is better (tight)
- sharp, unchanged: sum |w'_n| + 2 sum |w'_n - w_n| <= 1: w' = w under loss -> c loss + b, theta -> s Q theta, and
  without the losers; and for w' of candidate n twice, whose copies together weigh 2 w_n / (1 + w_n) (tight)
- sharp, step: ||s|| <= (sum gains) / (sum gains/D_n), the harmonic mean of the distances (tight)
- sharp, eps: TV(w_eps, w) <= (1 - sqrt r) / (1 + sqrt r), r = D_min / (D_min + eps) (tight)

Proofs: docs/theory/relatives.md#10-2.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..algorithms.fedfomo import FedFomo, distances, weights
from ..judging.claim import Case, Claim, Hypothesis, Sides
from ..judging.instance import Instance
from ..judging.on_candidates import (
    FORMULA,
    WEIGHED,
    Weighed,
    at_weighed,
    fomo_of,
    nonnegative,
    quadratic_users,
    random_candidates,
)
from ..judging.on_models import norm, stacked, widened
from ..losses.piecewise import Curve, Piecewise
from ..problems.problem import Problem
from ..rigour.balls import Ball
from ..rigour.interval import Interval
from ..rigour.rounding import UNIT

PLACE = "docs/theory/relatives.md#10-2"


def _size(ball: Ball) -> Ball:
    """Sum of absolute values."""
    low = np.where((ball.lower <= 0) & (ball.upper >= 0), 0.0, np.minimum(np.abs(ball.lower), np.abs(ball.upper)))
    return Ball.between(low, ball.size_bound).sum()


def _code(one: Weighed, fomo: FedFomo) -> Ball:
    """The weights that the code gives to all candidates, from losses and distances rounded to floats."""
    far = distances(one.base.mid, one.candidates.mid, fomo.norm)
    return Ball(weights(float(one.base_loss.mid), one.losses.mid, far, eps=fomo.eps))


def simplex_sides(instance: Instance) -> Sides:
    """The code's weights, as the floats that they are: their sum is 1 up to its own rounding."""
    fomo = fomo_of(instance)

    def pairs_of(one: Weighed) -> list[tuple[Interval, Interval]]:
        if not float(one.gain.lower.max()) > 0:
            return [(Interval(0.0, np.inf), Interval(1.0, 1.0))]  # within rounding nobody may be better
        w = _code(one, fomo)
        allowed = (len(w) + 4) * UNIT  # a division and a sum of m numbers
        return [(nonnegative(widened(_size(w) + _size(w.sum() - 1.0) * 2.0, 4 * allowed)), Interval(1.0, 1.0))]

    return at_weighed(instance, pairs_of)


def unchanged_sides(instance: Instance) -> Sides:
    """Three changes that must not matter, and a doubled candidate that must, in balls."""

    def pairs_of(one: Weighed) -> list[tuple[Interval, Interval]]:
        w, twice = one.weight, np.append(np.arange(len(one.winners)), 0)
        doubled = _weights(one.gain, one.far, twice)
        copies = doubled[0] + doubled[len(w)] - w[0] * 2.0 / (w[0] + 1.0)
        lefts = [
            *(
                _size(v) + _size(v - w) * 2.0
                for v in (_weights(one.gain * 3.0, one.far), _weights(one.gain, _turned(one)))
            ),
            _size(doubled) + _size(copies) * 2.0,
        ]
        return [(nonnegative(lhs), Interval(1.0, 1.0)) for lhs in lefts]

    return at_weighed(instance, pairs_of)


def _weights(gain: Ball, far: Ball, ids=None) -> Ball:  # type: ignore[no-untyped-def]
    u = gain / far
    u = u if ids is None else u[ids]
    total = u.sum()
    return u / total if float(total.lower) > 0 else Ball.between(np.zeros(len(u)), np.ones(len(u)))


def _turned(one: Weighed) -> Ball:
    """Distances after a reflection and a change of unit by 3."""
    vectors = [one.away[n] for n in range(len(one.winners))]
    axis = Ball(np.ones(one.away.shape[1]))
    return stacked([norm((v - axis * (v.sum() * 2.0 / float(axis.mid.size))) * 3.0) for v in vectors])


def step_sides(instance: Instance) -> Sides:
    """The length of the step against the harmonic mean of the distances, gains as weights."""

    def pairs_of(one: Weighed) -> list[tuple[Interval, Interval]]:
        mean = one.gain.sum() / (one.gain / one.far).sum()
        return [(nonnegative(norm(one.move)), nonnegative(mean))]

    return at_weighed(instance, pairs_of)


def eps_sides(instance: Instance) -> Sides:
    """What eps moves against the bound by the nearest winner."""
    eps = fomo_of(instance).eps

    def pairs_of(one: Weighed) -> list[tuple[Interval, Interval]]:
        exact = _weights(one.gain, one.far)
        moved = _size(one.weight - exact) * 0.5
        nearest = Ball.between(float(one.far.lower.min()), float(one.far.upper.min()))
        root = (nearest / (nearest + eps)).sqrt()
        # (1 - sqrt r) / (1 + sqrt r) = (1 - r) / (1 + sqrt r)^2, and 1 - r = eps / (D + eps)
        bound = Ball(eps) / (nearest + eps) / ((root + 1.0) * (root + 1.0))
        return [(nonnegative(moved), nonnegative(bound))]

    return at_weighed(instance, pairs_of)


def witness() -> Instance:
    """Three candidates, two better."""
    return quadratic_users(1.0, [[0.0, 0.0]], [[1.0, 1.0], [0.5, 0.0], [0.0, 0.25], [3.0, 0.0]], "quadratic")


def one_way() -> Instance:
    """A linear loss, all candidates on one side: the step is as long as the mean of the distances."""
    curve = Curve(np.array([-4.0, 4.0]), np.zeros(2), 0.0, -1.0)
    points = np.array([[0.0], [1.0], [0.25], [3.0]])
    return Instance(Problem.from_curves(Piecewise([curve])), 1.0, points, "linear loss, one direction")


FAR = 2.0**20  # distance of the far candidate of the witness of eps, the near one's is 1
SHARE = 1 / (1 + np.sqrt(0.5))  # of the near one's weight, where eps = 1 moves most
SLOPE = SHARE / (1 - SHARE)
TURN = 0.625  # where l turns, left of the base


def near_and_far(eps: float = 1.0) -> Instance:
    """l falls with SLOPE from the base to a near candidate at 1, and with 1 to a far one at -FAR: eps = 1 halves the
    near one's share and leaves the far one's.
    """
    bend = TURN * np.array([-1.2, -1.0, -0.8])
    fall = -(1.0 + SLOPE) / (0.2 * TURN)
    curve = Curve(bend, np.array([0.0, fall, 0.0]), 0.0, -SLOPE)
    points = np.array([[0.0], [1.0], [-FAR]])
    name = "a near and a far candidate"
    return Instance(Problem.from_curves(Piecewise([curve])), 1.0, points, name, FedFomo(1.0, eps=eps))


def moved_by_eps() -> float:
    """TV(w_eps, w) over its bound at `near_and_far`."""
    near, far = SLOPE, 1 - TURN * (1 + SLOPE) / FAR
    before, after = near / (near + far), near / 2 / (near / 2 + far / (1 + 1 / FAR))
    return float((before - after) * (1 + np.sqrt(0.5)) / (1 - np.sqrt(0.5)))


def random_step(rng: np.random.Generator) -> Instance:
    """Candidates that help someone."""
    return random_candidates(rng)


def random_eps(rng: np.random.Generator) -> Instance:
    """Candidates that help someone, something added to the distances."""
    found = random_candidates(rng)
    return replace(found, algorithm=FedFomo(1.0, eps=float(10.0 ** rng.uniform(-3, 1))))


def _added(instance: Instance) -> str | None:
    fomo = fomo_of(instance)
    return None if fomo.eps > 0 and fomo.norm == "l2" else "eps must be positive, added to the l2 norm."


TITLE = "FedFomo: weights"

CLAIMS = (
    Claim(
        name="fedfomo-simplex",
        version="sharp",
        title=f"{TITLE} in the simplex",
        short="w in the simplex or 0",
        statement="wherever a candidate has a smaller loss than the base: sum |w_n| + 2 |sum w_n - 1| <= 1, that is "
        "w >= 0 and sum w_n = 1",
        source=PLACE,
        tight=True,
        hypotheses=WEIGHED,
        sides=simplex_sides,
        witness=witness,
        random_instance=random_step,
        cases=(Case("nobody-helps", lambda: _nobody(), "NOT_APPLICABLE"),),
    ),
    Claim(
        name="fedfomo-simplex",
        version="sharp",
        form="unchanged",
        title=f"{TITLE} under changes that do not matter",
        statement="w is unchanged by loss -> c loss + b, theta -> s Q theta and losers, and two copies of n together "
        "weigh 2 w_n / (1 + w_n)",
        source=PLACE,
        tight=True,
        hypotheses=(*WEIGHED, FORMULA),
        sides=unchanged_sides,
        witness=witness,
        random_instance=random_step,
    ),
    Claim(
        name="fedfomo-simplex",
        version="sharp",
        form="step",
        title="FedFomo: length of the step",
        short="||s|| at most the harmonic mean distance",
        statement="||s|| <= (sum gains) / (sum gains / D_n)",
        source=PLACE,
        tight=True,
        hypotheses=(*WEIGHED, FORMULA),
        sides=step_sides,
        witness=one_way,
        random_instance=random_step,
    ),
    Claim(
        name="fedfomo-simplex",
        version="sharp",
        form="eps",
        title=f"{TITLE} with eps in the denominator",
        short="eps moves them by (1 - sqrt r)/(1 + sqrt r)",
        statement="TV(w_eps, w) <= (1 - sqrt r) / (1 + sqrt r), r = D_min / (D_min + eps), D_min the nearest winner's "
        "distance",
        source=PLACE,
        tight=True,
        known_ratio=moved_by_eps(),
        hypotheses=(*WEIGHED, Hypothesis("eps > 0, l2 norm", _added)),
        sides=eps_sides,
        witness=near_and_far,
        random_instance=random_eps,
        cases=(Case("nothing-added", witness, "NOT_APPLICABLE"),),
    ),
)


def _nobody() -> Instance:
    """The base is the best of all."""
    return quadratic_users(1.0, [[0.0]], [[0.0], [0.5], [2.0]], "nobody helps")
