"""What sampling does to W1: the floor that identical users would show, and an honest interval for the laws behind two
samples.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import require
from ..federations._making import whole
from ..federations.federation import Federation
from ..federations.measure import Measure
from ..seeds import generator
from .between_users import in_parallel
from .costs import euclidean
from .wasserstein import wasserstein

MOST_ROWS = 12_000  # the matrix of all distances between subsamples: 600 MB of 8-bit images
SQUARES = (1e-150, 1e150)  # distances whose squares, and sums of these, are ordinary floats


class NoiseFloor(NamedTuple):
    """W1 between equal subsamples of users, and the same after dealing the pooled rows to users at random.

    Attributes
    ----------
    m : int
        Rows per user in all of it.
    observed : ndarray, shape (n, n)
        W1 between the users' subsamples.
    floor : float
        Mean over the deals of the mean W1 between two users: what users of one law would show at this m.
    excess : ndarray, shape (n, n)
        observed - floor (0 on the diagonal). Descriptive: a confidence bound in neither direction.
    statistic, deals : float, ndarray, shape (permutations,)
        P = (1/(2 n^2)) sum_ij W1^2, as observed and for each deal.
    p_value : float
        (1 + #{deals >= statistic}) / (1 + permutations): valid at any size where all rows are exchangeable if users do
        not differ.
    within_labels : bool
        Whether rows were dealt inside their label only: then the question is whether users differ beyond their label
        laws.
    """

    m: int
    observed: NDArray
    floor: float
    excess: NDArray
    statistic: float
    deals: NDArray
    p_value: float
    within_labels: bool


def noise_floor(
    fed: Federation, *, m: int = 100, permutations: int = 99, within_labels: bool = False, seed: int = 0
) -> NoiseFloor:
    """The floor under W1 between samples, from `m` rows of every user [theory 8.6].

    The W1 of larger samples stands beside it, and the two are never subtracted: the floor depends on m.

    Parameters
    ----------
    fed : Federation
        Users with uniform weights and at least `m` rows.
    m : int
        Rows per user, drawn without replacement.
    permutations : int
        Deals.
    within_labels : bool
        Deal rows inside their label only. For splits made by labels the other question is answered before it is asked.
    seed : int

    Raises
    ------
    InputError
        A user has fewer than `m` rows or unequal weights; too many rows in all; points so large or so small that the
        squares of their distances leave the floats.

    Examples
    --------
    >>> from pfl_theory.federations import location
    >>> same = noise_floor(location(n_users=4, dim=2, size=30, heterogeneity=0.0), m=20, permutations=19)
    >>> apart = noise_floor(location(n_users=4, dim=2, size=30, heterogeneity=3.0), m=20, permutations=19)
    >>> same.p_value > 0.05, apart.p_value
    (True, 0.05)
    """
    n = fed.n_users
    m, permutations = whole("noise_floor: m", m, 2), whole("noise_floor: permutations", permutations, 1)
    small = np.flatnonzero(fed.sizes < m)
    require(
        not len(small),
        f"noise_floor: user {small[0] if len(small) else ''} has fewer than m = {m} rows; lower m, or select larger "
        "users",
    )
    require(n >= 2, "noise_floor: one user; give at least two")
    require(
        n * m <= MOST_ROWS,
        f"noise_floor: {n} users x {m} rows; at most {MOST_ROWS} rows in all, so lower m or select users",
    )
    even = all(np.ptp(fed.weights[fed.rows(i)]) <= 1e-12 for i in range(n))
    require(even, "noise_floor: rows of a user have unequal weights; it needs plain samples")
    require(not within_labels or fed.y is not None, "noise_floor: within_labels needs labels")
    rows = np.concatenate(
        [
            fed.offsets[i] + generator(seed, "noise floor", "rows", i).choice(fed.sizes[i], m, replace=False)
            for i in range(n)
        ]
    )
    x = fed.x[rows]
    x = x if x.dtype == np.uint8 else x.astype(np.float64)
    costs = euclidean(x, x, scale=fed.scale)  # in a unit in which no square vanishes or overflows
    squared = costs.block(0, len(x))
    labels = fed.y[rows] if within_labels and fed.y is not None else np.zeros(n * m)
    pairs = list(itertools.combinations(range(n), 2))

    def distances(deal: NDArray) -> NDArray:
        return costs.scale * np.array([_equal_samples(squared, deal[i], deal[j]) for i, j in pairs])

    def one(k: int) -> NDArray:
        if k < 0:
            return distances(np.arange(n * m).reshape(n, m))
        draw = generator(seed, "noise floor", "deal", k)
        deal = np.arange(n * m)
        for label in np.unique(labels):
            places = np.flatnonzero(labels == label)
            deal[places] = draw.permutation(places)
        return distances(deal.reshape(n, m))

    observed, *dealt = in_parallel(one, range(-1, permutations))
    largest = np.array([float(values.max()) for values in (observed, *dealt)])
    require(
        bool(((largest == 0) | ((largest > SQUARES[0]) & (largest < SQUARES[1]))).all()),
        f"noise_floor: distances from {largest.min():.3g} to {largest.max():.3g}; P is a mean of their squares, which "
        "floats do not reach: divide the points by a common number",
    )
    deals = np.array([_p(values, n) for values in dealt])
    matrix = np.zeros((n, n))
    matrix[tuple(np.array(pairs).T)] = observed
    matrix += matrix.T
    floor = float(np.mean(dealt))
    statistic = _p(observed, n)
    p_value = (1 + int((deals >= statistic).sum())) / (1 + permutations)
    return NoiseFloor(
        m, matrix, floor, np.where(np.eye(n) > 0, 0.0, matrix - floor), statistic, deals, p_value, within_labels
    )


def _p(values: NDArray, n: int) -> float:
    return float((values**2).sum() / n**2)


def _equal_samples(squared: NDArray, a: NDArray, b: NDArray) -> float:
    """W1 between two samples of equal size: an assignment (Birkhoff), in units of the points."""
    from scipy.optimize import linear_sum_assignment

    c = np.sqrt(squared[np.ix_(a, b)].astype(np.float64))
    return float(c[linear_sum_assignment(c)].mean())


class PopulationInterval(NamedTuple):
    """An interval for W1 between the laws behind two samples, with joint confidence `level`."""

    lower: float
    upper: float
    empirical: float
    level: float


def population_interval(
    p: Measure, q: Measure, *, diameter: float, kappa: float | None = None, level: float = 0.95, seed: int = 0
) -> PopulationInterval:
    """Lower end from a potential fitted on one half and evaluated on the other, upper end from the plug-in plus
    McDiarmid [theory 8.6].

    The expectation of the plug-in is at least W1 of the laws (convexity), and one draw moves it by at most its weight
    times the diameter; a 1-Lipschitz function varies by at most the diameter, so its held-out mean obeys Hoeffding. In
    high dimension the interval is wide, and that is the truth about W1 of samples. (Resampling would not be honest: it
    repeats points, and the bootstrap is inconsistent at p = q.)

    Parameters
    ----------
    p, q : Measure
        Independent draws: independent inside each and of each other.
    diameter : float
        Of the space that both laws live on: known beforehand, not estimated. 8-bit images of d pixels scaled to [0, 1]:
        sqrt(d).
    kappa : float, optional
        Price of a label (counted in the diameter).
    level : float
        Joint confidence of both ends.
    seed : int
        Of the halves.

    Raises
    ------
    InputError
        Two of the points are farther apart than `diameter`; fewer than two points with weight in a sample.

    Examples
    --------
    >>> from pfl_theory.seeds import generator
    >>> p, q = (Measure(generator(0, k).uniform(size=2000) + k) for k in range(2))
    >>> found = population_interval(p, q, diameter=2.0)
    >>> bool(found.lower < 1.0 < found.upper)
    True
    """
    require(0 < level < 1, f"level = {level}; must lie between 0 and 1")
    require(bool(np.isfinite(diameter) and diameter > 0), f"diameter = {diameter}; must be a finite number > 0")
    alpha = (1 - level) / 2
    p, q = (_with_weight(z) for z in (p, q))
    empirical = wasserstein(p, q, kappa=kappa)
    apart = _far_apart(p, q, kappa)
    require(
        apart <= diameter * (1 + 1e-9),
        f"diameter = {diameter:g}, and two of the points are {apart:.6g} apart: give the diameter of the space that "
        "both laws live on, or leave out rows that stand for no observation (codes of missing values)",
    )
    upper = empirical.upper + _width(diameter, alpha, p.weights, q.weights)
    (fit_p, held_p), (fit_q, held_q) = (_halves(z, generator(seed, "halves", k)) for k, z in enumerate((p, q)))
    phi = wasserstein(fit_p, fit_q, kappa=kappa).potential
    means = [z.weights @ phi(z.points, z.labels if kappa is not None else None) for z in (held_p, held_q)]
    lower = float(means[0] - means[1]) - _width(diameter, alpha, held_p.weights, held_q.weights)
    return PopulationInterval(max(lower, 0.0), min(upper, diameter), empirical.upper, level)


def _width(diameter: float, alpha: float, *weights: NDArray) -> float:
    return diameter * math.sqrt(sum(float((w**2).sum()) for w in weights) * math.log(1 / alpha) / 2)


def _with_weight(z: Measure) -> Measure:
    """Without the points that have no weight: no draws."""
    used = np.flatnonzero(z.weights)
    if len(used) == len(z):
        return z
    return Measure(z.points[used], None if z.labels is None else z.labels[used], z.weights[used])


def _far_apart(p: Measure, q: Measure, kappa: float | None) -> float:
    """A distance between two of the points, in one dimension and in most other cases the largest one: the farthest
    point from the first, and the farthest from that.
    """
    labels = None if kappa is None else np.concatenate([p.labels, q.labels])  # type: ignore[arg-type]
    points = np.concatenate([z.points.astype(np.float64) for z in (p, q)])
    k, away = 0, 0.0
    for _ in range(2):
        one = slice(k, k + 1)
        costs = euclidean(
            points[one], points, labels=None if labels is None else (labels[one], labels), kappa=kappa or 0.0
        )
        distances = costs.arcs(np.zeros(len(points), int), np.arange(len(points)))
        k, away = int(distances.argmax()), float(distances.max())
    return away


def _halves(z: Measure, draw: np.random.Generator) -> tuple[Measure, Measure]:
    require(len(z) >= 2, "population_interval: a sample has one point; give at least two")
    order = draw.permutation(len(z))
    parts = order[: len(z) // 2], order[len(z) // 2 :]
    return tuple(  # type: ignore[return-value]
        Measure(z.points[k], None if z.labels is None else z.labels[k], z.weights[k] / z.weights[k].sum())
        for k in parts
    )
