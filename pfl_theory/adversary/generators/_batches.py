"""Batch sizes: 1, D = m, beyond m, the exact expectation; with replacement or without."""

from __future__ import annotations

import numpy as np

from ...algorithms.per_fedavg import PerFedAvg
from . import _sizes


def algorithm(rng: np.random.Generator, alpha: float, m: int) -> PerFedAvg:
    """Exact Per-FedAvg, every so often another variant or another alpha."""
    replace = bool(rng.random() < 0.55)
    largest = 2 if replace else m + int(rng.random() < 0.1)
    sizes = [None if rng.random() < 0.25 else int(rng.integers(1, largest + 1)) for _ in range(3)]
    if not replace and rng.random() < 0.2:
        sizes = [m, m, m]
    own = alpha * (1 + 2.0**-50) if rng.random() < 0.05 else alpha
    variant = _sizes.pick(rng, ("exact",) * 12 + ("first-order",))
    return PerFedAvg(own, 0.1, 1, 1.0, sizes[0], sizes[1], sizes[2], variant, None, replace)
