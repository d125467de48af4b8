"""Exact transport between many points without solving the dense problem.

1. Potentials of an entropically smoothed problem: Sinkhorn sweeps on a sample of the columns, then Newton steps on the
few arcs that are
   left worth looking at, while the smoothing shrinks. In these problems the rows are few (hundreds), so a Newton step
   is one Cholesky factor.
2. Most columns then have one clearly best row: their mass is settled there. A network simplex solves the rest on few
arcs.
3. One pass over all distances prices every arc. If the certified gap is above the tolerance, the violated arcs are
added, their columns
   released, and 2 is repeated.

Nothing in 1 and 2 has to be right: the plan has exact marginals, the potentials are made feasible by c-transforms over
all pairs, and the gap between the two is what is reported.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels.jit import over_users
from . import _kernels as kernels
from .costs import Costs
from .solvers import OpenGapError, solve_sparse

# The schedule; found by trying it on users of MNIST against their average. Costs are in units of their mean.
SAMPLE = 4096  # columns of the first sweeps
SWEEPS = 16
SMOOTH = (0.1, 0.01, 3e-4)  # smoothing at the start, after the sweeps, after the Newton steps
NEWTON_STEPS = 9
ARCS_PER_COLUMN = 16  # kept for the Newton steps, on average
CHOICE = 4  # every row keeps arcs to columns of at least this many times its mass
SOLVED_PER_COLUMN = 5  # of these in the network simplex, on average
SETTLED = (
    4e-3  # a column whose second best row is worse by this is settled: about ten times the error of the potentials
)
KEPT = 0.875  # share of a row's mass that may be settled: the rest ties its potential to the others'
ADDED_PER_COLUMN, ADDED_PER_ROW = 3, 100
JUMP = 0.05
NEWTON_ROWS = 3000  # more rows: sweeps only; a Newton step costs rows^3 / 3
MOST_ROUNDS = 100


class Solution(NamedTuple):
    """A plan with exact marginals, feasible potentials, and what it took."""

    rows: NDArray
    columns: NDArray
    mass: NDArray
    u: NDArray
    v: NDArray
    rounds: int
    arcs: int


class Arcs(NamedTuple):
    """Few arcs, column by column: arcs of column j are starts[j] .. starts[j + 1]."""

    starts: NDArray
    rows: NDArray
    costs: NDArray

    def column(self) -> NDArray:
        """Column of each arc."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


class _Pass:
    """Passes over all distances, in units of `unit`."""

    def __init__(self, costs: Costs, unit: float):
        self.costs, self.unit = costs, unit
        self.fixed = (costs.scale / unit, costs.kappa / unit, costs.x_labels, costs.y_labels)

    def row_minima(self, v: NDArray) -> NDArray:
        u = np.empty(self.costs.shape[0])
        self.costs.over_rows(lambda first, last, block: kernels.row_minima(block, first, *self.fixed, v, u))
        return u

    def column_minima(self, u: NDArray) -> NDArray:
        parts: dict[int, NDArray] = {}

        def piece(first: int, last: int, block: NDArray) -> None:
            parts[first] = np.empty(self.costs.shape[1])
            kernels.column_minima(block, first, *self.fixed, u, parts[first])

        self.costs.over_rows(piece)
        return np.minimum.reduce(list(parts.values()))

    def line(self, i: int) -> NDArray:
        """All distances of row i."""
        scale, kappa, lx, ly = self.fixed
        return scale * np.sqrt(self.costs.block(i, i + 1)[0].astype(np.float64)) + kappa * (ly != lx[i])

    def arcs_below(self, u: NDArray, v: NDArray, limit: float) -> tuple[NDArray, NDArray, NDArray]:
        """Rows, columns and costs of all arcs with c - u - v < limit, row by row."""
        counts = np.empty(self.costs.shape[0], np.int64)
        self.costs.over_rows(
            lambda first, last, block: kernels.count_below(block, first, *self.fixed, u, v, limit, counts)
        )
        starts = np.concatenate([[0], np.cumsum(counts)])
        columns, costs = np.empty(starts[-1], np.int64), np.empty(starts[-1])
        self.costs.over_rows(
            lambda first, last, block: kernels.arcs_below(
                block, first, *self.fixed, u, v, limit, starts, columns, costs
            )
        )
        return np.repeat(np.arange(len(counts)), counts), columns, costs


def solve(costs: Costs, a: NDArray, b: NDArray, gap: float) -> Solution:
    """Transport masses `a` (rows) to `b` (columns); stops when upper - lower <= gap * upper, by its own arithmetic.

    Parameters
    ----------
    costs : Costs
        All distances, as blocks.
    a, b : ndarray of int64
        Positive masses of equal sums. Best with fewer rows than columns.
    gap : float
        Relative.

    Raises
    ------
    OpenGapError
        No violated arc is left and the gap is still open.
    """
    total = float(a.sum())
    step = -(-len(b) // SAMPLE)
    sample = np.arange(0, len(b), step)
    near = costs.columns(sample)
    unit = float(
        costs.scale * np.sqrt(near.astype(np.float64)).mean()
        + costs.kappa * (costs.x_labels[:, None] != costs.y_labels[sample]).mean()
    )
    passes = _Pass(costs, unit)
    u = _coarse(passes, near, sample, a / total, b[sample] / b[sample].sum())
    v = passes.column_minima(u)
    limit = _limit(near, sample, passes, u, v)
    del near
    arcs = by_column(*_with_enough(passes, *passes.arcs_below(u, v, limit), v, a, b), len(b))
    if len(a) <= NEWTON_ROWS:
        u = _newton(arcs, u, a / total, b / total)
    return _exact(passes, arcs, u, a, b, gap)


def _with_enough(
    passes: _Pass, rows: NDArray, columns: NDArray, priced: NDArray, v: NDArray, a: NDArray, b: NDArray
) -> tuple[NDArray, NDArray, NDArray]:
    """Arcs, and more of them for rows whose columns could not take CHOICE times the row's mass: their potentials would
    run away.
    """
    room = np.bincount(rows, b[columns], len(a))
    found = [(rows, columns, priced)]
    for i in np.flatnonzero(room < np.minimum(CHOICE * a, a.sum())):
        line = passes.line(int(i))
        cheapest = np.argsort(line - v, kind="stable")
        chosen = cheapest[: int(np.searchsorted(np.cumsum(b[cheapest]), CHOICE * a[i])) + 1]
        found.append((np.full(len(chosen), i), chosen, line[chosen]))
    joined = [np.concatenate(part) for part in zip(*found, strict=True)]
    return joined[0], joined[1], joined[2]


def by_column(rows: NDArray, columns: NDArray, costs: NDArray, n: int) -> Arcs:
    """Arcs in the order of columns; equal arcs once."""
    order = np.lexsort((rows, columns))
    rows, columns, costs = rows[order], columns[order], costs[order]
    new = np.ones(len(rows), bool)
    new[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
    return Arcs(np.concatenate([[0], np.cumsum(np.bincount(columns[new], minlength=n))]), rows[new], costs[new])


def _coarse(passes: _Pass, near: NDArray, sample: NDArray, a: NDArray, b: NDArray) -> NDArray:
    """Sinkhorn sweeps with shrinking smoothing on a sample of columns."""
    scale, kappa, lx, ly = passes.fixed
    ly = ly[sample]
    m, n = near.shape
    u, v = np.zeros(m), np.empty(n)
    kernels.column_minima(near, 0, scale, kappa, lx, ly, u, v)
    size = -(-m // 4)
    pieces = [(k, min(k + size, m)) for k in range(0, m, size)]
    mass = np.empty((len(pieces), n))
    for eps in np.geomspace(SMOOTH[0], SMOOTH[1], SWEEPS):

        def rows_piece(_: int, low: int, high: int, eps: float = eps, v: NDArray = v) -> None:
            kernels.soft_rows(near[low:high], low, scale, kappa, lx, ly, v, b, eps, u)

        def columns_piece(k: int, low: int, high: int, eps: float = eps, v: NDArray = v) -> None:
            kernels.soft_columns(near[low:high], low, scale, kappa, lx, ly, u, v, a, eps, mass[k])

        over_users(rows_piece, pieces)
        over_users(columns_piece, pieces)
        v = v - eps * np.log(np.maximum(mass.sum(0), 1e-300))
    return u


def _limit(near: NDArray, sample: NDArray, passes: _Pass, u: NDArray, v: NDArray) -> float:
    """Reduced cost below which a column has ARCS_PER_COLUMN arcs on average (never all of a large problem)."""
    scale, kappa, lx, ly = passes.fixed
    some = slice(None, None, max(1, len(sample) // 512))
    reduced = (
        scale * np.sqrt(near[:, some].astype(np.float64))
        + kappa * (lx[:, None] != ly[sample[some]])
        - u[:, None]
        - v[sample[some]]
    )
    wanted = ARCS_PER_COLUMN * reduced.shape[1]
    return math.inf if wanted >= reduced.size else float(np.partition(reduced.ravel(), wanted)[wanted])


def _newton(arcs: Arcs, u: NDArray, a: NDArray, b: NDArray) -> NDArray:
    """Maximise sum a_i u_i + sum b_j v_j(u) on the arcs, v_j the smoothed minimum of c - u, while the smoothing
    shrinks.
    """
    from scipy.linalg import cho_factor, cho_solve

    share, mass, matrix = np.empty(len(arcs.rows)), np.empty(len(u)), np.empty((len(u), len(u)))

    def dual(w: NDArray, eps: float) -> float:
        return float(kernels.smooth_dual(arcs.starts, arcs.rows, arcs.costs, w, b, eps, share, mass) + a @ w)

    for eps in np.geomspace(SMOOTH[1], SMOOTH[2], NEWTON_STEPS):
        value = dual(u, eps)
        gradient = a - mass
        kernels.curvature(arcs.starts, arcs.rows, share, b, mass, matrix)
        matrix += a.mean() / len(u)  # adding one number to all potentials changes nothing: pin it
        matrix[np.diag_indices(len(u))] += 1e-3 * a.mean()  # rows that no other touches would be free
        direction = eps * cho_solve(cho_factor(matrix, lower=True, check_finite=False), gradient, check_finite=False)
        slope, length = float(gradient @ direction), 1.0
        while dual(u + length * direction, eps) < value + 1e-4 * length * slope and length > 1e-3:
            length /= 2
        u = u + length * direction
    return u


def _exact(passes: _Pass, arcs: Arcs, u: NDArray, a: NDArray, b: NDArray, gap: float) -> Solution:
    """Network simplex on few arcs, all arcs priced, violated ones added, until the certified gap closes."""
    m, n = len(a), len(b)
    best, low, margin, third = np.empty(n, np.int64), np.empty(n), np.empty(n), np.empty(n)
    kernels.best_arcs(arcs.starts, arcs.rows, arcs.costs, u, best, low, margin, third)
    settled = _settle(np.where(best >= 0, arcs.rows[best], -1), margin, a, b)
    home, home_cost = np.where(settled, arcs.rows[best], -1), np.where(settled, arcs.costs[best], 0.0)
    reduced = arcs.costs - u[arcs.rows] - np.repeat(low, np.diff(arcs.starts))
    wanted = SOLVED_PER_COLUMN * n
    limit = np.partition(reduced, wanted)[wanted] if wanted < len(reduced) else np.inf
    few = reduced <= np.maximum(limit, third)[arcs.column()]
    rows, columns, costs = arcs.rows[few], arcs.column()[few], arcs.costs[few]
    top, bottom, duals = math.inf, -math.inf, (u, low)
    plan = (rows, columns, rows)
    for count in range(1, MOST_ROUNDS + 1):
        free = home < 0
        stays = np.flatnonzero(~free)
        left = a - np.bincount(home[stays], b[stays], m).astype(np.int64)
        place = np.cumsum(free) - 1
        loose = free[columns]
        active = np.flatnonzero(left > 0)
        seat = np.cumsum(left > 0) - 1
        loose &= left[rows] > 0
        stair_rows, stair_columns = _staircase(left[active], b[free], u[active], low[free])
        stair_costs = passes.costs.arcs(active[stair_rows], np.flatnonzero(free)[stair_columns]) / passes.unit
        part = by_column(
            np.concatenate([seat[rows[loose]], stair_rows]),
            np.concatenate([place[columns[loose]], stair_columns]),
            np.concatenate([costs[loose], stair_costs]),
            int(free.sum()),
        )
        flow = solve_sparse(left[active], b[free], part.rows, part.column(), part.costs)
        value = float(b[stays] @ home_cost[stays]) + float(
            flow.mass @ (passes.costs.arcs(active[flow.rows], np.flatnonzero(free)[flow.columns]) / passes.unit)
        )
        if value < top:
            top = value
            plan = (
                np.concatenate([home[stays], active[flow.rows]]),
                np.concatenate([stays, np.flatnonzero(free)[flow.columns]]),
                np.concatenate([b[stays], flow.mass]),
            )
        trial = u.copy()  # the solver's potentials are free up to one number; rows without a free column keep theirs
        trial[active] = flow.u + float(np.median(u[active] - flow.u))
        # a potential that jumps was not held by the few arcs: its old value may be the better one
        held = np.where(np.abs(trial - u) > JUMP, u, trial)
        for guess in (held, trial) if (held != trial).any() else (trial,):
            v = passes.column_minima(guess)
            first = passes.row_minima(v)  # a second transform never loses
            reached = float(a @ first + b @ v)
            if reached > bottom:
                bottom, duals = reached, (first, v)
            if top - bottom <= gap * top:
                return Solution(*plan, duals[0] * passes.unit, duals[1] * passes.unit, count, len(costs) + len(stays))
        known = np.full(n, np.inf)
        np.minimum.at(known, columns, costs - trial[rows])
        at_home = home_cost[stays] - trial[home[stays]]
        wrong = stays[at_home > known[stays] + 1e-12]
        known[stays] = np.minimum(known[stays], at_home)
        new = _worst(*passes.arcs_below(trial, known, -1e-12), trial, known)
        if not len(new[0]) and not len(wrong):  # what is left is rounding: the certificate of the caller judges it
            return Solution(*plan, duals[0] * passes.unit, duals[1] * passes.unit, count, len(costs) + len(stays))
        released = np.union1d(np.intersect1d(new[1], stays), wrong)
        rows, columns, costs = (
            np.concatenate(part)
            for part in zip((rows, columns, costs), new, (home[released], released, home_cost[released]), strict=True)
        )
        home[released] = -1
        u, low = trial, v
    raise OpenGapError(f"{MOST_ROUNDS} rounds left a relative gap of {(top - bottom) / top:.3g}, above {gap:g}")


def _worst(rows: NDArray, columns: NDArray, costs: NDArray, u: NDArray, v: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """The most violated arcs, few for a column and few for a row: one potential that is off must not bring in all of
    its arcs.
    """
    reduced = costs - u[rows] - v[columns]
    kept = (_rank(columns, reduced) < ADDED_PER_COLUMN) & (_rank(rows, reduced) < ADDED_PER_ROW)
    return rows[kept], columns[kept], costs[kept]


def _rank(group: NDArray, value: NDArray) -> NDArray:
    """Place of each entry among those of its group, by rising value."""
    order = np.lexsort((value, group))
    begins = np.flatnonzero(np.diff(group[order], prepend=-1))
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - np.repeat(begins, np.diff(np.append(begins, len(group))))
    return rank


def _settle(row: NDArray, margin: NDArray, a: NDArray, b: NDArray) -> NDArray:
    """Columns whose mass goes to their best row for good: the clearest first, as long as the row keeps some mass for
    others.
    """
    clear = np.flatnonzero((margin >= SETTLED) & (row >= 0))
    order = clear[np.lexsort((-margin[clear], row[clear]))]
    starts = np.flatnonzero(np.diff(row[order], prepend=-1))
    running = np.cumsum(b[order])
    before = (
        np.repeat(running[starts] - b[order[starts]], np.diff(np.append(starts, len(order)))) if len(order) else running
    )
    settled = np.zeros(len(row), bool)
    settled[order[running - before <= KEPT * a[row[order]]]] = True
    if settled.all():  # cannot be: sums are equal and every row keeps some
        settled[:] = False
    return settled


def _staircase(a: NDArray, b: NDArray, u: NDArray, v: NDArray) -> tuple[NDArray, NDArray]:
    """Arcs of the north-west corner rule, rows by rising u and columns by falling v: they carry a plan and connect all
    points.
    """
    rows, columns = np.argsort(u, kind="stable"), np.argsort(-v, kind="stable")
    ends_a, ends_b = np.cumsum(a[rows]), np.cumsum(b[columns])
    begins = np.unique(np.concatenate([[0], ends_a[:-1], ends_b[:-1]]))
    i, j = np.searchsorted(ends_a, begins, side="right"), np.searchsorted(ends_b, begins, side="right")
    tie = np.flatnonzero(
        (np.diff(i) > 0) & (np.diff(j) > 0)
    )  # both end at once: one more arc keeps the two parts connected
    return np.concatenate([rows[i], rows[i[tie]]]), np.concatenate([columns[j], columns[j[tie + 1]]])
