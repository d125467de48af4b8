"""Instances that know nothing of how the statements draw their own: one file a kind, ``draw(rng)`` gives an instance.

Only what a user of the package has is used: federations, losses, curves, functions with constants, algorithms.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...discovery import files, load


def names() -> list[str]:
    """Kinds of instances."""
    return files(__path__)


def draw(kind: str, rng: np.random.Generator) -> Any:
    """An instance of a kind."""
    return load(f"{__name__}.{kind}").draw(rng)
