"""Distances between the users of a federation: all pairs, each user to the average, and the two averages M and P of
their squares.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, require
from ..federations._users import chosen_users
from ..federations.federation import Federation
from ..kernels.jit import n_threads, one_blas_thread
from .masses import Masses, average, masses
from .support import Pair, pair_on, row_ids
from .total_variation import checked_laws
from .wasserstein import GAP, between, checked_gap, checked_kappa, general

SMALL = 500  # rows of a federation below which handing pairs to threads costs more than it saves


@dataclass(frozen=True, eq=False)
class UserDistances:
    """A distance between users, each value between certified ends.

    Attributes
    ----------
    name : str
        What was measured, for titles.
    pairs_lower, pairs_upper : ndarray, shape (n, n), or None
        User to user; symmetric, diagonal 0.
    average_lower, average_upper : ndarray, shape (n,), or None
        User to the average p = (1/n) sum_i p_i.
    closed : bool
        Whether rounding alone lies between the ends of every value.
    some : bool
        Whether the average was measured for some users only: then there is no M.
    """

    name: str
    pairs_lower: NDArray | None = None
    pairs_upper: NDArray | None = None
    average_lower: NDArray | None = None
    average_upper: NDArray | None = None
    closed: bool = True
    some: bool = False

    @property
    def M(self) -> tuple[float, float]:  # noqa: N802 - the symbol of the theory
        """(1/n) sum_i dist(p_i, p)^2, lower and upper end: what the paper uses."""
        if self.average_lower is None or self.average_upper is None:
            raise InputError("M needs the distances to the average: measure them with to_average")
        require(not self.some, "M needs all users; this was measured for some of them")
        return float((self.average_lower**2).mean()), float((self.average_upper**2).mean())

    @property
    def P(self) -> tuple[float, float]:  # noqa: N802
        """(1/(2 n^2)) sum_ij dist(p_i, p_j)^2, lower and upper end."""
        if self.pairs_lower is None or self.pairs_upper is None:
            raise InputError("P needs the distances of all pairs: measure them with all_pairs")
        return float((self.pairs_lower**2).mean() / 2), float((self.pairs_upper**2).mean() / 2)

    @property
    def tighter(self) -> str:
        """``"M"`` or ``"P"``: which gives the smaller bound of gamma_G^2. Both are valid; neither is smaller in general
        [theory 8.4].
        """
        return "M" if self.M[1] <= self.P[1] else "P"


@dataclass(frozen=True, eq=False)
class Shared:
    """The rows of a federation on common distinct points, so that pairs of users need no further merging."""

    fed: Federation
    ids: NDArray
    points: NDArray
    labels: NDArray | None
    scale: float
    masses: list[Masses]

    def pair(self, i: int, j: int) -> Pair:
        """Users i and j."""
        return pair_on(self.points, self.labels, self.scale, self._user(i), self._user(j))

    def with_average(self, i: int) -> Pair:
        """User i and the average of all."""
        return pair_on(self.points, self.labels, self.scale, self._user(i), (self.ids, self.mean))

    @functools.cached_property
    def mean(self) -> Masses:
        """The average of all users."""
        return average(self.masses)

    def _user(self, i: int) -> tuple[NDArray, Masses]:
        return self.ids[self.fed.rows(i)], self.masses[i]


def shared(fed: Federation, *, use_labels: bool) -> Shared:
    """Number the distinct points of a federation (with their labels, where these count)."""
    require(
        isinstance(fed, Federation),
        f"give a Federation, such as Federation.from_arrays(X, y); this is {type(fed).__name__}",
    )
    require(not use_labels or fed.y is not None, "the federation has no labels; leave kappa out")
    labels = fed.y.astype(np.float64) if use_labels and fed.y is not None else None
    points, scale = (fed.x, fed.scale) if fed.x.dtype == np.uint8 else (fed.x.astype(np.float64) * fed.scale, 1.0)
    ids, first = row_ids(points, labels)
    users = [masses(fed.weights[fed.rows(i)]) for i in range(fed.n_users)]
    return Shared(fed, ids, points[first], None if labels is None else labels[first], scale, users)


def all_pairs(fed: Federation, *, kappa: float | None = None, tv: bool = False, gap: float = GAP) -> UserDistances:
    """W1 (or TV) of all pairs of users.

    Parameters
    ----------
    fed : Federation
    kappa : float, optional
        Price of a label; labels do not count when absent (for TV they count where there are any).
    tv : bool
        Total variation instead of W1.
    gap : float
        See :func:`~pfl_theory.distances.wasserstein.wasserstein`.

    Examples
    --------
    >>> from pfl_theory.federations import location
    >>> found = all_pairs(location(n_users=3, size=5, heterogeneity=2.0, shared=True))
    >>> found.pairs_upper.round(6).tolist()[0], round(found.P[1], 6)
    ([0.0, 2.44949, 4.898979], 4.0)
    """
    base = _base(fed, kappa, tv, gap)
    n = fed.n_users
    pairs = [(i, j) for i in range(n) for j in range(i)]
    ends = measured(
        lambda k: base.pair(*pairs[k]), range(len(pairs)), kappa=kappa, tv=tv, gap=gap, small=len(fed.x) < SMALL
    )
    low, high = np.zeros((n, n)), np.zeros((n, n))
    for (i, j), (lower, upper, _) in zip(pairs, ends, strict=True):
        low[i, j] = low[j, i] = lower
        high[i, j] = high[j, i] = upper
    return UserDistances(_title(kappa, tv), pairs_lower=low, pairs_upper=high, closed=all(end[2] for end in ends))


def to_average(
    fed: Federation,
    *,
    kappa: float | None = None,
    tv: bool = False,
    gap: float = GAP,
    users: Iterable[int] | None = None,
) -> UserDistances:
    """W1 (or TV) of each user (or of `users`) to the average of all.

    Rows of the user itself are common mass and stay where they are: W1(p_i, p) = (1 - 1/n) W1(p_i, average of the
    others) [theory 8.1].

    Examples
    --------
    >>> from pfl_theory.federations import location
    >>> to_average(location(n_users=3, size=1, heterogeneity=2.0, noise=0.0)).average_upper.round(6).tolist()
    [2.44949, 1.632993, 2.44949]
    """
    base = _base(fed, kappa, tv, gap)
    chosen = list(range(fed.n_users)) if users is None else chosen_users(users, fed.n_users, "users").tolist()
    ends = measured(base.with_average, chosen, kappa=kappa, tv=tv, gap=gap, small=len(fed.x) < SMALL)
    low, high = np.array([[lower, upper] for lower, upper, _ in ends]).T
    some = users is not None and sorted(chosen) != list(range(fed.n_users))
    return UserDistances(
        _title(kappa, tv), average_lower=low, average_upper=high, closed=all(end[2] for end in ends), some=some
    )


def between_users(fed: Federation, *, kappa: float | None = None, tv: bool = False, gap: float = GAP) -> UserDistances:
    """Both: all pairs, and each user to the average.

    Examples
    --------
    >>> from pfl_theory.federations import location
    >>> found = between_users(location(n_users=5, size=1, noise=0.0))
    >>> [round(end[1], 6) for end in (found.M, found.P)], found.tighter
    ([1.336, 1.0], 'P')
    """
    pairs = all_pairs(fed, kappa=kappa, tv=tv, gap=gap)
    average = to_average(fed, kappa=kappa, tv=tv, gap=gap)
    closed = pairs.closed and average.closed
    return UserDistances(
        pairs.name, pairs.pairs_lower, pairs.pairs_upper, average.average_lower, average.average_upper, closed
    )


def measured(
    make: Callable[[int], Pair], items: Iterable[int], *, kappa: float | None, tv: bool, gap: float, small: bool
) -> list[tuple[float, float, bool]]:
    """Lower and upper end for each item, and whether rounding alone lies between; on threads (POT and the kernels run
    without the GIL).
    """

    def one(k: int) -> tuple[float, float, bool]:
        given = make(k)
        if tv:
            return *given.tv[1:], True
        found = between(given, float(kappa or 0.0), gap=gap)
        return found.lower, found.upper, found.closed

    return in_parallel(one, items, small=small)


def in_parallel(call: Callable[[int], Any], items: Iterable[int], *, small: bool = False) -> list[Any]:
    """Results in order, on threads unless the work is `small`; BLAS at one thread, so that the number of threads
    changes no bit.
    """
    threads = 1 if small else n_threads()
    with one_blas_thread():
        if threads == 1:
            return [call(k) for k in items]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(call, items))


def _base(fed: Federation, kappa: float | None, tv: bool, gap: float) -> Shared:
    checked_gap(gap)
    checked_kappa(kappa)
    require(not (tv and kappa is not None), "kappa belongs to W1; total variation has no price of a label")
    return shared(fed, use_labels=kappa is not None or (tv and getattr(fed, "y", None) is not None))


def _title(kappa: float | None, tv: bool) -> str:
    return "TV" if tv else "W1" if kappa is None else f"W1, label {kappa:.4g}"


# --- classes ---


def label_shift_w1(laws: ArrayLike, class_distances: ArrayLike) -> NDArray:
    """Upper bounds of W1 between users that differ by their label laws: transport between labels at the cost W1(q_y,
    q_y') [theory 8.5].

    Parameters
    ----------
    laws : array_like, shape (n, C)
        Label laws of the users.
    class_distances : array_like, shape (C, C)
        Upper ends of W1 between classes.

    Returns
    -------
    ndarray, shape (n, n)

    Examples
    --------
    >>> label_shift_w1([[1.0, 0.0], [0.25, 0.75]], [[0.0, 2.0], [2.0, 0.0]]).round(12).tolist()
    [[0.0, 1.5], [1.5, 0.0]]
    """
    pi, c = checked_laws(laws), np.asarray(class_distances, np.float64)
    k = pi.shape[1]
    require(c.shape == (k, k), f"class_distances has shape {c.shape}; {k} classes need ({k}, {k})")
    require(
        bool(np.isfinite(c).all() and (c >= 0).all() and not np.diag(c).any()),
        "class_distances must be finite and >= 0, with a zero diagonal",
    )
    labels = np.arange(k)
    points = labels[:, None].astype(np.float64)
    out = np.zeros((len(pi), len(pi)))
    for i in range(len(pi)):
        for j in range(i):
            # any plan between the labels gives an upper bound, so upper ends of the class distances need not be a
            # metric
            found = general(pair_on(points, None, 1.0, (labels, masses(pi[i])), (labels, masses(pi[j]))), c, GAP)
            out[i, j] = out[j, i] = found.upper
    return out
