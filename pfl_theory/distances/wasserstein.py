"""The 1-Wasserstein distance between two finite measures, with a certificate that does not trust the solver."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import one_of, require
from ..federations.measure import Measure
from ..rigour.rounding import UNIT
from . import column_generation
from .costs import STORED, Costs, euclidean
from .metrics import checked_matrix, distances_by, real_matrix
from .solvers import SolverError, solve_certified
from .support import Pair, pair, whole_pixels

GAP = 1e-9  # relative; what "exact" means where solvers work in floats
DENSE = 1_300_000  # up to so many pairs the dense problem is solved: faster there, and simpler
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
        z = np.asarray(points)
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
        ``equal``, ``line`` (one dimension, closed form), ``dense`` or ``sparse`` (column generation).
    potential : Potential
        1-Lipschitz, attains `lower`.
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
    potential: Potential = field(repr=False)
    rounds: int = 0
    closed: bool = True
    _pair: Pair = field(repr=False, default=None)  # type: ignore[assignment]
    _flow: tuple[NDArray, NDArray, NDArray] = field(repr=False, default=None)  # type: ignore[assignment]

    def __float__(self) -> float:
        return self.upper

    @property
    def gap(self) -> float:
        """upper - lower."""
        return self.upper - self.lower

    @property
    def plan(self) -> Any:
        """An optimal plan: sparse array, shape (len(p), len(q)), in probability; its marginals are the weights.

        Mass that both measures have at a point stays there.
        """
        from scipy.sparse import coo_array

        rows, columns, mass = _spread(self._pair, *self._flow)
        return coo_array(
            (mass / self._pair.total, (rows, columns)), shape=(len(self._pair.ids_p), len(self._pair.ids_q))
        )


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
    if not given.moved:
        return _equal(given, kappa)
    x, y = given.points[given.sources], given.points[given.sinks]
    if x.shape[1] == 1 and not kappa:
        return _line(given)
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
    share = given.moved / given.total
    cost = math.fsum(mass * costs.arcs(rows, columns)) / given.total
    dual = math.fsum(np.concatenate([a * u, b * v])) / given.total
    # products and sums of the dual value are rounded once each; potentials are differences of distances
    size = (math.fsum(a * np.abs(u)) + math.fsum(b * np.abs(v))) / given.total
    spread = 4 * UNIT * (costs.farthest + float(np.abs(u).max()) + float(np.abs(v).max()))
    moved_by_rounding = (
        given.slack * given.diameter(costs.kappa) / 2
    )  # weights that are not fractions were rounded, at all points [theory 8.2]
    above = 4 * UNIT * cost + share * costs.arc_error + moved_by_rounding
    below = 4 * UNIT * size + share * (costs.error + spread) + moved_by_rounding
    lower, upper = max(dual - below, 0.0), cost + above
    if not lower <= upper or cost - dual > gap * cost + above + below:
        raise SolverError(f"certificate not closed: plan {cost:.12g}, potential {dual:.12g}")
    anchors = given.points[given.sinks], None if given.labels is None else given.labels[given.sinks]
    potential = Potential(*anchors, given.scale, costs.kappa, -v)
    return W1(
        float(lower), float(upper), share, method, potential, rounds, bool(cost - dual <= above + below), given, flow
    )


def _equal(given: Pair, kappa: float) -> W1:
    none = np.zeros(0, np.int64)
    anchors = given.points[:1], None if given.labels is None else given.labels[:1]
    upper = given.slack * given.diameter(kappa) / 2
    return W1(
        0.0,
        upper,
        0.0,
        "equal",
        Potential(*anchors, given.scale, kappa, np.zeros(1)),
        0,
        True,
        given,
        (none, none, none),
    )


def _line(given: Pair) -> W1:
    """One dimension: W1 = int |F - G|, with phi' = -sign(F - G) and the monotone plan [theory 8.2]."""
    place = np.concatenate([given.sources, given.sinks])
    raw = given.points[place, 0].astype(np.float64)
    order = np.argsort(raw, kind="stable")
    raw, signed = raw[order], np.concatenate([given.excess, -given.deficit])[order]
    ahead = np.cumsum(signed)[:-1]  # F - G between neighbours, in units: integers
    with np.errstate(over="ignore"):
        widths = np.diff(raw) * given.scale  # two roundings each
        finite = bool(np.isfinite(widths.sum() * given.total))
    require(finite, "the points are farther apart than floats reach; divide them by a common number")
    cost = math.fsum(np.abs(ahead) * widths) / given.total
    phi = np.concatenate([[0.0], np.cumsum(-np.sign(ahead) * widths)])
    reach = float(widths.sum())
    share = given.moved / given.total
    # rounded weights, at all points; a pixel's value is rounded once
    slack = given.slack * given.diameter() / 2 + (
        share * 4 * UNIT * given.scale * float(raw[-1]) if given.scale != 1.0 else 0.0
    )
    # phi is 1-Lipschitz up to the rounding of its running sums
    below = share * 2 * (len(raw) + 8) * UNIT * reach + slack
    upper, lower = cost * (1 + 8 * UNIT) + slack, max(math.fsum(signed * phi) / given.total - below, 0.0)
    # the monotone plan couples the i-th unit of excess with the i-th unit of deficit
    potential = Potential(raw[:, None] * given.scale, None, 1.0, 0.0, phi)
    return W1(lower, upper, share, "line", potential, 0, True, given, _monotone(given))


def _monotone(given: Pair) -> tuple[NDArray, NDArray, NDArray]:
    rows = np.argsort(given.points[given.sources, 0], kind="stable")
    columns = np.argsort(given.points[given.sinks, 0], kind="stable")
    i, j, mass = overlaps(given.excess[rows], given.deficit[columns])
    return rows[i], columns[j], mass


def overlaps(a: NDArray, b: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Two ways to cut the same mass into pieces, laid over each other: which pieces meet, and in how much mass."""
    ends_a, ends_b = np.cumsum(a), np.cumsum(b)
    ends = np.unique(np.concatenate([ends_a, ends_b]))
    ends = ends[ends > 0]
    begins = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    return np.searchsorted(ends_a, begins, side="right"), np.searchsorted(ends_b, begins, side="right"), ends - begins


def _spread(given: Pair, rows: NDArray, columns: NDArray, mass: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """A plan between merged points as one between the rows of p and q; common mass stays on its point."""
    k = len(given.points)
    p, q = (
        np.bincount(ids, m, k).astype(np.int64) for ids, m in ((given.ids_p, given.mass_p), (given.ids_q, given.mass_q))
    )
    common = np.minimum(p, q)
    stay = np.flatnonzero(common)
    source = np.concatenate([given.sources[rows], stay])
    sink = np.concatenate([given.sinks[columns], stay])
    mass = np.concatenate([mass, common[stay]])
    # both cuts of p's mass go point by point, so laying them over each other never leaves a point; then the same for q
    flows, owners = np.argsort(source, kind="stable"), np.argsort(given.ids_p, kind="stable")
    f, o, mass = overlaps(mass[flows], given.mass_p[owners])
    left, sink = owners[o], sink[flows][f]
    flows, owners = np.argsort(sink, kind="stable"), np.argsort(given.ids_q, kind="stable")
    f, o, mass = overlaps(mass[flows], given.mass_q[owners])
    return left[flows][f], owners[o], mass


def general(given: Pair, metric: Any, gap: float) -> W1:
    """A metric given as a matrix or a function, on the union of the supports."""
    points = given.points.astype(np.float64) * given.scale
    moved = np.concatenate([given.sources, given.sinks])
    used = np.unique(
        np.concatenate([given.ids_p, given.ids_q]) if given.slack else moved
    )  # rounded weights count at all points
    full = distances_by(metric, points[used], points[used]) if len(used) else np.zeros((1, 1))
    if callable(metric):
        checked_matrix(full)
    if not given.moved:
        upper = given.slack * float(full.max()) / 2
        return replace(
            _equal(given, 0.0), upper=upper, potential=Potential(points[:1], None, 1.0, 0.0, np.zeros(1), metric)
        )
    c = full[np.searchsorted(used, given.sources)[:, None], np.searchsorted(used, given.sinks)]
    flow, u, v = solve_certified(given.excess, given.deficit, c, gap / 4)
    share = given.moved / given.total
    upper = math.fsum(flow.mass * c[flow.rows, flow.columns]) / given.total
    lower = math.fsum(np.concatenate([given.excess * u, given.deficit * v])) / given.total
    rounding = (
        8 * UNIT * share * float(c.max() + np.abs(u).max() + np.abs(v).max()) + given.slack * float(full.max()) / 2
    )
    if not upper - lower <= gap * upper + rounding:  # also where a potential is NaN
        raise SolverError(f"certificate not closed: plan {upper:.12g}, potential {lower:.12g}")
    potential = Potential(points[given.sinks], None, 1.0, 0.0, -v, metric)
    ends = max(lower - rounding, 0.0), upper + rounding
    return W1(
        *ends,
        share,
        "dense",
        potential,
        0,
        bool(upper - lower <= 2 * rounding),
        given,
        (flow.rows, flow.columns, flow.mass),
    )
