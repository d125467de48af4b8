"""Transport between few points in whole numbers: where far points leave floats too few digits for a certificate.

Shortest augmenting paths (Hungarian method) on masses and costs that are whole numbers of one unit each: the plan and
the potentials have the same value, without any rounding.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .solvers import SolverError
from .support import Pair

MOST = 40_000  # pairs of points: seconds at worst


class Exact(NamedTuple):
    """A plan arc by arc and potentials, exact; `cost` and `dual` are their values, each computed from its own."""

    rows: NDArray
    columns: NDArray
    mass: list[Fraction]
    u: list[Fraction]
    v: list[Fraction]
    cost: Fraction
    dual: Fraction


def differences(given: Pair) -> tuple[NDArray, NDArray, list[Fraction], list[Fraction]]:
    """Points with more mass in p, points with more in q, and how much more: weights as real numbers, without
    rounding.
    """
    more: dict[int, Fraction] = {}
    for sign, ids, masses in ((1, given.ids_p, given.masses_p), (-1, given.ids_q, given.masses_q)):
        for point, mass in zip(ids.tolist(), masses.fractions(), strict=True):
            more[point] = more.get(point, Fraction(0)) + sign * mass
    sources = sorted(point for point, mass in more.items() if mass > 0)
    sinks = sorted(point for point, mass in more.items() if mass < 0)
    return np.array(sources, int), np.array(sinks, int), [more[k] for k in sources], [-more[k] for k in sinks]


def solve(a: list[Fraction], b: list[Fraction], costs: NDArray) -> Exact:
    """Optimal transport of `a` to `b` (equal sums, all positive) for costs that are taken as they are.

    Examples
    --------
    >>> found = solve([Fraction(1, 3), Fraction(2, 3)], [Fraction(1)], np.array([[1e16], [0.5]]))
    >>> found.cost == found.dual == Fraction(10**16, 3) + Fraction(1, 3)
    True
    """
    whole, cost_unit = _whole_costs(costs)
    units = math.lcm(*(x.denominator for x in a + b))
    left_a, left_b = ([int(x * units) for x in z] for z in (a, b))
    v = whole.min(0)
    u = (whole - v).min(1)
    flow: dict[tuple[int, int], int] = {}
    senders: list[set[int]] = [set() for _ in b]
    for i in range(len(a)):
        while left_a[i]:
            _augment(i, whole, u, v, left_a, left_b, flow, senders)
    rows, columns = (np.array([arc[k] for arc in flow], int) for k in (0, 1))
    mass = [Fraction(x, units) for x in flow.values()]
    given = [Fraction(0)] * len(a), [Fraction(0)] * len(b)
    for i, j, x in zip(rows.tolist(), columns.tolist(), mass, strict=True):
        given[0][i] += x
        given[1][j] += x
    if given != (a, b) or not all(x > 0 for x in mass) or not (whole - u[:, None] - v >= 0).all():
        raise SolverError("whole numbers: no plan between the given masses, or potentials above a cost")
    cost = sum(x * whole[i, j] for i, j, x in zip(rows.tolist(), columns.tolist(), mass, strict=True)) * cost_unit
    us, vs = ([Fraction(int(x)) * cost_unit for x in z] for z in (u, v))
    dual = sum((x * y for x, y in zip([*a, *b], [*us, *vs], strict=True)), Fraction(0))
    return Exact(rows, columns, mass, us, vs, cost, dual)


def _whole_costs(costs: NDArray) -> tuple[NDArray, Fraction]:
    """Costs as whole numbers of one unit, a power of two."""
    ratios = [z.as_integer_ratio() for z in costs.ravel().tolist()]
    unit = max(below for _, below in ratios)  # all are powers of two
    whole = np.empty(len(ratios), object)
    whole[:] = [above * (unit // below) for above, below in ratios]
    return whole.reshape(costs.shape), Fraction(1, unit)


def _augment(
    i: int,
    costs: NDArray,
    u: NDArray,
    v: NDArray,
    a: list[int],
    b: list[int],
    flow: dict[tuple[int, int], int],
    senders: list[set[int]],
) -> None:
    """Send what fits from row i along the shortest path, in reduced costs, to a column that lacks mass (Dijkstra); the
    potentials change so that reduced costs stay at least 0, and 0 where mass flows. All is changed in place.
    """
    n = len(b)
    away, before = np.full(n, None, object), np.full(n, -1)  # of columns
    done, known = np.zeros(n, bool), np.zeros(n, bool)
    row_away, row_before, queue = {i: 0}, {i: -1}, [i]
    while True:
        for k in queue:
            there = row_away[k] + (costs[k] - u[k] - v)
            nearer = ~known
            nearer[known] = there[known] < away[known]
            nearer &= ~done
            away[nearer], before[nearer] = there[nearer], k
            known[:] = True
        open_ = np.flatnonzero(~done)
        j = int(open_[np.argmin(away[open_])])
        done[j] = True
        if b[j]:
            break
        queue = [k for k in sorted(senders[j]) if k not in row_away]
        for k in queue:
            row_away[k], row_before[k] = away[j], j
    length = away[j]
    for k, d in row_away.items():
        u[k] += length - d
    v[done] -= length - away[done]
    path = []
    end, k = j, int(before[j])
    while True:
        path.append((k, j, 1))
        if (j := row_before[k]) < 0:
            break
        path.append((k, j, -1))
        k = int(before[j])
    amount = min(a[i], b[end], *(flow[k, j] for k, j, sign in path if sign < 0))
    for k, j, sign in path:
        flow[k, j] = flow.get((k, j), 0) + sign * amount
        senders[j].add(k)
        if not flow[k, j]:
            del flow[k, j]
            senders[j].remove(k)
    a[i] -= amount
    b[end] -= amount
