"""Algorithms, one file each; a new file that defines a subclass of :class:`~pfl_theory.algorithms.algorithm.Algorithm`
is found by itself.
"""

from __future__ import annotations

from ..discovery import subclasses_in_package
from .algorithm import Algorithm, State
from .runner import adapt, run

_FOUND = subclasses_in_package(__name__, __path__, Algorithm)  # type: ignore[type-abstract]
globals().update(_FOUND)

__all__ = ["Algorithm", "State", "adapt", "run", *_FOUND]
