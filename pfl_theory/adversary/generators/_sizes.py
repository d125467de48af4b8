"""Sizes that go wrong: tiny, huge, equal, an ulp apart, at a limit and beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPS = (0.0, 0.3, 0.5, 1 - 1e-12, 1.0, 1 + 1e-9, 1.5, 3.0)  # alpha L


def scale(rng: np.random.Generator) -> float:
    """1 every other time, else between 1e-8 and 1e8."""
    return 1.0 if rng.random() < 0.5 else float(10.0 ** rng.uniform(-8, 8))


def mild_scale(rng: np.random.Generator) -> float:
    """1 every other time, else between 1e-2 and 1e2."""
    return 1.0 if rng.random() < 0.5 else float(10.0 ** rng.uniform(-2, 2))


def step(rng: np.random.Generator, L: float) -> float:
    """An inner step at or beside a limit of alpha L; 0 for straight functions every other time."""
    share = float(rng.choice(STEPS)) if rng.random() < 0.7 else float(rng.uniform(0, 1))
    return share / L if L > 0 else float(rng.choice([0.0, 1.0]))


def pick(rng: np.random.Generator, values: Sequence[Any]) -> Any:
    """One of several things."""
    return values[int(rng.integers(len(values)))]


def weights(rng: np.random.Generator, m: int) -> NDArray:
    """m probabilities: equal, or from 1 down to 1e-12; they sum to 1 up to rounding."""
    if m == 1 or rng.random() < 0.5:
        return np.full(m, 1.0 / m)
    w = 10.0 ** (-12.0 * rng.uniform(0, 1, m) * (rng.random() < 0.5)) * rng.uniform(0.1, 1, m)
    return w / w.sum()


def beside(rng: np.random.Generator, places: NDArray) -> float:
    """One of these places, or the float beside it."""
    at = float(rng.choice(places))
    return float(rng.choice([at, np.nextafter(at, np.inf), np.nextafter(at, -np.inf)]))


def on_grid(values: NDArray, unit: float) -> NDArray:
    """Multiples of a power of two, about a thousandth of the unit: sums of a few of them round nothing."""
    step = 2.0 ** (np.floor(np.log2(unit)) - 10)
    return np.asarray(np.round(values / step) * step)
