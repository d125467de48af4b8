"""Row route: any loss, any batches, any variant."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...kernels.jit import driver_for, kernel
from ...kernels.philox import draw, stream_key
from ...losses import dispatch
from ...problems.rows import RowOracle
from .averaging import by_chunks
from .difference import difference_step
from .plan import EXACT, FIRST_ORDER, HESSIAN, INNER, OUTER, PLAIN, WITH_REPLACEMENT, LocalPlan, check_batches

PRIORITY = 0

_gradient, _hvp = dispatch.gradient, dispatch.hvp


@kernel
def row_steps(  # type: ignore[no-untyped-def]
    loss, x, y, scale, weights, cumulative, offsets, users, start, plan, key, round_, first, last, total, final
):
    """Users[first:last] take their local steps. `total[t]` gains the iterates before step t (last row: after all);
    `final[s]` becomes the end point."""
    d = start.shape[1]
    tau, trace = plan.local_steps, total.shape[0] > 1
    replace = plan.sampling == WITH_REPLACEMENT
    w, adapted, g, v, h, moved = (
        np.empty_like(start[0]),
        np.empty_like(start[0]),
        np.empty_like(start[0]),
        np.empty_like(start[0]),
        np.empty_like(start[0]),
        np.empty_like(start[0]),
    )
    sizes = (plan.batch_inner, plan.batch_outer, plan.batch_hessian)
    largest = 0
    for s in range(first, last):
        largest = max(largest, offsets[users[s] + 1] - offsets[users[s]])
    order = np.arange(0 if replace else largest)
    batch = max(sizes[0], max(sizes[1], sizes[2]))
    drawn, even = np.empty(batch, np.int64), np.empty(batch, weights.dtype)
    for s in range(first, last):
        i = users[s]
        lo, hi = offsets[i], offsets[i + 1]
        everything, share = np.arange(lo, hi), weights[lo:hi]
        origin = start[i if start.shape[0] > 1 else 0]
        for j in range(d):
            w[j] = origin[j]
        for t in range(tau):
            if trace:
                for j in range(d):
                    total[t, j] += w[j]
            rows, coef = everything, share
            if plan.variant == PLAIN:
                if sizes[OUTER] > 0:
                    rows, coef = drawn[: sizes[OUTER]], even[: sizes[OUTER]]
                    draw(key, round_, i, 3 * t + OUTER, lo, hi, cumulative, sizes[OUTER], replace, order, rows, coef)
                _gradient(loss, i, x, y, scale, rows, coef, w, g)
                for j in range(d):
                    w[j] -= plan.beta * g[j]
                continue
            if sizes[INNER] > 0:
                rows, coef = drawn[: sizes[INNER]], even[: sizes[INNER]]
                draw(key, round_, i, 3 * t + INNER, lo, hi, cumulative, sizes[INNER], replace, order, rows, coef)
            _gradient(loss, i, x, y, scale, rows, coef, w, g)
            for j in range(d):
                adapted[j] = w[j] - plan.alpha * g[j]
            rows, coef = everything, share
            if sizes[OUTER] > 0:
                rows, coef = drawn[: sizes[OUTER]], even[: sizes[OUTER]]
                draw(key, round_, i, 3 * t + OUTER, lo, hi, cumulative, sizes[OUTER], replace, order, rows, coef)
            _gradient(loss, i, x, y, scale, rows, coef, adapted, v)
            if plan.variant != FIRST_ORDER:
                rows, coef = everything, share
                if sizes[HESSIAN] > 0:
                    rows, coef = drawn[: sizes[HESSIAN]], even[: sizes[HESSIAN]]
                    draw(
                        key, round_, i, 3 * t + HESSIAN, lo, hi, cumulative, sizes[HESSIAN], replace, order, rows, coef
                    )
                if plan.variant == EXACT:
                    _hvp(loss, i, x, y, scale, rows, coef, w, v, h)
                else:
                    delta = difference_step(plan.delta, w, v)
                    for j in range(d):
                        moved[j] = w[j] + delta * v[j]
                    _gradient(loss, i, x, y, scale, rows, coef, moved, h)
                    for j in range(d):
                        moved[j] = w[j] - delta * v[j]
                    _gradient(loss, i, x, y, scale, rows, coef, moved, g)
                    for j in range(d):
                        h[j] = (h[j] - g[j]) / (2.0 * delta)
                for j in range(d):
                    v[j] -= plan.alpha * h[j]
            for j in range(d):
                w[j] -= plan.beta * v[j]
        for j in range(d):
            total[total.shape[0] - 1, j] += w[j]
        if final.shape[0] > 0:
            for j in range(d):
                final[s, j] = w[j]


def fits(oracle: object, plan: LocalPlan) -> bool:
    """Rows, and work counted in steps."""
    return isinstance(oracle, RowOracle) and plan.epochs == 0


def steps(
    oracle: RowOracle,
    users: NDArray,
    start: NDArray,
    plan: LocalPlan,
    *,
    seed: int,
    round_: int,
    trace: bool,
    keep: bool,
) -> tuple[NDArray, NDArray]:
    """Local steps of `users`: see :func:`~pfl_theory.algorithms.local_steps.local_steps`."""
    check_batches(oracle, plan)
    if plan.variant == EXACT:
        oracle.require_operation("hvp", "use variant='first-order' or 'hessian-free'")
    driver, key = driver_for(row_steps, oracle.parameters), stream_key(seed, "batches")
    data = (oracle.parameters, oracle.x, oracle.y, oracle.scale, oracle.weights, oracle.cumulative, oracle.fed.offsets)
    call = (*data, users, start, plan, key, round_)
    return by_chunks(oracle, users, plan, trace, keep, lambda *piece: driver(*call, *piece), 7.0 * plan.local_steps)
