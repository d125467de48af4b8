"""Gram route: exact expectations of a loss of one margin, on the kept Gram matrices of the users' rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...kernels.jit import driver_for, kernel
from ...kernels.simd import fetch_ahead, weighted_rows
from ...losses import dispatch
from ...losses.margin import add_span, margins
from ...problems.rows import LARGEST_GRAM, RowOracle
from .averaging import by_chunks
from .plan import EXACT, FIRST_ORDER, PLAIN, LocalPlan

PRIORITY = 20
LANES = 8  # elementwise loops of the Gram steps run over a multiple: without it the last rows are done one by one

_dphi, _d2phi = dispatch.dphi, dispatch.d2phi


@kernel
def gram_steps(loss, flat, y, scale, weights, offsets, gram, starts, users, start, l2, plan, first, last, total, final):  # type: ignore[no-untyped-def]
    """The same with exact expectations for l = phi(<w, x>, y) + (l2/2)||w||^2, in the span of w_k and the user's rows.

    Every vector is s w_k + X^T c, its margins s X w_k + G c with G = X X^T kept: after one pass over the rows, a local
    step costs two or three products with the small G instead of six with X. `flat` is x as one line of numbers.

    All scratch is one array with parts LARGEST_GRAM apart: so the compiler sees that parts do not overlap. Parts are
    read to whole registers (padded to `lanes`); what stands beyond row m has weight 0 and enters nothing.
    """
    d = start.shape[1]
    tau, trace = plan.local_steps, total.shape[0] > 1
    n = LARGEST_GRAM
    z, part = np.zeros(9 * n), np.empty(d)
    slope, product, v, c = z[5 * n : 6 * n], z[7 * n : 8 * n], z[8 * n :], z[4 * n : 5 * n]
    origin_margin = z[2 * n : 3 * n]
    # parts of z: 0 coef, 1 target, 2 margin of w_k, 3 margin, 4 c, 5 slope (of the gradient at w, with l2 c), 6
    # curvature, 7 product, 8 v
    for s_ in range(first, last):
        i = users[s_]
        lo, m = offsets[i], offsets[i + 1] - offsets[i]
        lanes = (m + LANES - 1) // LANES * LANES
        origin = start[i if start.shape[0] > 1 else 0]
        margins(flat, lo, m, d, scale, origin, origin_margin)
        coef, target = weights[lo : lo + m], y[lo : lo + m]
        for k in range(m):
            z[k], z[n + k] = coef[k], target[k]
        for k in range(m, lanes):
            z[k], z[n + k], z[2 * n + k] = 0.0, 0.0, 0.0
        for k in range(lanes):
            z[3 * n + k], z[4 * n + k], z[7 * n + k] = z[2 * n + k], 0.0, 0.0
        s, vs = 1.0, 0.0  # type: ignore[assignment]
        # while this user's steps run in the first-level cache, memory brings the next user's rows and Gram matrix
        ahead_user = users[min(s_ + 1, last - 1)]
        rows_at, rows_end = offsets[ahead_user] * d, offsets[ahead_user + 1] * d
        gram_at, gram_end = starts[ahead_user], starts[ahead_user + 1]
        for t in range(tau):
            fetch_ahead(
                flat, rows_at + (rows_end - rows_at) * t // tau, rows_at + (rows_end - rows_at) * (t + 1) // tau
            )
            fetch_ahead(
                gram, gram_at + (gram_end - gram_at) * t // tau, gram_at + (gram_end - gram_at) * (t + 1) // tau
            )
            if trace:
                add_span(flat, lo, m, scale, s, c, origin, part, total[t])
            moved = (
                plan.beta if t > 0 else 0.0
            )  # the last step's move reaches the margins here, in the same loop as the slopes
            for k in range(lanes):
                u = z[3 * n + k] - moved * (vs * z[2 * n + k] + z[7 * n + k])
                z[3 * n + k] = u
                z[5 * n + k] = z[k] * _dphi(loss, u, z[n + k]) + l2 * z[4 * n + k]
                z[6 * n + k] = z[k] * _d2phi(loss, u, z[n + k])
            gs = l2 * s
            if plan.variant == PLAIN:
                vs = gs
                for k in range(lanes):
                    z[8 * n + k] = z[5 * n + k]
                    z[4 * n + k] -= plan.beta * z[5 * n + k]
            else:
                weighted_rows(gram, starts[i], m, m, slope, product, m)
                for k in range(lanes):
                    u = z[3 * n + k] - plan.alpha * (gs * z[2 * n + k] + z[7 * n + k])
                    z[8 * n + k] = z[k] * _dphi(loss, u, z[n + k]) + l2 * (z[4 * n + k] - plan.alpha * z[5 * n + k])
                vs = l2 * (s - plan.alpha * gs)
                if plan.variant != FIRST_ORDER:
                    weighted_rows(gram, starts[i], m, m, v, product, m)
                    if plan.variant == EXACT:
                        for k in range(lanes):
                            h = z[6 * n + k] * (vs * z[2 * n + k] + z[7 * n + k]) + l2 * z[8 * n + k]
                            z[8 * n + k] -= plan.alpha * h
                    else:
                        for k in range(lanes):
                            step = plan.delta * (vs * z[2 * n + k] + z[7 * n + k])
                            ahead, behind = (
                                _dphi(loss, z[3 * n + k] + step, z[n + k]),
                                _dphi(loss, z[3 * n + k] - step, z[n + k]),
                            )
                            h = z[k] * (ahead - behind) / (2.0 * plan.delta) + l2 * z[8 * n + k]
                            z[8 * n + k] -= plan.alpha * h
                    vs = vs - plan.alpha * l2 * vs
                for k in range(lanes):
                    z[4 * n + k] -= plan.beta * z[8 * n + k]
            s -= plan.beta * vs
            if t + 1 < tau:
                weighted_rows(gram, starts[i], m, m, v, product, m)
        add_span(flat, lo, m, scale, s, c, origin, part, total[total.shape[0] - 1])
        if final.shape[0] > 0:
            for j in range(d):
                final[s_, j] = 0.0
            add_span(flat, lo, m, scale, s, c, origin, part, final[s_])


def fits(oracle: object, plan: LocalPlan) -> bool:
    """Exact expectations, and Gram matrices that the problem keeps."""
    exact = plan.largest_batch == 0 and plan.epochs == 0
    return isinstance(oracle, RowOracle) and exact and oracle.gram is not None


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
    assert oracle.gram is not None
    rows = (oracle.x.reshape(-1), oracle.y, oracle.scale, oracle.weights, oracle.fed.offsets)
    data = (oracle.parameters, *rows, *oracle.gram, users, start, oracle.loss.span_l2(), plan)
    driver = driver_for(gram_steps, oracle.parameters)
    return by_chunks(oracle, users, plan, trace, keep, lambda *piece: driver(*data, *piece), 4.0)
