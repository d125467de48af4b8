"""The unit of rounding, and what is equal up to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UNIT = 2.0**-53  # largest relative error of one rounding to nearest in float64
EQUAL_WEIGHTS = 8 * UNIT  # what normalising weights may put between equal ones: a division and a sum near 1


def weigh_equally(weights: NDArray) -> bool:
    """Whether weights are equal up to the rounding of their normalisation.

    Examples
    --------
    >>> weigh_equally(np.full(3, 1 / 3)), weigh_equally(np.array([0.5 + 1e-12, 0.5 - 1e-12]))
    (True, False)
    """
    return bool(np.ptp(weights) <= EQUAL_WEIGHTS * np.max(weights))
