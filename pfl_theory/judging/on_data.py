"""What the statements about distances between users' data share: users on common points, gradients and Hessians point
by point, the best kappa.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..distances.between_users import UserDistances, all_pairs, shared, to_average
from ..distances.costs import euclidean
from ..errors import require
from ..federations.federation import Federation
from ..memory import remembered
from ..problems.best_kappa import BestKappa, best_kappa
from ..problems.problem import Problem
from ..rigour.interval import Interval
from ..rigour.rounding import UNIT
from .claim import Hypothesis, Sides, transcribed
from .hypotheses import bound, in_float64
from .instance import Instance

SOURCE = transcribed("section 4.1")
MOST_NUMBERS = 2**26  # gradients of all distinct points at once
MOST_PAIRS = 20_000  # of Hessians, whose differences need an eigenvalue each
SIGN = 1e-14  # mass differences below this are rounding; what they could hide is added to the right side
ZERO = Interval(0.0, 0.0, 0.0)  # what one user is away from the average, whatever was computed


# --- users on common points ---


@dataclass(frozen=True, eq=False)
class OnPoints:
    """The users as masses on the distinct points that the loss can tell apart, and the loss point by point."""

    mass: NDArray  # (n, k)
    atoms: Problem  # one user a point
    imbalance: float  # largest |sum of a user's weights - 1|
    most_rows: int

    @property
    def tv_to_average(self) -> NDArray:
        """TV(p_i, p), shape (n,)."""
        return 0.5 * np.abs(self.mass - self.mass.mean(0)).sum(1)

    @property
    def tv_pairs(self) -> NDArray:
        """TV(p_i, p_j), shape (n, n)."""
        return 0.5 * np.stack([np.abs(row - self.mass).sum(1) for row in self.mass])

    @property
    def tv_error(self) -> float:
        """Bound of the error of every TV: weights add up over a user's rows and over users, and are divided by their
        sums in the statement.
        """
        return self.imbalance + (self.most_rows + len(self.mass) + 4) * UNIT

    def mean_square(self) -> Interval:
        """M = (1/n) sum TV(p_i, p)^2."""
        return squared_spread(float((self.tv_to_average**2).mean()), self.tv_error, self.mass.size)

    def hidden(self, largest: float, dim: int) -> float:
        """What rounding can hide of TV times diameter, for vectors of norm up to `largest`
        (docs/theory/gradients-close.md#8-3).
        """
        return largest * (self.mass.size * SIGN + 3 * self.tv_error + 16 * (dim + 8) * UNIT)

    def gradients(self, w: NDArray) -> NDArray:
        """g_w(z) of every point, shape (k, d)."""
        k, d = self.mass.shape[1], self.atoms.dim
        require(
            k * d <= MOST_NUMBERS,
            f"{k} points x {d} coordinates: too many gradients to compare; take fewer rows per user",
        )
        return self.atoms.gradient(w)

    def sides(self, i: int) -> tuple[NDArray, NDArray]:
        """Points with more mass in user i than in the average, and with less."""
        difference = self.mass[i] - self.mass.mean(0)
        return np.flatnonzero(difference > SIGN), np.flatnonzero(difference < -SIGN)


def on_points(problem: Problem) -> OnPoints:
    """Equal points merged over all users; kept on the problem, for several statements ask."""
    return remembered(problem, "on points", lambda: _on_points(problem))


def _on_points(problem: Problem) -> OnPoints:
    fed = problem.federation
    base = shared(fed, use_labels=problem.loss.reads_labels)
    k = len(base.points)
    mass = np.stack([np.bincount(base.ids[fed.rows(i)], fed.weights[fed.rows(i)], k) for i in range(fed.n_users)])
    first = np.full(k, -1)
    first[base.ids[::-1]] = np.arange(len(fed.x))[::-1]
    atoms = Federation(
        fed.x[first],
        None if fed.y is None else fed.y[first],
        np.ones(k),
        np.arange(k + 1),
        fed.scale,
        name=f"points of {fed.name}",
    )
    return OnPoints(mass, Problem(problem.loss, atoms), imbalance(fed), int(fed.sizes.max()))


def w1_to_average(fed: Federation, kappa: float | None) -> UserDistances:
    """W1 of each user to the average, kept on the federation: two versions of a claim ask for the same."""
    return remembered(fed, ("W1 to the average", kappa), lambda: to_average(fed, kappa=kappa))


def w1_pairs(fed: Federation, kappa: float | None) -> UserDistances:
    """W1 of all pairs, kept on the federation."""
    return remembered(fed, ("W1 of pairs", kappa), lambda: all_pairs(fed, kappa=kappa))


# --- left sides and rounding ---


def gradient_error(instance: Instance, largest: float, w: NDArray) -> float:
    """Bound of the rounding error of a computed gradient of a user or a point (docs/theory/rounding.md#4-2)."""
    fed = instance.problem.federation
    count = int(fed.sizes.max()) + instance.problem.dim + fed.n_users + 64
    numbers = 2 * count * UNIT * (largest + bound(instance, "L_datum") * (float(np.linalg.norm(w)) + _extent(fed)))
    return numbers + 1.01 * imbalance(fed) * largest


def imbalance(fed: Federation) -> float:
    """Weights may sum to 1 + 1e-9; the statements are about weights divided by their sums."""
    return float(np.abs(np.add.reduceat(fed.weights, fed.offsets[:-1]) - 1.0).max())


def _extent(fed: Federation) -> float:
    """Largest norm of a row: location families round w - z, whose size it bounds."""
    return fed.scale * float(
        np.sqrt(
            max(
                np.einsum("ij,ij->i", x, x, dtype=np.float64).max()
                for x in np.array_split(fed.x, max(1, len(fed.x) // 4096))
            )
        )
    )


def gradient_spread(instance: Instance, w: NDArray, largest: float) -> Interval:
    """gamma_G^2(w) = (1/n) sum ||grad f_i - grad f||^2."""
    if instance.problem.n_users == 1:
        return ZERO
    g = instance.problem.gradient(w)
    require(bool(np.isfinite(g).all()), f"instance {instance.name!r}: a gradient is NaN or infinite at its points")
    return squared_spread(float(((g - g.mean(0)) ** 2).sum(1).mean()), gradient_error(instance, largest, w), g.size)


def squared_spread(value: float, error: float, terms: int) -> Interval:
    """A mean of squared norms of differences of vectors known up to `error`."""
    root = float(np.sqrt(value))
    return of_rounding(value, 4 * error * root + 4 * error**2 + (terms + 8) * UNIT * value)


def of_rounding(value: float, error: float) -> Interval:
    """A number >= 0 with a derived bound of its rounding error."""
    lower, upper = max(value - error, 0.0), value + error
    return Interval(lower, upper, upper - lower)


def hessian_spread(instance: Instance, w: NDArray) -> Interval:
    """gamma_H^2(w) = (1/n) sum ||Hess f_i - Hess f||^2, operator norm."""
    if instance.problem.n_users == 1:
        return ZERO
    h = instance.problem.hessian(w)
    require(bool(np.isfinite(h).all()), f"instance {instance.name!r}: a Hessian is NaN or infinite at its points")
    norms = np.abs(np.linalg.eigvalsh(h - h.mean(0))).max(1)
    return squared_spread(float((norms**2).mean()), hessian_error(instance, w), h.size)


def hessian_error(instance: Instance, w: NDArray, third: float | None = None) -> float:
    """Bound of the rounding error of a computed Hessian in operator norm (docs/theory/rounding.md#4-3; d columns, and
    the eigenvalues).
    """
    fed = instance.problem.federation
    d = instance.problem.dim
    count = int(fed.sizes.max()) + d + fed.n_users + 64
    curvature, third = bound(instance, "L_datum"), bound(instance, "rho") if third is None else third
    return (
        8 * count * d * UNIT * (curvature + third * (float(np.linalg.norm(w)) + _extent(fed)))
        + 1.01 * imbalance(fed) * curvature
    )


def at_points(
    instance: Instance, sides_at: Callable[[NDArray], tuple[Interval, Interval]], *, size: float = 0.0
) -> Sides:
    """Both sides at every point of the instance."""
    return Sides.over([sides_at(w) for w in instance.judged_at], "points", size=size)


def scaled(square: float, distances: Interval, operations: int) -> Interval:
    """square * distances, for a constant known up to `operations` roundings."""
    slack = (operations + 4) * UNIT * square * distances.upper
    lower, upper = max(square * distances.lower - slack, 0.0), square * distances.upper + slack
    return Interval(lower, upper, upper - lower if distances.is_rounding else 0.0)


def interval(ends: tuple[float, float], *, rounding: bool) -> Interval:
    """Certified ends as a side; whether rounding alone lies between them."""
    return Interval(*ends, ends[1] - ends[0] if rounding else 0.0)


def exact_interval(value: float, terms: int) -> Interval:
    """A sum of `terms` nonnegative numbers."""
    return Interval.rounded(value, operations=terms + 8)


def diameter(vectors: NDArray, some: NDArray, others: NDArray) -> float:
    """Largest distance between two sets of vectors (0 if one is empty)."""
    if not len(some) or not len(others):
        return 0.0
    c = euclidean(np.ascontiguousarray(vectors[some], np.float64), np.ascontiguousarray(vectors[others], np.float64))
    i, j = np.divmod(int(np.argmax(c.block(0, len(some)))), len(others))
    return float(c.arcs(np.array([i]), np.array([j]))[0])


# --- hypotheses ---


def _rows(instance: Instance) -> str | None:
    if instance.problem.kind != "rows":
        return "the users must be distributions of data: this problem comes from functions."
    if not instance.problem.loss.poolable():
        return f"all users must share one loss: {instance.problem.loss.name} has hyperparameters for each."
    return in_float64(instance)


def _classes(instance: Instance) -> str | None:
    if instance.problem.kind != "rows":
        return _rows(instance)
    if instance.problem.loss.reads_labels and not instance.problem.loss.classifies:
        return f"{instance.problem.loss.name} has real targets; distances here price labels by kappa [y != y']."
    return None


ON_DATA = Hypothesis("f_i is the mean of one loss over the user's data", _rows)
CLASSES = Hypothesis("no labels, or classes", _classes)


def on_the_ball(instance: Instance) -> BestKappa:
    """The best metric and its L_Z on the instance's ball (or everywhere)."""
    radius, center = instance.ball or (None, None)
    return remembered(instance, "best kappa", lambda: best_kappa(instance.problem, radius=radius, center=center))
