"""gamma_G(w)^2 against min(4 B^2 M, B^2), and against diameters, radius and largest of the gradients at w."""

from __future__ import annotations

from typing import Any

from ..mathematics import spread
from ..mathematics.distances import enclosing_radius
from ..real import Real, norm
from ..ruling import Ruling
from .tv_gradient import diameter, gradient_pairs

KINDS = ("rows",)
SEARCHED = 0.02  # of the radius that the package finds by 200 steps


def rule(version: str, form: str, instance: Any) -> Ruling:
    """A pair a point."""
    return gradient_pairs(version, instance, lambda B, m: B**2 * min(4 * m, 1), _chain)


def _chain(laws: spread.Laws, m: Real, p: Real, g: list[list[Real]]) -> tuple[Real, float]:
    every = list(range(len(g)))
    others = min(diameter(g, every, every) ** 2 * min(m, p), max(norm(v) for v in g) ** 2)
    radius = enclosing_radius(g) ** 2
    return min(others, radius), 2 * SEARCHED if radius < others else 0.0
