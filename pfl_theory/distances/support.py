"""Two finite measures on common points: equal points merged, masses as integers, common mass taken away."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ..errors import require
from ..federations.measure import Measure
from ..seeds import generator

# Weights are read as fractions with denominators up to DENOMINATOR where they are such fractions to the last bits;
# their common denominator may be up to 2^46: POT multiplies one side by the ratio of two equal sums, which changes all
# masses together by at most 2^46 * 2^-52, and its flows round back to the exact integers.
DENOMINATOR = 10**6
MOST_UNITS = 2**46
PIXEL = 1.0 / 255.0


def row_ids(x: NDArray, labels: NDArray | None = None) -> tuple[NDArray, NDArray]:
    """Number the distinct rows of `x` (with their labels): the number of each row, and one row of each number.

    Parameters
    ----------
    x : ndarray, shape (m, p)
    labels : ndarray, shape (m,), optional

    Returns
    -------
    ids : ndarray of int64, shape (m,)
        Equal rows have equal numbers 0 .. k - 1.
    first : ndarray of int64, shape (k,)
        A row of each number.

    Examples
    --------
    >>> row_ids(np.array([[1.0], [2.0], [1.0]]))[0].tolist()
    [0, 1, 0]
    """
    rows = np.ascontiguousarray(x if x.dtype.kind != "f" else x + 0.0)  # -0.0 becomes 0.0
    raw = rows.view(np.uint8).reshape(len(rows), -1)
    odd = generator(0, "keys of rows").integers(0, 2**63, size=raw.shape[1] // 8 + 2, dtype=np.uint64) * np.uint64(
        2
    ) + np.uint64(1)
    keys = np.zeros(len(rows), np.uint64)
    for start in range(0, len(rows), 4096):
        part = raw[start : start + 4096]
        padded = np.zeros((len(part), -(-part.shape[1] // 8) * 8), np.uint8)
        padded[:, : part.shape[1]] = part
        words = padded.view(np.uint64)
        mixed = (words ^ (words >> np.uint64(29))) * odd[: words.shape[1]]
        keys[start : start + 4096] = (mixed ^ (mixed >> np.uint64(32))).sum(1, dtype=np.uint64)
    if labels is not None:
        value = np.ascontiguousarray(labels + 0.0).view(np.uint64)
        keys = keys * odd[0] ^ (value ^ (value >> np.uint64(31))) * odd[-1]
    _, first, ids = np.unique(keys, return_index=True, return_inverse=True)
    again = np.flatnonzero(
        first[ids] != np.arange(len(rows))
    )  # rows whose key stood before: equal, unless two keys collide
    same = (rows[again] == rows[first[ids[again]]]).all(1)
    if labels is not None:
        same &= labels[again] == labels[first[ids[again]]]
    if not same.all():  # a collision of 64-bit keys: take the slow road
        table = np.column_stack([rows.astype(np.float64), labels]) if labels is not None else rows
        _, first, ids = np.unique(table, axis=0, return_index=True, return_inverse=True)
    return ids.ravel().astype(np.int64), first.astype(np.int64)


def integer_masses(*weights: NDArray) -> tuple[list[NDArray], int, float]:
    """Weights as integers over one total.

    Where all weights are fractions (to the last bits) with a small common denominator, the integers are these
    fractions: masses are then exact, and so is what a solver adds and subtracts. Else the weights are rounded to
    multiples of 2^-46.

    Returns
    -------
    masses : list of ndarray of int64
        Each sums to `total`.
    total : int
    slack : float
        Sum over the measures of the L1 distance between masses / total and the weights; 0 for fractions.

    Examples
    --------
    >>> integer_masses(np.array([0.5, 0.5]), np.full(3, 1 / 3))
    ([array([3, 3]), array([2, 2, 2])], 6, 0.0)
    """
    total = _common_denominator(weights)
    if total:
        masses = [np.rint(w * total).astype(np.int64) for w in weights]
        if all(int(m.sum()) == total for m in masses):
            divisor = math.gcd(*(int(np.gcd.reduce(m)) for m in masses))
            return [m // divisor for m in masses], total // divisor, 0.0
    masses, slack = [], 0.0
    for w in weights:
        share = w / math.fsum(w)
        m = np.rint(share * MOST_UNITS).astype(np.int64)
        excess = int(m.sum()) - MOST_UNITS
        order = np.argsort(-m, kind="stable")
        unit = 1 if excess > 0 else -1
        m[order[: abs(excess) % len(m)]] -= unit  # each weight was rounded by half a unit at most: |excess| < len(m)
        masses.append(m)
        slack += float(np.abs(m / MOST_UNITS - share).sum()) + len(m) * 2.0**-52 * float(share.max())
    return masses, MOST_UNITS, slack


def _common_denominator(weights: tuple[NDArray, ...]) -> int:
    """Common denominator of all weights, or 0."""
    total = 1
    values = np.unique(np.concatenate(weights))
    if len(values) > 10_000:
        return 0
    for value in values:
        fraction = Fraction(float(value)).limit_denominator(DENOMINATOR)
        if abs(float(fraction) - value) > 4 * math.ulp(value):
            return 0
        total = math.lcm(total, fraction.denominator)
        if total > MOST_UNITS:
            return 0
    return total


def whole_pixels(points: NDArray) -> tuple[NDArray, float]:
    """Points as 8-bit integers and the factor back, where they are exactly that; else float64 and 1.

    Squared distances of such integers are exact integers in whatever order they are summed.
    """
    if points.dtype == np.uint8:
        return points, 1.0
    if points.dtype.kind in "ui":
        small = points.size > 0 and points.min() >= 0 and points.max() <= 255
        require(
            small or not points.size or int(np.abs(points.astype(object)).max()) <= 2**53,
            "integer points beyond 2^53 have no exact float; scale them",
        )
        return points.astype(np.uint8 if small else np.float64), 1.0
    x = points.astype(np.float64, copy=False)
    for scale in (1.0, PIXEL):
        whole = np.empty(x.shape, np.uint8)
        if all(_on_grid(x[k : k + 256], scale, whole[k : k + 256]) for k in range(0, len(x), 256)):
            return whole, scale
    return x, 1.0


def _on_grid(x: NDArray, scale: float, whole: NDArray) -> bool:
    if not (x.size and x.min() >= 0 and x.max() <= 255 * scale * (1 + 1e-15)):
        return False
    whole[:] = np.rint(x / scale)
    return bool(
        (whole * scale == x).all() or (scale == PIXEL and (whole / 255.0 == x).all())
    )  # both ways to scale an image


@dataclass(frozen=True, eq=False)
class Pair:
    """What is left of two measures when equal points are merged and common mass is taken away.

    Attributes
    ----------
    ids_p, ids_q : ndarray of int64
        Point of each row of p and of q.
    mass_p, mass_q : ndarray of int64
        Mass of each row, in units of 1 / total.
    points, labels : ndarray, shapes (k, features) and (k,) or None
        The distinct points; the value of a feature is ``points * scale``.
    total, slack : int, float
        See :func:`integer_masses`.
    sources, sinks : ndarray of int64
        Points with more mass in p than in q, and the reverse.
    excess, deficit : ndarray of int64
        How much more; both sum to ``total * TV(p, q)``.
    """

    ids_p: NDArray
    ids_q: NDArray
    mass_p: NDArray
    mass_q: NDArray
    points: NDArray
    labels: NDArray | None
    scale: float
    total: int
    slack: float
    sources: NDArray
    sinks: NDArray
    excess: NDArray
    deficit: NDArray

    @property
    def moved(self) -> int:
        """Mass that must move: total times the total variation distance."""
        return int(self.excess.sum())

    def diameter(self, kappa: float = 0.0) -> float:
        """Upper bound of the distance between any two points of both measures, where rounded weights make it count;
        else 0.
        """
        if not self.slack:
            return 0.0
        x = self.points[np.unique(np.concatenate([self.ids_p, self.ids_q]))].astype(np.float64)
        return 2 * self.scale * math.hypot(*np.abs(x - x[0]).max(0).tolist()) * (1 + 1e-9) + kappa

    @property
    def common_points(self) -> int:
        """Points that carry mass in both measures."""
        return len(np.intersect1d(self.ids_p[self.mass_p > 0], self.ids_q[self.mass_q > 0]))


def pair(p: Measure, q: Measure, *, use_labels: bool) -> Pair:
    """Put two measures on common points.

    Parameters
    ----------
    p, q : Measure
        Same number of features; labels in both or in neither.
    use_labels : bool
        Whether points with different labels are different points.

    Raises
    ------
    InputError
        Features differ in number, or only one of the measures has labels.
    """
    checked_pair(p, q)
    require(not use_labels or p.labels is not None, "these measures have no labels; give labels=, or leave kappa out")
    m = len(p)
    common = np.result_type(p.points, q.points)
    points, scale = whole_pixels(
        np.concatenate([p.points.astype(common, copy=False), q.points.astype(common, copy=False)])
    )
    labels = None
    if use_labels and p.labels is not None and q.labels is not None:
        joined = np.concatenate([p.labels, q.labels])
        labels = (
            np.unique(joined, return_inverse=True)[1].astype(np.float64)
            if joined.dtype.kind not in "uifb"
            else joined.astype(np.float64)
        )
        require(bool(np.isfinite(labels).all()), "labels contain NaN or infinity; drop those points")
    ids, first = row_ids(points, labels)
    return pair_on(
        points[first], None if labels is None else labels[first], scale, (ids[:m], p.weights), (ids[m:], q.weights)
    )


def pair_on(
    points: NDArray, labels: NDArray | None, scale: float, p: tuple[NDArray, NDArray], q: tuple[NDArray, NDArray]
) -> Pair:
    """Two measures given on distinct common points, each by the point and the weight of its rows."""
    (ids_p, weights_p), (ids_q, weights_q) = p, q
    (mass_p, mass_q), total, slack = integer_masses(weights_p, weights_q)
    more = (np.bincount(ids_p, mass_p, len(points)) - np.bincount(ids_q, mass_q, len(points))).astype(np.int64)
    if slack:  # only the difference of the measures counts, point by point
        a, b = (np.bincount(ids, w / math.fsum(w), len(points)) for ids, w in (p, q))
        most = max(int(np.bincount(ids).max()) for ids in (ids_p, ids_q))
        slack = float(np.abs(a - b - more / total).sum()) + (most + 4) * 2.0**-52
    sources, sinks = np.flatnonzero(more > 0), np.flatnonzero(more < 0)
    return Pair(
        ids_p, ids_q, mass_p, mass_q, points, labels, scale, total, slack, sources, sinks, more[sources], -more[sinks]
    )


def checked_pair(p: Measure, q: Measure) -> None:
    """Refuse two measures that have no common space."""
    for name, given in (("p", p), ("q", q)):
        require(
            isinstance(given, Measure),
            f"{name} is {type(given).__name__}; give a Measure, such as Measure(points, labels) or federation[i]",
        )
    dims = p.points.shape[1], q.points.shape[1]
    require(dims[0] == dims[1], f"p has points with {dims[0]} features, q with {dims[1]}; they must agree")
    only = "p" if q.labels is None else "q"
    require(
        (p.labels is None) == (q.labels is None), f"only {only} has labels; give labels to both measures or to neither"
    )
