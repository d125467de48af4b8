"""Distances between finite laws, exactly: total variation in fractions, optimal transport by shortest paths."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from ..real import ZERO, Real, minus, mp, norm, real

Key = tuple[Any, ...]


class Laws(NamedTuple):
    """Users on common points: the points (features, label or None) and every user's exact masses, each sum 1."""

    points: list[Key]
    masses: list[list[Fraction]]

    @property
    def middle(self) -> list[Fraction]:
        """The average law."""
        n = len(self.masses)
        return [sum(column, Fraction(0)) / n for column in zip(*self.masses, strict=True)]


def laws_of(fed: Any, *, labels: bool) -> Laws:
    """Equal rows merged; masses are the given floats divided by their exact sum."""
    keys, users = {}, []  # type: ignore[var-annotated]
    for i in range(fed.n_users):
        own: dict[int, Fraction] = {}
        for k in range(int(fed.offsets[i]), int(fed.offsets[i + 1])):
            key = tuple(float(v) for v in fed.x[k]), float(fed.y[k]) if labels and fed.y is not None else None
            where = keys.setdefault(key, len(keys))
            own[where] = own.get(where, Fraction(0)) + Fraction(float(fed.weights[k]))
        users.append(own)
    masses = [[own.get(k, Fraction(0)) / sum(own.values()) for k in range(len(keys))] for own in users]
    return Laws(list(keys), masses)


def total_variation(p: Sequence[Fraction], q: Sequence[Fraction]) -> Fraction:
    """Half the sum of |p - q|.

    Examples
    --------
    >>> total_variation([Fraction(1), Fraction(0)], [Fraction(1, 2), Fraction(1, 2)])
    Fraction(1, 2)
    """
    return sum((abs(a - b) for a, b in zip(p, q, strict=True)), Fraction(0)) / 2


def mean_square_tv(laws: Laws) -> tuple[Real, Real]:
    """M = (1/n) sum TV(p_i, p)^2 and P = (1/(2 n^2)) sum TV(p_i, p_j)^2."""
    n, middle = len(laws.masses), laws.middle
    m = sum((total_variation(p, middle) ** 2 for p in laws.masses), Fraction(0)) / n
    p = sum((total_variation(a, b) ** 2 for a in laws.masses for b in laws.masses), Fraction(0)) / (2 * n * n)
    return real(m), real(p)


def wasserstein(p: Sequence[Fraction], q: Sequence[Fraction], cost: list[list[Real]]) -> Real:
    """The least cost of carrying p to q: common mass stays, then shortest paths until all is carried.

    Successive shortest paths with exact masses: every path saturates a source, a sink or a backward arc, so it ends;
    costs are in 50 digits.
    """
    left = [max(a - b, Fraction(0)) for a, b in zip(p, q, strict=True)]
    right = [max(b - a, Fraction(0)) for a, b in zip(p, q, strict=True)]
    sources, sinks = [i for i, v in enumerate(left) if v], [j for j, v in enumerate(right) if v]
    flow: dict[tuple[int, int], Fraction] = {}
    total = ZERO
    while any(left[i] for i in sources):
        path, length = _shortest(left, right, sources, sinks, flow, cost)
        amount = min([left[path[0]], right[path[-1]], *(flow[b, a] for a, b in _back(path))])
        for step, (a, b) in enumerate(itertools.pairwise(path)):
            if step % 2 == 0:
                flow[a, b] = flow.get((a, b), Fraction(0)) + amount
            else:
                flow[b, a] -= amount
        left[path[0]] -= amount
        right[path[-1]] -= amount
        total += length * real(amount)
    return total


def _back(path: list[int]) -> list[tuple[int, int]]:
    """Backward arcs of a path source, sink, source, sink, ...: from a sink to the source that feeds it."""
    return [pair for step, pair in enumerate(itertools.pairwise(path)) if step % 2 == 1]


def _shortest(left, right, sources, sinks, flow, cost):  # type: ignore[no-untyped-def]
    """Bellman-Ford from sources with mass left to sinks with room left."""
    best = {("s", i): (ZERO, [i]) for i in sources if left[i]}
    for _ in range(2 * len(sources) + 2 * len(sinks)):
        changed = False
        for i in sources:
            if ("s", i) not in best:
                continue
            length, path = best["s", i]
            for j in sinks:
                new = length + cost[i][j]
                if ("t", j) not in best or new < best["t", j][0]:
                    best["t", j], changed = (new, [*path, j]), True
        for (i, j), amount in flow.items():
            if amount and ("t", j) in best:
                new = best["t", j][0] - cost[i][j]
                if (("s", i) not in best or new < best["s", i][0]) and i not in best["t", j][1][::2]:
                    best["s", i], changed = (new, [*best["t", j][1], i]), True
        if not changed:
            break
    length, path = min((best["t", j] for j in sinks if right[j] and ("t", j) in best), key=lambda found: found[0])
    return path, length


def costs(laws: Laws, scale: Real, kappa: Real | None) -> list[list[Real]]:
    """||x - x'|| + kappa [y != y'], without the second where there is no price."""

    def apart(a: Key, b: Key) -> Real:
        distance = scale * norm(minus([real(v) for v in a[0]], [real(v) for v in b[0]]))
        return distance + (kappa if kappa is not None and a[1] != b[1] else 0)

    return [[apart(a, b) for b in laws.points] for a in laws.points]


def mean_square_w1(laws: Laws, cost: list[list[Real]]) -> tuple[Real, Real]:
    """M and P of W1."""
    n, middle = len(laws.masses), laws.middle
    m = mp.fsum(wasserstein(p, middle, cost) ** 2 for p in laws.masses) / n
    pairs = itertools.combinations(laws.masses, 2)
    return m, mp.fsum(wasserstein(a, b, cost) ** 2 for a, b in pairs) / (n * n)


def enclosing_radius(vectors: list[list[Real]]) -> Real:
    """Radius of the smallest ball that holds all vectors: the least circumscribed ball of some of them that holds the
    others.
    """
    distinct = [v for k, v in enumerate(vectors) if v not in vectors[:k]]
    d = len(distinct[0])
    best = None
    for size in range(1, min(len(distinct), d + 1) + 1):
        for chosen in itertools.combinations(distinct, size):
            centre = _circumcentre(list(chosen))
            if centre is None:
                continue
            radius = max(norm(minus(v, centre)) for v in distinct)
            best = radius if best is None or radius < best else best
    return best


def _circumcentre(points: list[list[Real]]) -> list[Real] | None:
    """The point of their affine hull at one distance from all; None where they are dependent."""
    base, rest = points[0], [minus(p, points[0]) for p in points[1:]]
    if not rest:
        return base
    gram = mp.matrix([[mp.fdot(a, b) for b in rest] for a in rest])
    try:
        share = mp.lu_solve(gram, mp.matrix([mp.fdot(a, a) / 2 for a in rest]))
    except (ZeroDivisionError, TypeError):  # the second where mpmath finds no pivot
        return None
    return [b + mp.fsum(share[k] * rest[k][i] for k in range(len(rest))) for i, b in enumerate(base)]
