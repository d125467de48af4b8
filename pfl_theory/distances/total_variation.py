"""Total variation: exact between finite measures, from label laws, and certified from below by events."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import require
from ..federations.measure import Measure
from .support import pair

TRIVIAL = (
    "no point is common to both: between samples of continuous laws this total variation is 1 whatever the laws "
    "are and carries no information; "
    "use label laws, events fixed on other data, W1 or gamma itself"
)


class TotalVariation(float):
    """TV(p, q), a float in [0, 1] that knows how it came about.

    Attributes
    ----------
    lower, upper : float
        Certified ends: between them lies the value for the weights as real numbers w_i / sum w, and for counts where
        the weights are rounded quotients of counts.
    common_points : int
        Points with mass in both measures.
    note : str
        A warning where the number says nothing about the laws behind samples; else empty.
    """

    lower: float
    upper: float
    common_points: int
    note: str

    def __new__(
        cls, value: float, common_points: int = 0, lower: float | None = None, upper: float | None = None
    ) -> TotalVariation:
        made = super().__new__(cls, value)
        made.lower, made.upper = value if lower is None else lower, value if upper is None else upper
        made.common_points = common_points
        made.note = "" if common_points else TRIVIAL
        return made

    def __getnewargs__(self) -> tuple[float, int, float, float]:  # type: ignore[override]
        return float(self), self.common_points, self.lower, self.upper


def total_variation(p: Measure, q: Measure) -> TotalVariation:
    """Total variation distance (1/2) sum_z |p(z) - q(z)| of two finite measures, exact.

    Equal points (with equal labels, where there are labels) are merged first. Exact refers to the weights as real
    numbers w_i / sum w: the value is rounded once. Where the weights of both measures are rounded quotients of counts
    (uniform ones are), the sum is taken over the counts, and the ends `lower` and `upper` hold both values.

    Parameters
    ----------
    p, q : Measure

    Returns
    -------
    TotalVariation
        A float; its ``note`` says so where the measures share no point and the value is 1 whatever stands behind them.

    Raises
    ------
    InputError
        Features that do not agree in number, labels on one side only.

    Examples
    --------
    >>> from pfl_theory import Measure
    >>> tv = total_variation(Measure([0.0, 0.0, 1.0]), Measure([1.0, 1.0, 0.0]))
    >>> float(tv), tv.note
    (0.3333333333333333, '')
    >>> total_variation(Measure([0.0]), Measure([1.0])).note[:24]
    'no point is common to bo'
    """
    found = pair(p, q, use_labels=p.labels is not None)
    value, lower, upper = found.tv
    return TotalVariation(value, found.common_points, lower, upper)


def total_variation_fraction(p: Measure, q: Measure) -> Fraction:
    """The same as an exact fraction.

    Where the weights of both measures are rounded quotients of whole numbers, with denominators up to a million, they
    are read as these; else as the binary fractions that floats are, divided by their sum.

    Examples
    --------
    >>> from pfl_theory import Measure
    >>> total_variation_fraction(Measure([0, 1, 2]), Measure([0, 1], weights=[0.5, 0.5]))
    Fraction(1, 3)
    """
    found = pair(p, q, use_labels=p.labels is not None)
    if found.difference is None:
        return Fraction(found.moved, found.total)
    difference: dict[int, Fraction] = {}
    for sign, ids, given in ((1, found.ids_p, found.masses_p), (-1, found.ids_q, found.masses_q)):
        for point, mass in zip(ids.tolist(), given.fractions(), strict=True):
            difference[point] = difference.get(point, Fraction(0)) + sign * mass
    return sum((abs(d) for d in difference.values()), Fraction(0)) / 2


def between_label_laws(laws: ArrayLike) -> NDArray:
    """TV of the users' label laws, all pairs: at population level under label shift the TV of the users themselves.

    With users p_i = sum_y pi_i(y) q_y it bounds TV(p_i, p_j) from above, with equality when the label is part of a
    datum [theory 8.1]. For any users with labels it bounds TV(p_i, p_j) from below (contraction).

    Parameters
    ----------
    laws : array_like, shape (n, C)
        Rows sum to 1.

    Returns
    -------
    ndarray, shape (n, n)

    Examples
    --------
    >>> between_label_laws([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]).tolist()
    [[0.0, 0.5], [0.5, 0.0]]
    """
    pi = checked_laws(laws)
    return 0.5 * np.abs(pi[:, None] - pi).sum(2)


def checked_laws(laws: ArrayLike) -> NDArray:
    """Label laws of users, shape (n, C): finite, nonnegative, rows that sum to 1."""
    pi = np.asarray(laws, dtype=np.float64)
    require(pi.ndim == 2 and pi.size > 0, f"label laws of shape {pi.shape}; give (users, classes)")
    good = np.isfinite(pi).all() and (pi >= 0).all() and (np.abs(pi.sum(1) - 1) <= 1e-9).all()
    require(bool(good), "label laws must be finite and >= 0, and sum to 1 for every user")
    return pi


class EventBound(NamedTuple):
    """A lower bound of a population TV. `lower` may be negative: then the event says nothing."""

    lower: float
    difference: float
    level: float


def lower_bound_from_event(p_hits: ArrayLike, q_hits: ArrayLike, *, level: float = 0.95) -> EventBound:
    """Certified lower bound of TV between the laws behind two samples, from one event fixed on other data.

    TV(p, q) >= |p(A) - q(A)|, and each share is known up to sqrt(log(2 / delta) / (2 m)) with probability 1 - delta
    (Hoeffding); both hold with probability at least 1 - 2 delta = `level` [theory 8.1]. The event must not depend on
    these samples: the decision region of a classifier trained on other data, say.

    Parameters
    ----------
    p_hits, q_hits : array_like of bool, shapes (m_p,) and (m_q,)
        Whether each independent draw lies in the event.
    level : float
        Joint confidence, 0 < level < 1.

    Examples
    --------
    >>> found = lower_bound_from_event([True] * 900 + [False] * 100, [True] * 200 + [False] * 800)
    >>> round(found.lower, 3), found.difference
    (0.606, 0.7)
    """
    require(0 < level < 1, f"level = {level}; must lie between 0 and 1")
    hits = [np.asarray(h) for h in (p_hits, q_hits)]
    for name, h in zip(("p_hits", "q_hits"), hits, strict=True):
        require(h.ndim == 1 and h.size > 0, f"{name} has shape {h.shape}; give one truth value per draw")
        require(
            bool(np.isin(h, (0, 1)).all()),
            f"{name} holds other values than true and false; give one truth value per draw",
        )
    delta = (1 - level) / 2
    difference = abs(float(hits[0].mean()) - float(hits[1].mean()))
    width = math.sqrt(math.log(2 / delta) / 2) * sum(1 / math.sqrt(len(h)) for h in hits)
    return EventBound(difference - width, difference, level)
