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
from .masses import MOST_UNITS, Masses, as_floats, as_fraction, digits, masses, summed

PIXEL = 1.0 / 255.0
SETTLED = 2000  # rows whose masses are compared as fractions


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
    if rows.shape[1] == 1 and labels is None:
        _, first, ids = np.unique(rows[:, 0], return_index=True, return_inverse=True)
        return ids.astype(np.int64), first.astype(np.int64)
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


def whole_pixels(points: NDArray) -> tuple[NDArray, float]:
    """Points as 8-bit integers and the factor back, where they are exactly that; else float64 and 1.

    Squared distances of such integers are exact integers in whatever order they are summed.
    """
    if points.dtype == np.uint8:
        return points, 1.0
    if points.dtype.kind in "ui":
        small = points.size > 0 and points.min() >= 0 and points.max() <= 255
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
    masses_p, masses_q : Masses
        Mass of each row.
    points, labels : ndarray, shapes (k, features) and (k,) or None
        The distinct points; the value of a feature is ``points * scale``.
    total : int
        Units of mass in 1.
    sources, sinks : ndarray of int64
        Points with more mass in p than in q, and the reverse.
    excess, deficit : ndarray of int64
        How much more; their sums agree.
    error : ndarray, shape (k,), or None
        Bound of what remains unknown of the difference of masses at each point; None where nothing does.
    difference : ndarray, shape (LIMBS, k), or None
        The differences themselves in fixed point, where they are no whole numbers of units.
    residual : ndarray, shape (k,), or None
        What `excess` and `deficit` leave of them, in units of 1.
    """

    ids_p: NDArray
    ids_q: NDArray
    masses_p: Masses
    masses_q: Masses
    points: NDArray
    labels: NDArray | None
    scale: float
    total: int
    sources: NDArray
    sinks: NDArray
    excess: NDArray
    deficit: NDArray
    error: NDArray | None = None
    difference: NDArray | None = None
    residual: NDArray | None = None

    @property
    def moved(self) -> int:
        """Mass that must move, in units."""
        return int(self.excess.sum())

    @property
    def share(self) -> float:
        """The same as a share of 1."""
        return self.moved / self.total

    @property
    def tv(self) -> tuple[float, float, float]:
        """Total variation, and its certified ends."""
        if self.difference is None:
            value = Fraction(self.moved, self.total)
        else:
            value = as_fraction(self.difference[:, np.isin(np.arange(len(self.points)), self.sources)])
        if self.error is None:
            error = Fraction(0)
        else:
            error = Fraction(math.fsum(self.error)) * Fraction(1, 2) * (1 + Fraction(1, 2**40))
        return float(value), max(below(value - error), 0.0), min(above(value + error), 1.0)

    def routes(self, kappa: float = 0.0) -> NDArray:
        """Bounds of the distances of all points to one in the middle: what is not known of the masses at a point goes
        by way of it (docs/theory/distances.md#8-2-rounded-weights).
        """
        x = self.points.astype(np.float64)
        size = float(np.abs(x).max()) or 1.0
        away = (x - np.median(x, axis=0)) / size
        squares = np.einsum("ij,ij->i", away, away) + x.shape[1] * 2.0**-1000
        return (size * self.scale * np.sqrt(squares) + kappa) * (1 + 1e-9)

    def allowance(self, routes: NDArray | None = None, *, kappa: float = 0.0) -> float:
        """How much W1 may differ from that of the differences of masses as they stand here."""
        if self.error is None or not self.error.any():
            return 0.0
        return math.fsum(self.error * (self.routes(kappa) if routes is None else routes))

    @property
    def common_points(self) -> int:
        """Points that carry mass in both measures."""
        p, q = (ids[m.weights > 0] for ids, m in ((self.ids_p, self.masses_p), (self.ids_q, self.masses_q)))
        return len(np.intersect1d(p, q))


def above(value: Fraction) -> float:
    """A float that is not smaller."""
    near = float(value)
    return near if Fraction(near) >= value else math.nextafter(near, math.inf)


def below(value: Fraction) -> float:
    """A float that is not larger."""
    near = float(value)
    return near if Fraction(near) <= value else math.nextafter(near, -math.inf)


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
        kinds = ["numbers" if m.labels.dtype.kind in "uifb" else "names" for m in (p, q) if m.labels is not None]
        require(kinds[0] == kinds[1], f"the labels of p are {kinds[0]}, those of q {kinds[1]}; they must agree")
        joined = np.concatenate([p.labels, q.labels])
        labels = (
            np.unique(joined, return_inverse=True)[1].astype(np.float64)
            if joined.dtype.kind not in "uifb"
            else joined.astype(np.float64)
        )
        require(bool(np.isfinite(labels).all()), "labels contain NaN or infinity; drop those points")
    ids, first = row_ids(points, labels)
    return pair_on(
        points[first],
        None if labels is None else labels[first],
        scale,
        (ids[:m], masses(p.weights)),
        (ids[m:], masses(q.weights)),
    )


def pair_on(
    points: NDArray, labels: NDArray | None, scale: float, p: tuple[NDArray, Masses], q: tuple[NDArray, Masses]
) -> Pair:
    """Two measures given on distinct common points, each by the point and the mass of its rows."""
    (ids_p, masses_p), (ids_q, masses_q) = p, q
    k = len(points)
    total = math.lcm(masses_p.total, masses_q.total)
    counts = [m.counts for m in (masses_p, masses_q) if m.counts is not None]
    if not 0 < total <= MOST_UNITS or len(counts) < 2:
        return as_floats_read(points, labels, scale, p, q)
    units_p, units_q = (counts * (total // m.total) for counts, m in zip(counts, (masses_p, masses_q), strict=True))
    of_p, of_q = np.bincount(ids_p, units_p, k), np.bincount(ids_q, units_q, k)
    more = (of_p - of_q).astype(np.int64)
    error = None
    if masses_p.off or masses_q.off:  # the other reading of these weights
        error = (masses_p.off * of_p + masses_q.off * of_q) / total * (1 + 1e-9)
    return _moving(points, labels, scale, p, q, total, more, error)


def as_floats_read(
    points: NDArray, labels: NDArray | None, scale: float, p: tuple[NDArray, Masses], q: tuple[NDArray, Masses]
) -> Pair:
    """The same for weights that are real numbers w_i / sum w: differences point by point in fixed point, then rounded
    to 2^-46 of what moves, so that measures that nearly agree are known as well as others.
    """
    (ids_p, masses_p), (ids_q, masses_q) = p, q
    k = len(points)
    difference = summed(ids_p, masses_p.limbs(), k) - summed(ids_q, masses_q.limbs(), k)
    rows = np.bincount(ids_p, minlength=k) + np.bincount(ids_q, minlength=k)
    size = sum(
        np.bincount(ids, m.weights / np.repeat(np.array([float(s) for s in m.sums]), m.sizes), k) for ids, m in (p, q)
    )
    doubt = rows * 2.0**-118 + size * 2.0**-100
    d = as_floats(difference)
    _settle_zeros(d, doubt, difference, p, q)
    unit = 46 - math.frexp(max(math.fsum(d[d > 0]), math.fsum(-d[d < 0])) or 1.0)[1]
    more = np.rint(np.ldexp(d, unit)).astype(np.int64)
    more = np.where(more == 0, np.sign(d).astype(np.int64), more)  # specks keep a unit, and with it a place in the plan
    surplus = int(more.sum())
    if surplus:  # taken from the larger masses of the side that has too much: none of them is used up
        side = np.abs(more) * (np.sign(more) == np.sign(surplus))
        order = np.flatnonzero(2 * side >= side.max())
        each, rest = divmod(abs(surplus), len(order))
        more[order] -= int(np.sign(surplus)) * each
        more[order[:rest]] -= int(np.sign(surplus))
    residual = np.where(more == 0, 0.0, as_floats(difference - digits(np.ldexp(more.astype(np.float64), -unit))))
    return _moving(points, labels, scale, p, q, 2**unit, more, doubt, difference, residual)


def _moving(
    points: NDArray,
    labels: NDArray | None,
    scale: float,
    p: tuple[NDArray, Masses],
    q: tuple[NDArray, Masses],
    total: int,
    more: NDArray,
    *unknown: NDArray | None,
) -> Pair:
    """The pair of which `more` units of p than of q stand at each point; then what is unknown or left of them."""
    (ids_p, masses_p), (ids_q, masses_q) = p, q
    sources, sinks = np.flatnonzero(more > 0), np.flatnonzero(more < 0)
    rows = ids_p, ids_q, masses_p, masses_q
    return Pair(*rows, points, labels, scale, total, sources, sinks, more[sources], -more[sinks], *unknown)


def _settle_zeros(
    d: NDArray, doubt: NDArray, difference: NDArray, p: tuple[NDArray, Masses], q: tuple[NDArray, Masses]
) -> None:
    """Differences too small to be told from 0 become 0; where few rows decide, fractions say whether they are."""
    small = np.abs(d) <= doubt
    d[small] = 0.0
    rows = [np.flatnonzero(small[ids]) for ids, _ in (p, q)]
    if sum(map(len, rows)) > SETTLED:
        return
    exact: dict[int, Fraction] = {}
    for sign, some, (ids, m) in zip((1, -1), rows, (p, q), strict=True):
        for point, mass in zip(ids[some].tolist(), m.fractions(some), strict=True):
            exact[point] = exact.get(point, Fraction(0)) + sign * mass
    equal = [point for point, value in exact.items() if not value]
    doubt[equal] = 0.0
    difference[:, equal] = 0


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
