"""Epoch route: gradient steps over batches of each user's shuffled rows, a given number of passes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import require
from ...kernels.jit import driver_for, kernel
from ...kernels.philox import shuffle, stream_key
from ...losses import dispatch
from ...problems.rows import RowOracle
from .averaging import by_chunks
from .plan import PLAIN, LocalPlan

PRIORITY = 10

_gradient = dispatch.gradient


@kernel
def epoch_steps(  # type: ignore[no-untyped-def]
    loss, x, y, scale, offsets, users, start, plan, key, round_, first, last, total, final
):
    """Users[first:last] go through their rows `plan.epochs` times, shuffled anew each time; the last batch of an epoch
    holds what is left. `total[0]` gains the end points; `final[s]` becomes one.
    """
    d = start.shape[1]
    w, g = np.empty_like(start[0]), np.empty_like(start[0])
    for s in range(first, last):
        i = users[s]
        lo, m = offsets[i], offsets[i + 1] - offsets[i]
        size = min(plan.batch_outer, m)
        order, coef = np.arange(lo, lo + m), np.empty(size, start.dtype)
        origin = start[i if start.shape[0] > 1 else 0]
        for j in range(d):
            w[j] = origin[j]
        for epoch in range(plan.epochs):
            shuffle(key, round_, i, epoch, m, order)
            for begin in range(0, m, size):
                end = min(begin + size, m)
                for k in range(end - begin):
                    coef[k] = 1.0 / (end - begin)
                _gradient(loss, i, x, y, scale, order[begin:end], coef[: end - begin], w, g)
                for j in range(d):
                    w[j] -= plan.beta * g[j]
        for j in range(d):
            total[0, j] += w[j]
        if final.shape[0] > 0:
            for j in range(d):
                final[s, j] = w[j]


def check_epochs(oracle: RowOracle, plan: LocalPlan, trace: bool) -> None:
    """What work in epochs asks for."""
    require(
        plan.variant == PLAIN and plan.batch_outer > 0, "work in epochs is gradient steps over batches; give batch="
    )
    require(not trace, "users of different sizes take different numbers of steps in an epoch: no average at a step")
    require(oracle.uniform, "epochs need users that weigh their rows equally; count local_steps and use replace=True")


def passes_of(oracle: RowOracle, plan: LocalPlan) -> float:
    """Passes over a batch that a user makes, of three products each."""
    return 3.0 * plan.epochs * float(oracle.fed.sizes.mean()) / plan.batch_outer


def fits(oracle: object, plan: LocalPlan) -> bool:
    """Rows, and work counted in epochs."""
    return isinstance(oracle, RowOracle) and plan.epochs > 0


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
    """Epochs of `users`: see :func:`~pfl_theory.algorithms.local_steps.local_steps`."""
    check_epochs(oracle, plan, trace)
    data = (oracle.parameters, oracle.x, oracle.y, oracle.scale, oracle.fed.offsets, users, start, plan)
    driver, key = driver_for(epoch_steps, oracle.parameters), stream_key(seed, "epochs")
    return by_chunks(
        oracle, users, plan, trace, keep, lambda *piece: driver(*data, key, round_, *piece), passes_of(oracle, plan)
    )
