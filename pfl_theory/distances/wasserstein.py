"""The 1-Wasserstein distance between two finite measures, with a certificate that does not trust the solver."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import one_of, require
from ..federations.measure import Measure, given_array
from ..rigour.rounding import UNIT
from . import column_generation, in_integers
from .costs import STORED, Costs, euclidean
from .masses import Masses, as_floats, exact_product
from .metrics import checked_matrix, distances_by, real_matrix
from .solvers import OpenGapError, SolverError, solve_certified
from .support import Pair, above, as_floats_read, below, pair, whole_pixels

GAP = 1e-9  # relative; what "exact" means where solvers work in floats
DENSE = 1_300_000  # up to so many pairs the dense problem is solved: faster there, and simpler
SHIFT = 47  # masses are below 2^46
PLAN_UNITS = 2**60  # of a plan between weights that are no counts
METRICS = ("euclidean", "labelled")


@dataclass(frozen=True, eq=False)
class Potential:
    """A 1-Lipschitz function on the whole space: phi(z) = min_j (d(z, anchor_j) + value_j).

    Integrating it against p - q bounds W1(p, q) from below, whatever p and q are: also for points it has never seen.

    Examples
    --------
    >>> from pfl_theory import Measure
    >>> phi = wasserstein(Measure([0.0, 1.0]), Measure([2.0, 3.0])).potential
    >>> [float(phi([[a]])[0] - phi([[b]])[0]) for a, b in ((0.0, 2.0), (1.0, 3.0))]
    [2.0, 2.0]
    """

    anchors: NDArray = field(repr=False)
    labels: NDArray | None = field(repr=False)
    scale: float
    kappa: float
    values: NDArray = field(repr=False)
    metric: Any = field(default=None, repr=False)  # a matrix or a function, where one was given

    def __call__(self, points: ArrayLike, labels: ArrayLike | None = None) -> NDArray:
        """Values at `points`, shape (m, p), with `labels` where the metric has them."""
        z = given_array(points, "potential: points")
        z = z[:, None] if z.ndim == 1 else z
        require(
            z.ndim == 2 and z.shape[1] == self.anchors.shape[1],
            f"potential: points of shape {z.shape}; give (m, {self.anchors.shape[1]})",
        )
        require(
            (labels is not None) == (self.labels is not None),
            "potential: its metric has labels; give labels="
            if labels is None
            else "potential: its metric has no labels",
        )
        out = np.empty(len(z))
        if self.metric is not None:
            return (distances_by(self.metric, z, self.anchors) + self.values).min(1)
        step = max(1, 2**22 // max(1, len(self.anchors)))
        for k in range(0, len(z), step):
            x, y = same_kind(z[k : k + step], self.anchors, self.scale)
            pairs = None if labels is None or self.labels is None else (np.asarray(labels)[k : k + step], self.labels)
            c = euclidean(x, y, scale=self.scale if x.dtype == np.uint8 else 1.0, labels=pairs, kappa=self.kappa)
            out[k : k + step] = (c.dense() + self.values).min(1)
        return out


def same_kind(points: NDArray, anchors: NDArray, scale: float) -> tuple[NDArray, NDArray]:
    """Points and anchors as 8-bit integers of the same scale, or both as real features."""
    if anchors.dtype == np.uint8:
        whole, found = whole_pixels(points)
        if whole.dtype == np.uint8 and (found == scale or not whole.any()):
            return whole, anchors
    return points.astype(np.float64), anchors.astype(np.float64) * scale


@dataclass(frozen=True, eq=False)
class W1:
    """W1(p, q) between certified ends.

    Attributes
    ----------
    lower, upper : float
        ``lower <= W1(p, q) <= upper``: the potential from below, the plan from above, rounding allowed for. For
        p = q `lower` is 0 and `upper` at most the rounding of the weights.
    tv : float
        Total variation distance on the same points: the share of mass that has to move.
    method : str
        ``equal``, ``line`` (one dimension, closed form), ``dense``, ``sparse`` (column generation), or ``integers``
        (few points, some of them so far that floats leave a gap: without rounding of masses and sums).
    rounds : int
        Pricing rounds of column generation.
    closed : bool
        Whether rounding alone, by its derived bound, lies between the ends: then the value is known as well as floats
        can.
    """

    lower: float
    upper: float
    tv: float
    method: str
    rounds: int = 0
    closed: bool = True
    _pair: Pair = field(repr=False, default=None)  # type: ignore[assignment]
    _flow: Callable[[], tuple[NDArray, NDArray, NDArray]] = field(repr=False, default=None)  # type: ignore[assignment]
    _potential: Callable[[], Potential] = field(repr=False, default=None)  # type: ignore[assignment]

    def __float__(self) -> float:
        return self.upper

    @property
    def gap(self) -> float:
        """upper - lower."""
        return self.upper - self.lower

    @functools.cached_property
    def potential(self) -> Potential:
        """1-Lipschitz, attains `lower` (with method ``integers`` but for the rounding of its own values)."""
        return self._potential()

    @property
    def plan(self) -> Any:
        """An optimal plan: sparse array, shape (len(p), len(q)), in probability; its marginals are the weights.

        Mass that both measures have at a point stays there.
        """
        from scipy.sparse import coo_array

        rows, columns, share = _spread(self._pair, *self._flow())
        return coo_array((share, (rows, columns)), shape=(len(self._pair.ids_p), len(self._pair.ids_q)))


def wasserstein(
    p: Measure,
    q: Measure,
    metric: str | ArrayLike | Callable[[NDArray, NDArray], NDArray] = "euclidean",
    kappa: float | None = None,
    *,
    gap: float = GAP,
) -> W1:
    """1-Wasserstein distance between two finite measures, certified from both sides.

    Parameters
    ----------
    p, q : Measure
        Any weights; equal points are merged, points without weight dropped, common mass stays where it is [theory 8.2].
    metric : {"euclidean", "labelled"}, array_like, shape (k, k), or callable
        ``euclidean``: ||x - x'||, labels do not count. ``labelled``: ||x - x'|| + kappa [y != y'], also taken when
        `kappa` is given. A matrix gives the distances between points 0 .. k - 1, and the measures' points are such
        numbers. A function ``f(x, y)`` returns the matrix of distances between rows. Matrices and functions are
        checked: finite, symmetric, zero diagonal, triangle inequality on 100,000 random triples.
    kappa : float, optional
        Price of a label, > 0, in the unit of the features.
    gap : float
        Largest relative gap ``(upper - lower) / upper`` of a result. Larger values stop a large problem earlier.

    Returns
    -------
    W1
        Unit of the features.

    Raises
    ------
    InputError
        Features that do not agree in number, labels on one side only, kappa <= 0, a cost that is not a metric.
    SolverError
        The certificate did not close.

    Notes
    -----
    The upper end is the cost of a plan whose marginals are checked in integers (docs/theory/distances.md#8-2), the
    lower end the value of a c-transformed potential over all pairs. Squared distances of 8-bit pixels are exact
    integers. In one dimension both come from the distribution functions.

    Examples
    --------
    >>> from pfl_theory import Measure
    >>> points = [0.0, 1.0, 3.0, 7.0]
    >>> p, q = Measure(points, weights=[0.4, 0.3, 0.2, 0.1]), Measure(points, weights=[0.1, 0.2, 0.3, 0.4])
    >>> found = wasserstein(p, q)
    >>> round(found.upper, 12), found.gap < 1e-14, round(found.tv, 12)
    (2.3, True, 0.4)
    """
    checked_gap(gap)
    if isinstance(metric, str):
        one_of("metric", metric, METRICS)
        labelled = metric == "labelled" or kappa is not None
        require(
            not labelled or kappa is not None,
            "metric = 'labelled' needs kappa=, the price of a label in the unit of the features",
        )
        return between(pair(p, q, use_labels=labelled), checked_kappa(kappa), gap=gap)
    require(kappa is None, "kappa belongs to the metric 'labelled'; a matrix or a function holds its own prices")
    given = pair(p, q, use_labels=False)
    if callable(metric):
        return general(given, metric, gap)
    matrix = checked_matrix(real_matrix(metric))
    distances_by(
        matrix, p.points, q.points
    )  # refuses numbers of points that the matrix does not have, also where mass is common
    return general(given, matrix, gap)


def checked_gap(gap: float) -> None:
    """A relative gap > 0."""
    good = isinstance(gap, (int, float, np.integer, np.floating)) and bool(np.isfinite(gap) and gap > 0)
    require(good, f"gap = {gap!r}; must be a number > 0")


def checked_kappa(kappa: float | None) -> float:
    """The price of a label, > 0, or 0 where none was given."""
    good = kappa is None or (
        isinstance(kappa, (int, float, np.integer, np.floating)) and bool(np.isfinite(kappa) and kappa > 0)
    )
    require(good, f"kappa = {kappa!r}; must be a finite number > 0")
    return float(kappa or 0.0)


def between(given: Pair, kappa: float = 0.0, *, gap: float = GAP) -> W1:
    """W1 of two measures already on common points (:func:`~pfl_theory.distances.support.pair`), Euclidean plus `kappa`
    per label.
    """
    return _by_either_reading(
        given,
        lambda pair: _between(pair, kappa, gap),
        lambda pair, failed: _between_in_integers(pair, kappa, gap, failed),
    )


def _by_either_reading(
    given: Pair, solve: Callable[[Pair], W1], in_whole_numbers: Callable[[Pair, OpenGapError], W1]
) -> W1:
    """Ends that hold both readings of the weights; where those lie too far apart, of the weights as real numbers; where
    floats lose these, in whole numbers.
    """
    try:
        return solve(given)
    except SolverError as error:
        if given.difference is None and given.error is None:
            raise
        failed = error
    if given.difference is None:
        p, q = (given.ids_p, given.masses_p), (given.ids_q, given.masses_q)
        given = as_floats_read(given.points, given.labels, given.scale, p, q)
        try:
            return solve(given)
        except OpenGapError as error:
            failed = error
    if not isinstance(failed, OpenGapError):
        raise failed
    return in_whole_numbers(given, failed)


def _or_nearly_equal(given: Pair, error: SolverError, routes: NDArray, kappa: float, metric: Any = None) -> W1:
    """Where less moves than the rounding of weights, and that cannot be told to the gap: all that differs goes by way
    of the middle.
    """
    if given.difference is None or given.share > (len(given.ids_p) + len(given.ids_q)) * UNIT:
        raise error
    differs = math.fsum(np.abs(as_floats(given.difference)) * routes) + given.allowance(routes)
    return _equal(given, differs * (1 + 1e-9), kappa, metric)


def _between(given: Pair, kappa: float, gap: float) -> W1:
    if not given.moved:
        return _equal(given, given.allowance(kappa=kappa), kappa)
    try:
        return _moved(given, kappa, gap)
    except SolverError as error:
        return _or_nearly_equal(given, error, given.routes(kappa), kappa)


def _moved(given: Pair, kappa: float, gap: float) -> W1:
    if given.points.shape[1] == 1 and not kappa:
        return _line(given, gap)
    x, y = given.points[given.sources], given.points[given.sinks]
    labels = None if given.labels is None else (given.labels[given.sources], given.labels[given.sinks])
    costs = euclidean(x, y, scale=given.scale, labels=labels, kappa=kappa)
    a, b = given.excess, given.deficit
    if len(a) * len(b) <= DENSE:
        return _dense(given, costs, gap)
    try:
        return _sparse(given, costs, gap)
    # a far outlier: the mean distance is much larger than what is moved, and POT's tolerance is relative to the mean
    except SolverError:
        if 8 * len(a) * len(b) > STORED:
            raise
        return _dense(given, costs, gap)


def _dense(given: Pair, costs: Costs, gap: float) -> W1:
    flow, u, v = solve_certified(given.excess, given.deficit, costs.dense(), gap / 4)
    return _certified(given, costs, (flow.rows, flow.columns, flow.mass), u, v, "dense", 0, gap)


def _sparse(given: Pair, costs: Costs, gap: float) -> W1:
    a, b = given.excess, given.deficit
    if len(a) <= len(b):
        s = column_generation.solve(costs, a, b, gap / 4)
        return _certified(given, costs, (s.rows, s.columns, s.mass), s.u, s.v, "sparse", s.rounds, gap)
    s = column_generation.solve(costs.transposed(), b, a, gap / 4)
    return _certified(given, costs, (s.columns, s.rows, s.mass), s.v, s.u, "sparse", s.rounds, gap)


def _between_in_integers(given: Pair, kappa: float, gap: float, failed: OpenGapError) -> W1:
    def priced(sources: NDArray, sinks: NDArray) -> tuple[NDArray, float, float]:
        labels = None if given.labels is None else (given.labels[sources], given.labels[sinks])
        costs = euclidean(given.points[sources], given.points[sinks], scale=given.scale, labels=labels, kappa=kappa)
        rows, columns = np.divmod(np.arange(len(sources) * len(sinks)), len(sinks))
        return costs.arcs(rows, columns).reshape(costs.shape), costs.relative, costs.floor

    return _in_integers(given, priced, lambda pair, v: _anchored(pair, kappa, v), gap, failed)


def _general_in_integers(given: Pair, metric: Any, gap: float, failed: OpenGapError) -> W1:
    points = given.points.astype(np.float64) * given.scale

    def priced(sources: NDArray, sinks: NDArray) -> tuple[NDArray, float, float]:
        return distances_by(metric, points[sources], points[sinks]), 0.0, 0.0

    def potential(pair: Pair, v: NDArray) -> Potential:
        return Potential(points[pair.sinks], None, 1.0, 0.0, -v, metric)

    return _in_integers(given, priced, potential, gap, failed)


def _in_integers(
    given: Pair,
    priced: Callable[[NDArray, NDArray], tuple[NDArray, float, float]],
    potential: Callable[[Pair, NDArray], Potential],
    gap: float,
    failed: OpenGapError,
) -> W1:
    """Where several far points hold masses that are no counts, sums of floats lose what moves near: the same without
    rounding, where the points are few.

    `priced` gives the distances of points, and what they are off by: a share of themselves, and a number.
    """
    m, n = len(given.sources), len(given.sinks)
    if m * n > in_integers.MOST:
        raise OpenGapError(
            f"{failed}: rounding of the weights at far points costs more, and {m} x {n} points are too many for whole "
            f"numbers (at most {in_integers.MOST} pairs); ask for a wider gap=, leave far points out (codes of missing "
            "values), or give weights that are counts over one denominator"
        ) from failed
    sources, sinks, a, b = in_integers.differences(given)
    costs, relative, floor = priced(sources, sinks)
    found = in_integers.solve(a, b, costs)
    off, left = Fraction(relative), sum(a) * Fraction(floor)
    upper, lower = above(found.cost * (1 + off) + left), below(found.dual * (1 - off) - left)
    moved = replace(given, sources=sources, sinks=sinks)
    middle = sorted(found.v)[len(b) // 2]  # smaller potentials round less

    def flow() -> tuple[NDArray, NDArray, NDArray]:
        return found.rows, found.columns, np.array([float(x) for x in found.mass])

    return _ends(
        moved,
        (float(found.cost), upper, float(found.dual), 0.0),
        lower,
        gap,
        "integers",
        0,
        flow,
        lambda: potential(moved, np.array([float(x - middle) for x in found.v])),
    )


def _certified(
    given: Pair,
    costs: Costs,
    flow: tuple[NDArray, NDArray, NDArray],
    u: NDArray,
    v: NDArray,
    method: str,
    rounds: int,
    gap: float,
) -> W1:
    """Both ends from integers masses, single distances and feasible potentials; every rounding is allowed for."""
    rows, columns, mass = flow
    a, b = given.excess, given.deficit
    exact = (
        (np.bincount(rows, mass, len(a)) == a).all()
        and (np.bincount(columns, mass, len(b)) == b).all()
        and (mass > 0).all()
    )
    if not exact:
        raise SolverError("the plan does not have the given marginals")
    arcs = costs.arcs(rows, columns)
    dual, size = potential_size(given, u, v)
    v = v - np.median(v)  # smaller potentials round less
    routes = given.routes(costs.kappa) if given.error is not None else np.zeros(0)
    unknown = given.allowance(routes)
    cost, left, shares = plan_value(given, rows, columns, mass, arcs, routes)
    upper = cost * (1 + costs.relative) + given.share * costs.floor + left + unknown
    lower = potential_value(given, costs.feasible(v), v) - unknown
    potential = functools.partial(_anchored, given, costs.kappa, v)
    return _ends(
        given, (cost, upper, dual, size), lower, gap, method, rounds, lambda: (rows, columns, shares), potential
    )


def plan_value(
    given: Pair, rows: NDArray, columns: NDArray, mass: NDArray, arcs: NDArray, routes: NDArray
) -> tuple[float, float, NDArray]:
    """The cost of a plan, rounded up, what it may cost to give it the masses that were rounded to integers, and the
    plan.

    What a far point lacks is added to its largest flow, at that flow's own price: its partner then lacks it, which is
    near; what is lacking in the end goes by way of the middle.
    """
    flow, left = mass / given.total, 0.0
    if given.residual is not None:
        from_, to = given.residual[given.sources].copy(), -given.residual[given.sinks]
        far, near = routes[given.sources], routes[given.sinks]
        best = _largest_flows(rows, mass)
        best = best[near[columns[best]] < far[rows[best]]]
        added = np.zeros(len(mass))
        added[best] = from_[rows[best]]
        to -= np.bincount(columns[best], added[best], len(to))
        from_[rows[best]] = 0.0
        best = _largest_flows(columns, mass)
        best = best[far[rows[best]] < near[columns[best]]]
        added[best] += to[columns[best]]
        from_ -= np.bincount(rows[best], to[columns[best]], len(from_))
        to[columns[best]] = 0.0
        if (flow + added < 0).any():
            from_, to, added = given.residual[given.sources], -given.residual[given.sinks], np.zeros(len(mass))
        lacking = np.concatenate([np.abs(from_), np.abs(to)])
        lacking += 16 * UNIT * np.concatenate([np.abs(given.residual[z]) for z in (given.sources, given.sinks)])
        left = math.fsum(lacking * np.concatenate([far, near])) * (1 + 1e-9)
        left += 8 * UNIT * math.fsum(np.abs(added) * arcs)
        flow = flow + added
    return math.fsum(flow * arcs) * (1 + 8 * UNIT), left, flow


def potential_value(given: Pair, u: NDArray, v: NDArray) -> float:
    """sum p_i u_i + sum q_j v_j over what is moved, from below: products and sum are exact, what follows rounds
    down.
    """
    value = np.concatenate([u, v])
    size = math.frexp(float(np.abs(value).max(initial=0.0)))[1]
    value = np.ldexp(value, -size)
    mass = np.ldexp(np.concatenate([given.excess, given.deficit]).astype(np.float64), -SHIFT)
    exact = math.fsum(np.concatenate(exact_product(mass, value))) - len(mass) * 2.0**-1000
    found = (exact - 4 * UNIT * abs(exact)) * (2**SHIFT / given.total)
    if given.residual is not None:
        rest = np.concatenate([given.residual[given.sources], -given.residual[given.sinks]]) * value
        found += math.fsum(rest) - 16 * UNIT * math.fsum(np.abs(rest)) - 4 * UNIT * abs(found)
    with contextlib.suppress(OverflowError):
        found = math.ldexp(found, size)
    return math.nextafter(found, -math.inf)


def potential_size(given: Pair, u: NDArray, v: NDArray) -> tuple[float, float]:
    """The value of potentials as floats give it, and of their absolute values, which its rounding is relative to."""
    a, b = given.excess / given.total, given.deficit / given.total
    if given.residual is not None:
        a, b = a + given.residual[given.sources], b - given.residual[given.sinks]
    return float(a @ u) + float(b @ v), float(a @ np.abs(u)) + float(b @ np.abs(v))


def _anchored(given: Pair, kappa: float, v: NDArray) -> Potential:
    labels = None if given.labels is None else given.labels[given.sinks]
    return Potential(given.points[given.sinks], labels, given.scale, kappa, -v)


def _ends(
    given: Pair,
    found: tuple[float, float, float, float],
    lower: float,
    gap: float,
    method: str,
    rounds: int,
    flow: Callable[[], tuple[NDArray, NDArray, NDArray]],
    potential: Callable[[], Potential],
) -> W1:
    """Both ends, or an error: a gap above the one that was asked for is no result."""
    cost, upper, dual, size = found
    lower, upper = max(lower, 0.0), math.nextafter(upper, math.inf)
    if not (lower <= upper and upper - lower <= gap * upper):  # also where an end is NaN
        raise OpenGapError(
            f"certificate not closed: plan {cost:.12g}, potential {dual:.12g}, ends {lower:.12g} and {upper:.12g}, "
            f"relative gap asked for {gap:g}"
        )
    # potentials are sums along a tree of as many distances as there are points
    along = (16 + len(given.sources) + len(given.sinks)) * UNIT * (cost + size)
    closed = cost - dual <= (upper - cost) + (dual - lower) + along
    return W1(lower, upper, given.share, method, rounds, bool(closed), given, flow, potential)


def _equal(given: Pair, upper: float, kappa: float, metric: Any = None) -> W1:
    none = np.zeros(0, np.int64)
    anchors = given.points[:1], None if given.labels is None else given.labels[:1]

    def potential() -> Potential:
        if metric is not None:
            return Potential(anchors[0] * given.scale, None, 1.0, 0.0, np.zeros(1), metric)
        return Potential(*anchors, given.scale, kappa, np.zeros(1))

    return W1(0.0, upper, 0.0, "equal", 0, True, given, lambda: (none, none, none), potential)


def _line(given: Pair, gap: float) -> W1:
    """One dimension: W1 = int |F - G| [theory 8.2]. F - G is exact, widths and products round once each."""
    place, ahead = _ahead(given)
    raw = given.points[place, 0].astype(np.float64)
    size = min(math.frexp(float(np.abs(raw).max()))[1], 1023)
    with np.errstate(over="ignore", under="ignore"):
        widths = np.diff(np.ldexp(raw, -size))
        # numpy sums pairwise: k terms that are >= 0 lose at most 19 + log2(k) roundings; the masses 5, the rest 3
        roundings = 12 + min(len(raw), 20 + len(raw).bit_length())
        cost = float((np.abs(ahead) * widths).sum()) * given.scale
        floor = (len(raw) + 8) * 2.0**-1060
        ends = [math.ldexp(cost * (1 + sign * roundings * UNIT) + sign * floor, size) for sign in (-1, 1) if cost < 2.0]
    require(
        len(ends) == 2 and math.isfinite(ends[1]),
        "the points are farther apart than floats reach; divide them by a common number",
    )
    # a pixel's value is rounded once
    slack = given.allowance() + (given.share * 4 * UNIT * given.scale * float(raw[-1]) if given.scale != 1.0 else 0.0)
    middle = math.ldexp(cost, size)
    return _ends(
        given,
        (middle, ends[1] + slack, middle, 0.0),
        math.nextafter(ends[0] - slack, -math.inf),
        gap,
        "line",
        0,
        lambda: _monotone(given),
        lambda: _slopes(given),
    )


def _ahead(given: Pair) -> tuple[NDArray, NDArray]:
    """The points where masses differ from left to right, and F - G between neighbours, off by at most 5u of itself."""
    if given.difference is None:
        place = np.concatenate([given.sources, given.sinks])
        order = np.argsort(given.points[place, 0], kind="stable")
        signed = np.concatenate([given.excess, -given.deficit])[order]
        return place[order], np.cumsum(signed)[:-1] / given.total
    place = np.flatnonzero(given.difference.any(0))
    place = place[np.argsort(given.points[place, 0], kind="stable")]
    return place, as_floats(np.cumsum(given.difference[:, place], axis=1))[:-1]


def _slopes(given: Pair) -> Potential:
    """phi' = -sign(F - G)."""
    place, ahead = _ahead(given)
    points = given.points[place, 0].astype(np.float64) * given.scale
    phi = np.concatenate([[0.0], np.cumsum(-np.sign(ahead) * np.diff(points))])
    return Potential(points[:, None], None, 1.0, 0.0, phi)


def _monotone(given: Pair) -> tuple[NDArray, NDArray, NDArray]:
    rows = np.argsort(given.points[given.sources, 0], kind="stable")
    columns = np.argsort(given.points[given.sinks, 0], kind="stable")
    i, j, mass = overlaps(given.excess[rows], given.deficit[columns])
    return rows[i], columns[j], mass / given.total


def overlaps(a: NDArray, b: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Two ways to cut the same mass into pieces, laid over each other: which pieces meet, and in how much mass."""
    ends_a, ends_b = np.cumsum(a), np.cumsum(b)
    ends = np.unique(np.concatenate([ends_a, ends_b]))
    ends = ends[ends > 0]
    begins = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    i, j = (np.searchsorted(pieces, begins, side="right") for pieces in (ends_a, ends_b))
    # totals of rounded masses may differ by units
    return np.minimum(i, len(a) - 1), np.minimum(j, len(b) - 1), ends - begins


def _spread(given: Pair, rows: NDArray, columns: NDArray, shares: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """A plan between merged points as one between the rows of p and q, in probability; common mass stays on its
    point.
    """
    k = len(given.points)
    if given.difference is None:
        total = given.total
        rows_p, rows_q = (_scaled(m, total) for m in (given.masses_p, given.masses_q))
    else:
        total = PLAN_UNITS
        rows_p, rows_q = (_units(m, total) for m in (given.masses_p, given.masses_q))
    mass = np.rint(shares * total).astype(np.int64)
    p, q = (_sums(ids, m, k) for ids, m in ((given.ids_p, rows_p), (given.ids_q, rows_q)))
    if given.difference is not None:
        rows, columns, mass = _mended(rows, columns, mass, (p - q)[given.sources], (q - p)[given.sinks])
    common = np.minimum(p, q)
    stay = np.flatnonzero(common)
    source = np.concatenate([given.sources[rows], stay])
    sink = np.concatenate([given.sinks[columns], stay])
    mass = np.concatenate([mass, common[stay]])
    # both cuts of p's mass go point by point, so laying them over each other never leaves a point; then the same for q
    flows, owners = np.argsort(source, kind="stable"), np.argsort(given.ids_p, kind="stable")
    f, o, mass = overlaps(mass[flows], rows_p[owners])
    left, sink = owners[o], sink[flows][f]
    flows, owners = np.argsort(sink, kind="stable"), np.argsort(given.ids_q, kind="stable")
    f, o, mass = overlaps(mass[flows], rows_q[owners])
    return left[flows][f], owners[o], mass / total


def _scaled(given: Masses, total: int) -> NDArray:
    """Counts in units of a common total."""
    assert given.counts is not None
    return np.asarray(given.counts * (total // given.total))


def _units(given: Masses, total: int) -> NDArray:
    """Masses of rows in whole units; what rounding leaves over goes to the largest."""
    whole = np.rint(as_floats(given.limbs()) * total).astype(np.int64)
    whole[np.argmax(whole)] += total - int(whole.sum())
    return whole


def _sums(ids: NDArray, whole: NDArray, k: int) -> NDArray:
    """Sums by point, exact also beyond 2^53."""
    out = np.zeros(k, np.int64)
    np.add.at(out, ids, whole)
    return out


def _mended(rows: NDArray, columns: NDArray, mass: NDArray, a: NDArray, b: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """A plan that lacks or has too much of a few units, with the marginals a and b: what is too much is taken from the
    largest flow of its point, what is lacking then on both sides is added.
    """
    mass = mass.copy()
    for group, wanted in ((rows, a), (columns, b)):
        over = np.minimum(wanted - _sums(group, mass, len(wanted)), 0)
        best = _largest_flows(group, mass)
        mass[best] = np.maximum(mass[best] + over[group[best]], 0)
    lack_a, lack_b = (
        np.maximum(wanted - _sums(group, mass, len(wanted)), 0) for group, wanted in ((rows, a), (columns, b))
    )
    if lack_a.any() and lack_b.any():
        i, j, more = overlaps(lack_a, lack_b)
        rows, columns, mass = (np.concatenate(z) for z in ((rows, i), (columns, j), (mass, more)))
    used = mass > 0
    return rows[used], columns[used], mass[used]


def _largest_flows(group: NDArray, mass: NDArray) -> NDArray:
    """The largest flow of each point."""
    order = np.lexsort((mass, group))
    return order[np.flatnonzero(np.diff(group[order], append=-1))]


def general(given: Pair, metric: Any, gap: float) -> W1:
    """A metric given as a matrix or a function, on the union of the supports."""
    return _by_either_reading(
        given,
        lambda pair: _general(pair, metric, gap),
        lambda pair, failed: _general_in_integers(pair, metric, gap, failed),
    )


def _general(given: Pair, metric: Any, gap: float) -> W1:
    points = given.points.astype(np.float64) * given.scale
    used = np.unique(
        np.concatenate([given.sources, given.sinks])
        if given.error is None
        else np.concatenate([given.ids_p, given.ids_q])
    )  # what rounding of weights may move counts at all points
    full = distances_by(metric, points[used], points[used]) if len(used) else np.zeros((1, 1))
    if callable(metric):
        checked_matrix(full)
    middle, routes = full[np.argmin(full.sum(1))], np.zeros(len(points))
    routes[used] = middle * (1 + 1e-9)
    unknown = 0.0 if given.error is None else math.fsum(given.error * routes)
    if not given.moved:
        return _equal(given, unknown, 0.0, metric)
    c = full[np.searchsorted(used, given.sources)[:, None], np.searchsorted(used, given.sinks)]
    flow, u, v = solve_certified(given.excess, given.deficit, c, gap / 4)
    cost, left, shares = plan_value(given, flow.rows, flow.columns, flow.mass, c[flow.rows, flow.columns], routes)
    dual, size = potential_size(given, u, v)
    v = v - np.median(v)
    feasible = (c - v).min(1)
    lower = potential_value(given, feasible - 2 * UNIT * np.abs(feasible), v) - unknown
    return _ends(
        given,
        (cost, cost + left + unknown, dual, size),
        lower,
        gap,
        "dense",
        0,
        lambda: (flow.rows, flow.columns, shares),
        lambda: Potential(points[given.sinks], None, 1.0, 0.0, -v, metric),
    )
