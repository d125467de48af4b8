"""The step delta of the Hessian-free difference."""

from __future__ import annotations

import numpy as np

from ...kernels.jit import helper
from .plan import BY_ROUNDING


@helper
def square(v):  # type: ignore[no-untyped-def]
    """||v||^2, in double precision."""
    total = 0.0
    for j in range(len(v)):
        total += np.float64(v[j]) * np.float64(v[j])
    return total


@helper
def step_by_rounding(square_w, square_v, like):  # type: ignore[no-untyped-def]
    """delta with delta ||v|| = u^(1/3) (1 + ||w||), u the unit roundoff of `like`: docs/theory/networks.md#5-14-step.

    Where v = 0 any step gives the product 0.
    """
    unit = 2.0**-24 if like.itemsize == 4 else 2.0**-53
    if square_v == 0.0:
        return 1.0
    return unit ** (1 / 3) * (1.0 + np.sqrt(square_w)) / np.sqrt(square_v)


@helper
def difference_step(delta, w, v):  # type: ignore[no-untyped-def]
    """The given `delta`, or the one by the rule where the plan leaves it open."""
    if delta != BY_ROUNDING:
        return delta
    return step_by_rounding(square(w), square(v), w)
