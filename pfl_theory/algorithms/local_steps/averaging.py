"""Users in chunks on threads, and the averages of what they reach."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...kernels.jit import chunks, over_users
from ...problems.rows import RowOracle
from .plan import LocalPlan

Piece = Callable[[int, int, NDArray, NDArray], None]


def by_chunks(
    oracle: RowOracle,
    users: NDArray,
    plan: LocalPlan,
    trace: bool,
    keep: bool,
    call: Piece,
    passes: float,
    width: int | None = None,
) -> tuple[NDArray, NDArray]:
    """Run `call(first, last, total, final)` over chunks of users; sums over users in the fixed order of the chunks.

    `width`: numbers of a point as the kernel holds it; the dimension of w when absent.
    """
    width = width or oracle.dim
    mean_rows = plan.largest_batch or float(oracle.fed.sizes.mean())
    pieces = chunks(len(users), passes * len(users) * mean_rows * oracle.dim)
    totals = np.zeros((len(pieces), plan.local_steps + 1 if trace else 1, width), oracle.dtype)
    final = np.empty((len(users) if keep else 0, width), oracle.dtype)
    over_users(lambda piece, first, last: call(first, last, totals[piece], final), pieces)
    path = totals[0]
    for more in totals[1:]:
        path = path + more
    return path / len(users), final
