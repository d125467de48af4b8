"""How statements about FedFomo are judged: points are the base and the candidates, every user weighs them on its own
function, and weights, step and losses are balls.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..algorithms.fedfomo import FedFomo
from ..constants import Constant
from ..federations.federation import Federation
from ..losses.piecewise import Piecewise, random_piecewise
from ..losses.quadratic import Quadratic
from ..memory import remembered
from ..problems.problem import Problem
from ..rigour.balls import Ball
from ..rigour.interval import Interval
from .claim import Hypothesis, Sides
from .instance import Instance
from .on_curves import made_convex
from .on_models import VALUES_IN_BALLS, Known, known_users, norm, side, stacked

MOST = 12  # candidates that are judged: faces of their hull are looked at one by one
CELLS = 2**12  # into which a segment between candidates is cut


class Weighed(NamedTuple):
    """A user, the candidates that are better for it than the base, and what they weigh.

    Attributes
    ----------
    user : Known
    base, losses : Ball
        theta (d,), and the loss there and at every candidate, shapes () and (k,).
    base_loss : Ball
    candidates : Ball
        All of them, shape (k, d).
    winners : ndarray of int
        Which have a smaller loss than the base, or may have one within rounding.
    away, far, gain, weight : Ball
        Of the winners: theta_n - theta (m, d), its norm, loss decrease and weight, shapes (m,).
    """

    user: Known
    base: Ball
    base_loss: Ball
    candidates: Ball
    losses: Ball
    winners: NDArray
    away: Ball
    far: Ball
    gain: Ball
    weight: Ball

    @property
    def move(self) -> Ball:
        """s = sum w_n (theta_n - theta)."""
        return self.weight @ self.away

    def loss_at(self, t: Ball | float = 1.0) -> Ball:
        """Loss at theta + t s."""
        return self.user.value(self.base + self.move * t)

    @property
    def mean_loss(self) -> Ball:
        """sum w_n l_n."""
        return (self.weight * self.losses[self.winners]).sum()

    @property
    def spread(self) -> Ball:
        """V = (1/2) sum w_n w_k ||theta_n - theta_k||^2."""
        total = Ball(0.0)
        for a, b in itertools.combinations(range(len(self.winners)), 2):
            apart = self.away[a] - self.away[b]
            total = total + self.weight[a] * self.weight[b] * (apart * apart).sum()
        return total

    @property
    def size(self) -> float:
        """Of the losses that sides are differences of."""
        return float(max(np.abs(self.losses.mid).max(), abs(float(self.base_loss.mid))))


def fomo_of(instance: Instance) -> FedFomo:
    """The instance's FedFomo; the formula as it stands where it names none."""
    return instance.algorithm if isinstance(instance.algorithm, FedFomo) else FedFomo(1.0)


def all_weighed(instance: Instance) -> list[Weighed]:
    """Users whom some candidate helps, or may help within rounding; kept on the instance."""
    return remembered(instance, "weighed candidates", lambda: _all_weighed(instance))


def _all_weighed(instance: Instance) -> list[Weighed]:
    found = [weighed(user, instance.judged_at, fomo_of(instance)) for user in known_users(instance.problem)]
    return [one for one in found if one is not None]


def weighed(user: Known, points: NDArray, fomo: FedFomo) -> Weighed | None:
    """What a user makes of the candidates points[1:]; None where none is better than points[0]."""
    base, candidates = Ball(points[0]), Ball(points[1:])
    losses = stacked([user.value(Ball(w)) for w in points])
    decrease = losses[0] - losses[1:]
    other = (points[1:] != points[0]).any(1)
    winners = np.flatnonzero(other & (decrease.upper > 0))
    if not len(winners):
        return None
    away = candidates[winners] - base
    far = stacked([norm(away[n]) for n in range(len(winners))])
    gain = decrease[winners].nonnegative()
    u = gain / (measured(away, far, fomo.norm) + fomo.eps)
    total = u.sum()
    sure = float(total.lower) > 0
    weight = u / total if sure else Ball.between(np.zeros(len(u)), np.ones(len(u)))
    return Weighed(user, base, losses[0], candidates, losses[1:], winners, away, far, gain, weight)


def measured(away: Ball, far: Ball, kind: str) -> Ball:
    """The distance by the name of its norm."""
    if kind == "l2":
        return far
    if kind == "l1":
        return Ball(np.abs(away.mid), away.rad).sum(1)
    return far * far


def at_weighed(
    instance: Instance, pairs_of: Callable[[Weighed], list[tuple[Interval, Interval]]], *, note: str = ""
) -> Sides:
    """Both sides at every user whom a candidate helps."""
    found = all_weighed(instance)
    pairs = [pair for one in found for pair in pairs_of(one)]
    return replace(Sides.over(pairs, "points", size=min(one.size for one in found)), note=note)


def nonnegative(ball: Ball) -> Interval:
    """A side that is known to be >= 0."""
    return side(ball, nonnegative=True)


def curved(curvature: Ball, square: Ball) -> Ball:
    """Half a curvature times a squared length; exactly 0 for a curvature 0."""
    return Ball(0.0) if float(curvature.upper) == 0 else curvature * square * 0.5


# --- the best combination there is ---


def squared_radius(points: NDArray) -> Ball:
    """R^2 of the smallest ball round points: between V(v), of any weights v, and the farthest point from any centre.

    Examples
    --------
    >>> import numpy as np
    >>> float(squared_radius(np.array([[0.0], [2.0], [1.0]])))
    1.0
    """
    scale = float(np.abs(points - points[0]).max())
    if scale == 0:
        return Ball(0.0)
    best: tuple[float, NDArray, NDArray] | None = None
    unit = (points - points[0]) / scale
    for size in range(1, min(len(points), points.shape[1] + 1) + 1):
        for some in map(list, itertools.combinations(range(len(points)), size)):
            v = _even(unit[some])
            centre = v @ unit[some]
            most = float(((unit - centre) ** 2).sum(1).max())
            if best is None or most < best[0]:
                whole = np.zeros(len(points))
                whole[some] = np.clip(v, 0, None)
                best = most, centre, whole
    assert best is not None
    _, centre, v = best
    balls = Ball(points)
    away = balls - (Ball(points[0]) + Ball(centre) * scale)
    upper = float((away * away).sum(1).upper.max())
    weight = Ball(v) / Ball(v).sum()
    off = balls - weight @ balls
    lower = max(0.0, float((weight * (off * off).sum(1)).sum().lower))
    return Ball.between(min(lower, upper), upper)


def _even(points: NDArray) -> NDArray:
    """Weights, summing to 1, of the point equally far from all of these."""
    edges = points[1:] - points[0]
    if not len(edges):
        return np.ones(1)
    rest = np.linalg.lstsq(2 * edges @ edges.T, (edges**2).sum(1), rcond=None)[0]
    return np.concatenate([[1 - rest.sum()], rest])


def least_on_hull(one: Weighed, points: NDArray) -> Ball:
    """The least loss over the convex hull of the candidates, between certified ends.

    On a line a segment is cut into cells: on one of width h a function with f'' <= L lies at most L h^2 / 8 below the
    smaller of its ends. A convex quadratic lies above its tangent, whose least value is at a candidate.
    """
    return _on_segment(one, points[:, 0]) if points.shape[1] == 1 else _on_simplex(one, points)


def _on_segment(one: Weighed, points: NDArray) -> Ball:
    low, high = float(points.min()), float(points.max())
    grid = low + (high - low) * (np.arange(CELLS + 1) / CELLS)
    grid[-1] = high
    at = one.user.values(Ball(grid))
    width = float(np.diff(grid).max()) * (1 + 2.0**-50)
    below = float((Ball(width) * width * one.user.smooth * 0.125).upper)
    return Ball.between(float(at.lower.min()) - below * (1 + 2.0**-50), float(at.upper.min()))


def _on_simplex(one: Weighed, points: NDArray) -> Ball:
    """By faces of the simplex in floats; the certificate is the tangent at what they find."""
    k = len(points)
    best, at = np.inf, points[0]
    gradients = np.stack([one.user.gradient(Ball(w)).mid for w in points])
    for size in range(1, k + 1):
        for some in map(list, itertools.combinations(range(k), size)):
            edges = points[some[1:]] - points[some[0]]
            bend = edges @ (gradients[some[1:]] - gradients[some[0]]).T  # the gradient is affine
            v = np.linalg.lstsq(bend, -edges @ gradients[some[0]], rcond=None)[0] if size > 1 else np.zeros(0)
            whole = np.concatenate([[1 - v.sum()], v])
            if whole.min() < -1e-9:
                continue
            whole = np.clip(whole, 0, None) / np.clip(whole, 0, None).sum()
            w = whole @ points[some]
            found = float(one.user.value(Ball(w)))
            if found < best:
                best, at = found, w
    here = Ball(at)
    slope = one.user.gradient(here)
    down = stacked([(slope * (w - here)).sum() for w in (Ball(p) for p in points)])
    value = one.user.value(here)
    return Ball.between(float((value + Ball(float(down.lower.min()))).lower), float(value.upper))


# --- hypotheses ---


def _candidates(instance: Instance) -> str | None:
    if instance.points is None or len(instance.points) < 2:
        return "points must be the base and one or more candidates."
    count = len(instance.points) - 1
    return None if count <= MOST else f"at most {MOST} candidates are judged: these are {count}."


def _helped(at_least: int) -> Callable[[Instance], str | None]:
    def check(instance: Instance) -> str | None:
        most = max((len(one.winners) for one in all_weighed(instance)), default=0)
        if most >= at_least:
            return None
        words = {1: "a candidate", 2: "two candidates"}[at_least]
        return f"for some user {words} must have a smaller loss than the base: at most {most} has."

    return check


def _formula(instance: Instance) -> str | None:
    fomo = fomo_of(instance)
    if fomo.norm == "l2" and fomo.eps == 0:
        return None
    return f"weights must be the formula's: norm = {fomo.norm!r}, eps = {fomo.eps:g}."


def _convex(instance: Instance) -> str | None:
    lowest = max(float(user.below.upper) for user in known_users(instance.problem))
    return None if lowest <= 0 else f"every f_i must be convex: f'' may go down to {-lowest:.6g}."


CANDIDATES = Hypothesis("points are the base and its candidates", _candidates)
HELPED = Hypothesis("a candidate is better than the base", _helped(1))
TWO_HELP = Hypothesis("two candidates are better than the base", _helped(2))
FORMULA = Hypothesis("weights by the l2 norm, nothing added to it", _formula)
CONVEX_VALUES = Hypothesis("every f_i convex", _convex)
WEIGHED = (VALUES_IN_BALLS, CANDIDATES, HELPED)


# --- instances ---


def functions(value, gradient, points, name, *, L, lower, rounding=1e-14) -> Instance:  # type: ignore[no-untyped-def]
    """One user from functions, the base and its candidates."""
    dim = len(points[0])
    known = {
        "L": Constant.upper([L], "by hand"),
        "lower_curvature": Constant.upper([lower], "by hand"),
        "rounding": Constant.upper([rounding], "a few roundings of numbers of size 1"),
    }
    problem = Problem.from_functions(value, gradient, n_users=1, dim=dim, constants=known)
    return Instance(problem, 1.0, np.array(points), name)


def quadratic_users(a, rows, points, name, **more) -> Instance:  # type: ignore[no-untyped-def]
    """Quadratic users, the base and its candidates."""
    fed = Federation.from_arrays([np.atleast_2d(r) for r in rows])
    return Instance(Problem(Quadratic(a), fed), more.pop("alpha", 1.0), np.array(points), name, **more)


def random_candidates(rng: np.random.Generator, *, convex: bool = False) -> Instance:
    """Piecewise or quadratic users in one to three dimensions, two to five candidates of which two help someone."""
    while True:
        found = _drawn(rng, convex)
        if all(h.check(found) is None for h in (*WEIGHED, TWO_HELP)):
            return found


def _drawn(rng: np.random.Generator, convex: bool) -> Instance:
    count, t = int(rng.integers(2, 6)), float(rng.uniform(0, 1))
    if rng.random() < 0.5:
        family = random_piecewise(rng, n_users=int(rng.integers(1, 4)))
        family = made_convex(family) if convex else family
        nodes = np.concatenate([c.x for c in family.curves])
        points = rng.uniform(nodes.min() - 1, nodes.max() + 1, (count + 1, 1))
        return Instance(Problem.from_curves(Piecewise(family.curves)), t, points, "random piecewise users, candidates")
    n, d = int(rng.integers(1, 3)), int(rng.integers(1, 4))
    parts = rng.normal(size=(n, d, d))
    a = parts @ parts.transpose(0, 2, 1) + 0.1 * np.eye(d) if convex else (parts + parts.transpose(0, 2, 1)) / 2
    fed = Federation.from_arrays([rng.normal(size=(int(rng.integers(1, 4)), d)) for _ in range(n)])
    points = rng.normal(size=(count + 1, d)) * 2
    return Instance(Problem(Quadratic((a + a.transpose(0, 2, 1)) / 2), fed), t, points, "random quadratics, candidates")


random_convex_candidates = functools.partial(random_candidates, convex=True)
