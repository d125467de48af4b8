"""Function route: problems made from Python callables, in NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, require
from ...kernels.philox import stream_key
from ...problems.functions import FunctionOracle
from .plan import EXACT, HESSIAN, HESSIAN_FREE, INNER, OUTER, PLAIN, WITH_REPLACEMENT, LocalPlan

PRIORITY = 0


def fits(oracle: object, plan: LocalPlan) -> bool:
    """Functions, piecewise ones included."""
    return isinstance(oracle, FunctionOracle)


def steps(
    oracle: FunctionOracle,
    users: NDArray,
    start: NDArray,
    plan: LocalPlan,
    *,
    seed: int,
    round_: int,
    trace: bool,
    keep: bool,
) -> tuple[NDArray, NDArray]:
    """Algorithm 1 on callables: all users step (a callable takes (n, d) points), those that take part are averaged."""
    require(plan.epochs == 0, "functions have no rows to go through; count local_steps instead of epochs")
    if oracle.exact_only and plan.largest_batch > 0:
        raise InputError(f"batches: {oracle.exact_only}; use exact expectations (batch=None)")
    if plan.variant == EXACT and not oracle.has_hvp:
        raise InputError(
            "from_functions: no hvp and no hessian were given; give hvp=, or use variant='first-order' or "
            "'hessian-free'"
        )
    noise, replace = oracle.noise, plan.sampling == WITH_REPLACEMENT
    if noise is not None and not replace and plan.largest_batch:
        require(
            noise.data is not None,
            "batches: noise that is a sampler has no data to draw without replacement; use replace=True",
        )
        noise.data.require_subsets(plan.largest_batch)  # type: ignore[union-attr]
    w = np.array(np.broadcast_to(start, (oracle.n_users, oracle.dim)), dtype=np.float64)
    path = []

    def rng(t: int, which: int) -> np.random.Generator:
        return np.random.Generator(
            np.random.Philox(key=[int(stream_key(seed, "function noise")), round_], counter=[t, which, 0, 0])
        )

    def gradient(at: NDArray, t: int, which: int, size: int) -> NDArray:
        g = oracle.gradient(at)
        if size and noise is not None:
            g = g + noise.batch_gradient(rng(t, which), at, size, replace=replace)
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
            if plan.batch_hessian and noise is not None:
                h = h + noise.batch_hvp(rng(t, HESSIAN), w, v, plan.batch_hessian, replace=replace)
            direction = v - plan.alpha * h
        elif plan.variant == HESSIAN_FREE:  # both points see the same draws
            ahead = gradient(w + plan.delta * v, t, HESSIAN, plan.batch_hessian)
            behind = gradient(w - plan.delta * v, t, HESSIAN, plan.batch_hessian)
            direction = v - plan.alpha * (ahead - behind) / (2 * plan.delta)
        w = w - plan.beta * direction
    path.append(w[users].mean(0))
    return (np.array(path) if trace else np.array(path[-1:])), (w[users] if keep else np.empty((0, oracle.dim)))
