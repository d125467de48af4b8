"""The local steps of Algorithm 1, for the users that take part in a round.

Three routes to the same numbers: the general kernel (rows, batches of row indices), Gram steps (losses of one margin
with exact expectations), and NumPy for problems made from functions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, require
from ..kernels.jit import chunks, driver_for, kernel, over_users
from ..kernels.philox import draw, stream_key
from ..kernels.simd import fetch_ahead, weighted_rows
from ..losses import dispatch
from ..losses.margin import add_span, margins
from ..problems.functions import FunctionOracle
from ..problems.problem import Problem
from ..problems.rows import LARGEST_GRAM, RowOracle

LANES = 8  # elementwise loops of the Gram steps run over a multiple: without it the last rows are done one by one
EXACT, FIRST_ORDER, HESSIAN_FREE, PLAIN = 0, 1, 2, 3  # PLAIN: one stochastic gradient step (FedAvg)
INNER, OUTER, HESSIAN = 0, 1, 2  # the three batches D, D', D''

_gradient, _hvp, _dphi, _d2phi = dispatch.gradient, dispatch.hvp, dispatch.dphi, dispatch.d2phi


class LocalPlan(NamedTuple):
    """What a user does in a round; batch size 0 means the exact expectation."""

    alpha: float
    beta: float
    local_steps: int
    variant: int
    delta: float
    batch_inner: int
    batch_outer: int
    batch_hessian: int
    replace: bool


@kernel
def row_steps(  # type: ignore[no-untyped-def]
    loss, x, y, scale, weights, cumulative, offsets, users, start, plan, key, round_, first, last, total, final
):
    """Users[first:last] take their local steps. `total[t]` gains the iterates before step t (last row: after all);
    `final[s]` becomes the end point."""
    d = start.shape[1]
    tau, trace = plan.local_steps, total.shape[0] > 1
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
    order = np.arange(largest if not plan.replace else 0)
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
                    draw(
                        key, round_, i, 3 * t + OUTER, lo, hi, cumulative, sizes[OUTER], plan.replace, order, rows, coef
                    )
                _gradient(loss, i, x, y, scale, rows, coef, w, g)
                for j in range(d):
                    w[j] -= plan.beta * g[j]
                continue
            if sizes[INNER] > 0:
                rows, coef = drawn[: sizes[INNER]], even[: sizes[INNER]]
                draw(key, round_, i, 3 * t + INNER, lo, hi, cumulative, sizes[INNER], plan.replace, order, rows, coef)
            _gradient(loss, i, x, y, scale, rows, coef, w, g)
            for j in range(d):
                adapted[j] = w[j] - plan.alpha * g[j]
            rows, coef = everything, share
            if sizes[OUTER] > 0:
                rows, coef = drawn[: sizes[OUTER]], even[: sizes[OUTER]]
                draw(key, round_, i, 3 * t + OUTER, lo, hi, cumulative, sizes[OUTER], plan.replace, order, rows, coef)
            _gradient(loss, i, x, y, scale, rows, coef, adapted, v)
            if plan.variant != FIRST_ORDER:
                rows, coef = everything, share
                if sizes[HESSIAN] > 0:
                    rows, coef = drawn[: sizes[HESSIAN]], even[: sizes[HESSIAN]]
                    draw(
                        key,
                        round_,
                        i,
                        3 * t + HESSIAN,
                        lo,
                        hi,
                        cumulative,
                        sizes[HESSIAN],
                        plan.replace,
                        order,
                        rows,
                        coef,
                    )
                if plan.variant == EXACT:
                    _hvp(loss, i, x, y, scale, rows, coef, w, v, h)
                else:
                    for j in range(d):
                        moved[j] = w[j] + plan.delta * v[j]
                    _gradient(loss, i, x, y, scale, rows, coef, moved, h)
                    for j in range(d):
                        moved[j] = w[j] - plan.delta * v[j]
                    _gradient(loss, i, x, y, scale, rows, coef, moved, g)
                    for j in range(d):
                        h[j] = (h[j] - g[j]) / (2.0 * plan.delta)
                for j in range(d):
                    v[j] -= plan.alpha * h[j]
            for j in range(d):
                w[j] -= plan.beta * v[j]
        for j in range(d):
            total[total.shape[0] - 1, j] += w[j]
        if final.shape[0] > 0:
            for j in range(d):
                final[s, j] = w[j]


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


def local_steps(
    problem: Problem,
    users: NDArray,
    start: NDArray,
    plan: LocalPlan,
    *,
    seed: int,
    round_: int,
    trace: bool = False,
    keep: bool = False,
) -> tuple[NDArray, NDArray]:
    """Local steps of `users` from `start`.

    Parameters
    ----------
    users : ndarray of int, shape (m,)
        Users that take part, increasing.
    start : ndarray, shape (1, d) or (n, d)
        Where they start: w_k, or a model of each user's own.
    plan : LocalPlan
    seed, round_ : int
        Name the random streams together with user and step.
    trace : bool
        Whether to return the average before every step as well.
    keep : bool
        Whether to return every user's end point.

    Returns
    -------
    path : ndarray, shape (tau + 1, d) if `trace` else (1, d)
        wbar_{k+1, t} for t = 0 .. tau, or only the last one.
    final : ndarray, shape (m, d) if `keep` else (0, d)
    """
    oracle = problem.oracle
    if isinstance(oracle, FunctionOracle):
        return _function_steps(oracle, users, start, plan, seed, round_, trace, keep)
    if plan.batch_inner == plan.batch_outer == plan.batch_hessian == 0 and oracle.gram is not None:
        steps, data = driver_for(gram_steps, oracle.record), _gram_arguments(oracle, users, start, plan)
        return _by_chunks(oracle, users, plan, trace, keep, lambda *piece: steps(*data, *piece), 4.0)
    check_batches(oracle, plan)
    key, steps = stream_key(seed, "batches"), driver_for(row_steps, oracle.record)
    rows = (
        oracle.record,
        oracle.x,
        oracle.y,
        oracle.scale,
        oracle.weights,
        oracle.cumulative,
        oracle.fed.offsets,
        users,
        start,
        plan,
        key,
        round_,
    )
    return _by_chunks(oracle, users, plan, trace, keep, lambda *piece: steps(*rows, *piece), 7.0 * plan.local_steps)


def _gram_arguments(oracle: RowOracle, users: NDArray, start: NDArray, plan: LocalPlan):  # type: ignore[no-untyped-def]
    assert oracle.gram is not None
    rows = (oracle.x.reshape(-1), oracle.y, oracle.scale, oracle.weights, oracle.fed.offsets)
    return oracle.record, *rows, *oracle.gram, users, start, oracle.loss.span_l2(), plan


def _by_chunks(oracle: RowOracle, users: NDArray, plan: LocalPlan, trace: bool, keep: bool, call, passes: float):  # type: ignore[no-untyped-def]
    """Run `call(first, last, total, final)` over chunks of users; sums over users in the fixed order of the chunks."""
    batch = max(plan.batch_inner, plan.batch_outer, plan.batch_hessian)
    mean_rows = batch or float(oracle.fed.sizes.mean())
    pieces = chunks(len(users), passes * len(users) * mean_rows * oracle.dim)
    totals = np.zeros((len(pieces), plan.local_steps + 1 if trace else 1, oracle.dim), oracle.dtype)
    final = np.empty((len(users) if keep else 0, oracle.dim), oracle.dtype)
    over_users(lambda piece, first, last: call(first, last, totals[piece], final), pieces)
    path = totals[0]
    for more in totals[1:]:
        path = path + more
    return path / len(users), final


def check_batches(oracle: RowOracle, plan: LocalPlan) -> None:
    """Draws without replacement need enough rows of equal weight."""
    largest = max(plan.batch_inner, plan.batch_outer, plan.batch_hessian)
    if plan.replace or largest == 0:
        return
    smallest = int(oracle.fed.sizes.min())
    require(
        largest <= smallest,
        f"a batch of {largest} without replacement, but user {int(oracle.fed.sizes.argmin())} has {smallest}; use a "
        "smaller one or replace=True",
    )
    require(oracle.uniform, "batches without replacement need users that weigh their rows equally; use replace=True")


def _function_steps(
    oracle: FunctionOracle,
    users: NDArray,
    start: NDArray,
    plan: LocalPlan,
    seed: int,
    round_: int,
    trace: bool,
    keep: bool,
) -> tuple[NDArray, NDArray]:
    """Algorithm 1 on callables: all users step (a callable takes (n, d) points), those that take part are averaged."""
    if oracle.exact_only and max(plan.batch_inner, plan.batch_outer, plan.batch_hessian) > 0:
        raise InputError(f"batches: {oracle.exact_only}; use exact expectations (batch=None)")
    if plan.variant == EXACT and not oracle.has_hvp:
        raise InputError(
            "from_functions: no hvp and no hessian were given; give hvp=, or use variant='first-order' or "
            "'hessian-free'"
        )
    w = np.array(np.broadcast_to(start, (oracle.n_users, oracle.dim)), dtype=np.float64)
    noise = oracle.noise
    path = []

    def rng(t: int, which: int) -> np.random.Generator:
        return np.random.Generator(
            np.random.Philox(key=[int(stream_key(seed, "function noise")), round_], counter=[t, which, 0, 0])
        )

    def gradient(at: NDArray, t: int, which: int, size: int) -> NDArray:
        g = oracle.gradient(at)
        if size and noise is not None and noise.gradient is not None:
            generator = rng(t, which)
            g = g + np.mean([noise.gradient(generator, at) for _ in range(size)], axis=0)
        return g

    for t in range(plan.local_steps):
        path.append(w[users].mean(0))
        if plan.variant == PLAIN:
            w = w - plan.beta * gradient(w, t, OUTER, plan.batch_outer)
            continue
        adapted = w - plan.alpha * gradient(w, t, INNER, plan.batch_inner)
        v = gradient(adapted, t, OUTER, plan.batch_outer)
        direction = v
        if plan.variant == EXACT:
            h = oracle.hvp(w, v)
            if plan.batch_hessian and noise is not None and noise.hvp is not None:
                generator = rng(t, HESSIAN)
                h = h + np.mean([noise.hvp(generator, w, v) for _ in range(plan.batch_hessian)], axis=0)
            direction = v - plan.alpha * h
        elif plan.variant == HESSIAN_FREE:  # both points see the same draws
            ahead = gradient(w + plan.delta * v, t, HESSIAN, plan.batch_hessian)
            behind = gradient(w - plan.delta * v, t, HESSIAN, plan.batch_hessian)
            direction = v - plan.alpha * (ahead - behind) / (2 * plan.delta)
        w = w - plan.beta * direction
    path.append(w[users].mean(0))
    return (np.array(path) if trace else np.array(path[-1:])), (w[users] if keep else np.empty((0, oracle.dim)))
