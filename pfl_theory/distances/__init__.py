"""How far apart users are: total variation and 1-Wasserstein, exact and certified; sampling noise; lower bounds.

A distance is a function of two measures in a file of its name: a new one is found by itself.
"""

from __future__ import annotations

from ..discovery import functions_named_as_files
from .between_users import UserDistances, all_pairs, between_users, label_shift_w1, to_average
from .noise import NoiseFloor, PopulationInterval, noise_floor, population_interval
from .solvers import SolverError
from .total_variation import (
    EventBound,
    TotalVariation,
    between_label_laws,
    lower_bound_from_event,
    total_variation_fraction,
)
from .w1_lower_bounds import lower_bounds, mean_sliced_factor
from .wasserstein import W1, Potential

_FOUND = functions_named_as_files(__name__, __path__)
globals().update(_FOUND)

__all__ = [
    "W1",
    "EventBound",
    "NoiseFloor",
    "PopulationInterval",
    "Potential",
    "SolverError",
    "TotalVariation",
    "UserDistances",
    "all_pairs",
    "between_label_laws",
    "between_users",
    "label_shift_w1",
    "lower_bound_from_event",
    "lower_bounds",
    "mean_sliced_factor",
    "noise_floor",
    "population_interval",
    "to_average",
    "total_variation_fraction",
    *_FOUND,
]
