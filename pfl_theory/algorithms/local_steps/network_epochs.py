"""Epochs of a network with hidden layers on rows that are mostly zeros: the batches of ``epochs.py``, the steps of
``network_sparse.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.jit import kernel
from ...kernels.philox import shuffle, stream_key
from ...kernels.slices import copy
from ...kernels.tiles import WIDTH
from ...losses.padded_layers import PADDED, UNITS
from ...problems.rows import RowOracle
from .epochs import check_epochs, passes_of
from .network import on_padded_points, on_sparse_rows, rows_without_zeros
from .network_sparse import add_point, add_rows, add_rows_times
from .network_step import ABOVE, Batches, Workspace, batches_of, label, plain_step
from .plan import LocalPlan

PRIORITY = 20


@kernel
def sparse_epochs(  # type: ignore[no-untyped-def]
    loss, layers, data, y, offsets, users, start, plan, b, space, key, round_, first, last, total, final
):
    """As ``epoch_steps``; points as in ``sparse_steps``."""
    width, inputs = layers[PADDED, 1], layers[UNITS, 0] + 1
    vectors, wide, one = width // WIDTH, inputs * width, start.dtype.type(1.0)
    table, coef = np.empty(wide, start.dtype), np.empty(b.outer, start.dtype)
    for s in range(first, last):
        i = users[s]
        lo, m = offsets[i], offsets[i + 1] - offsets[i]
        size, order = min(b.outer, m), np.arange(lo, lo + m)
        origin = start[i if start.shape[0] > 1 else 0]
        copy(table, origin[:wide])
        copy(space.points[ABOVE], origin[wide:])
        for epoch in range(plan.epochs):
            shuffle(key, round_, i, epoch, m, order)
            for begin in range(0, m, size):
                drawn = order[begin : min(begin + size, m)]
                now = Batches(b.inner, len(drawn), b.hessian, b.inner_at, b.outer_at, b.hessian_at, b.rows)
                coef[: now.outer] = 1.0 / now.outer
                label(loss, y, drawn, coef, b.outer_at, 1.0, space.labels, space.shares)
                space.seen[:] = 0.0
                for k in range(data.tiles):
                    add_rows_times(data, drawn, k, table, width, vectors, space.seen, b.inner_at)
                plain_step(loss, layers, plan, now, space)
                for k in range(data.tiles):
                    add_rows(data, drawn, k, space.move, b.inner_at, width, table, width)
        add_point(table, width, space.points[ABOVE], width, total[0], one)
        if final.shape[0] > 0:
            copy(final[s, :wide], table)
            copy(final[s, wide:], space.points[ABOVE])


def fits(oracle: object, plan: LocalPlan) -> bool:
    """A network with a hidden layer, work counted in epochs, and data that are mostly zeros."""
    return on_sparse_rows(oracle) and plan.epochs > 0


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
    rows = rows_without_zeros(oracle)
    most = int(oracle.fed.sizes.max())  # no batch is larger: no scratch for it
    b = batches_of(plan._replace(batch_outer=min(plan.batch_outer, most)))
    streams = (stream_key(seed, "epochs"), round_)

    def run(layers: NDArray, points: NDArray, space: Workspace, *piece: Any) -> None:
        about = (oracle.y, oracle.fed.offsets, users)
        sparse_epochs(oracle.parameters, layers, rows, *about, points, plan, b, space, *streams, *piece)

    return on_padded_points(oracle, users, start, plan, b, run, passes_of(oracle, plan), trace=trace, keep=keep)
