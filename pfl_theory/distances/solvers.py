"""POT's network simplex, called so that none of its defaults can mislead: a plan comes back, or an error."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..rigour.rounding import UNIT

OPTIMAL = 1  # POT's result code
CAPPED = 3  # times that a problem is solved with capped costs
CAP = 1e4  # times the mean reduced cost of the first plan


class SolverError(ArithmeticError):
    """The solver failed, or its result did not pass the certificate. Never bad input: a defect to be reported."""


class OpenGapError(SolverError):
    """What the solver returned is valid, and leaves a gap above the one that was asked for."""


class Flow(NamedTuple):
    """A plan arc by arc, and the solver's potentials."""

    rows: NDArray
    columns: NDArray
    mass: NDArray
    u: NDArray
    v: NDArray


def solve_dense(a: NDArray, b: NDArray, costs: NDArray) -> Flow:
    """Optimal transport between integer masses with all arcs.

    Parameters
    ----------
    a, b : ndarray of int64, shapes (m,) and (n,)
        Positive, equal sums: flows are then exact integers.
    costs : ndarray, shape (m, n)
        Finite.

    Raises
    ------
    SolverError
        A warning, a wrong result code, or marginals that are not exact.
    """
    if len(a) == 1 or len(b) == 1:  # only one plan
        rows, columns = np.divmod(np.arange(costs.size), costs.shape[1])
        return Flow(rows, columns, np.minimum(a[rows], b[columns]), *_star(costs))
    plan, log = _emd(a, b, costs, float(costs.mean()))
    rows, columns = np.nonzero(plan)
    return _checked(a, b, rows, columns, plan[rows, columns], log)


def solve_certified(a: NDArray, b: NDArray, costs: NDArray, gap: float) -> tuple[Flow, NDArray, NDArray]:
    """A plan between all points and potentials that are feasible whatever the solver returned: two c-transforms over
    all pairs.

    POT's tolerance is absolute for costs of mean 1: where a far outlier makes the mean much larger than what is moved,
    a relative gap is left, and potentials as large as the outlier have lost the digits of the others. Then the problem
    is solved again with costs capped a little above the dearest arc of the plan, and with the reduced costs
    ``c - u - v``, capped: potentials of smaller costs are feasible for the larger ones, and a plan that avoids the
    capped arcs costs the same.
    """
    size = math.frexp(float(costs.max(initial=0.0)))[1]
    flow, u, v = _certified(a, b, np.ldexp(costs, -size), gap)  # masses times costs must not overflow
    with np.errstate(over="ignore"):
        return flow, np.ldexp(u, size), np.ldexp(v, size)


def _certified(a: NDArray, b: NDArray, costs: NDArray, gap: float) -> tuple[Flow, NDArray, NDArray]:
    flow = solve_dense(a, b, costs)
    u, v = transforms(costs, flow.v)
    if not _left(flow, costs, u, v) > gap * _value(flow, costs):  # also where a potential is NaN
        return flow, u, v
    for _ in range(CAPPED):
        cap = 4 * float(costs[flow.rows, flow.columns].max())
        if not 0 < cap < costs.max():
            break
        flow, u, v = _better(solve_dense(a, b, np.minimum(costs, cap)), 0.0, flow, u, v, costs)
        if not _left(flow, costs, u, v) > gap * _value(flow, costs):
            return flow, u, v
    open_ = _left(flow, costs, u, v)
    again = solve_dense(a, b, np.minimum(costs - u[:, None] - v, CAP * open_ / float(a.sum())))
    return _better(again, v, flow, u, v, costs)


def _better(
    again: Flow, base: NDArray | float, flow: Flow, u: NDArray, v: NDArray, costs: NDArray
) -> tuple[Flow, NDArray, NDArray]:
    """The cheaper plan, and the potentials that leave less of it open."""
    other = transforms(costs, base + again.v)
    flow = min(flow, again, key=lambda f: _value(f, costs))
    return flow, *min((u, v), other, key=lambda pair: _left(flow, costs, *pair))


def transforms(costs: NDArray, v: NDArray) -> tuple[NDArray, NDArray]:
    """u_i = min_j (c_ij - v_j), then v_j = min_i (c_ij - u_i)."""
    u = (costs - v).min(1)
    return u, (costs - u[:, None]).min(0)


def _value(flow: Flow, costs: NDArray) -> float:
    return float(flow.mass @ costs[flow.rows, flow.columns])


def _left(flow: Flow, costs: NDArray, u: NDArray, v: NDArray) -> float:
    """What potentials leave open of a plan, and what their own size may hide of it."""
    left = costs[flow.rows, flow.columns] - u[flow.rows] - v[flow.columns]
    hidden = UNIT * (np.abs(u[flow.rows]) + np.abs(v[flow.columns]))
    return float(flow.mass @ (np.abs(left) + hidden))


def solve_sparse(a: NDArray, b: NDArray, rows: NDArray, columns: NDArray, costs: NDArray) -> Flow:
    """The same with few arcs, each given once."""
    from scipy.sparse import coo_array

    # explicit zeros are arcs too: coo_array of triplets keeps them, coo_array of a matrix would drop them
    arcs = coo_array((costs, (rows, columns)), shape=(len(a), len(b)))
    plan, log = _emd(a, b, arcs, float(costs.mean()))
    moved = plan.data != 0
    return _checked(a, b, plan.row[moved].astype(np.int64), plan.col[moved].astype(np.int64), plan.data[moved], log)


def _star(costs: NDArray) -> tuple[NDArray, NDArray]:
    return (np.zeros(1), costs[0].copy()) if costs.shape[0] == 1 else (costs[:, 0].copy(), np.zeros(1))


def _emd(a: NDArray, b: NDArray, costs: Any, mean: float) -> tuple[Any, dict[str, Any]]:
    """ot.emd with exact masses, costs of mean 1 (its tolerance is absolute), no limit of iterations, a warning is an
    error.
    """
    import ot

    unit = mean if mean > 0 else 1.0
    # masses as integers times a power of two, in all about 1: as exact as the integers, and small against POT's
    # absolute tolerances
    shift = -int(a.sum()).bit_length()
    masses = [np.ldexp(m.astype(np.float64), shift) for m in (a, b)]
    # the filters of `warnings` belong to all threads: POT's warning is read from its log instead
    plan, log = ot.emd(*masses, costs / unit, numItermax=10**9, log=True)
    if log["result_code"] != OPTIMAL or log["warning"] is not None:
        raise SolverError(
            f"POT ended with result code {log['result_code']} on {len(a)} x {len(b)} points: {log['warning']}"
        )
    return plan * np.ldexp(1.0, -shift), {"u": log["u"] * unit, "v": log["v"] * unit}


def _checked(a: NDArray, b: NDArray, rows: NDArray, columns: NDArray, mass: NDArray, log: dict[str, Any]) -> Flow:
    """Flows as integers. POT computes b * sum(a) / sum(b) in floats: that moves masses of at most 2^46 by 2^-6 in
    all.
    """
    whole = np.rint(mass).astype(np.int64)
    exact = (np.abs(whole - mass) <= 2.0**-5).all() and (whole >= 0).all()
    exact = exact and (np.bincount(rows, whole, len(a)) == a).all() and (np.bincount(columns, whole, len(b)) == b).all()
    if not exact:
        raise SolverError(f"POT's plan between {len(a)} x {len(b)} points does not have the given marginals")
    used = whole > 0
    return Flow(
        rows[used], columns[used], whole[used], np.asarray(log["u"], np.float64), np.asarray(log["v"], np.float64)
    )
