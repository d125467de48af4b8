"""gamma_G(w)^2 against min(4 B^2 M, B^2), and against diameters, radius and largest of the gradients at w."""

from __future__ import annotations

from typing import Any

from ..mathematics import rows as on_rows
from ..mathematics import spread
from ..mathematics.distances import enclosing_radius, mean_square_tv
from ..mathematics.hypotheses import constant
from ..real import norm, reals
from ..ruling import Pair, Ruling
from .tv_gradient import diameter, hypotheses

KINDS = ("rows",)
SEARCHED = 0.02  # of the radius that the package finds by 200 steps


def rule(version: str, form: str, instance: Any) -> Ruling:
    """A pair a point."""
    applies, stop = hypotheses(instance, ("B_datum", "L_datum") if version == "paper" else ("L_datum",))
    if stop is not None:
        return stop
    problem = instance.problem
    laws = spread.laws(problem)
    m, p = mean_square_tv(laws)
    rows, pairs = spread.single(problem, laws), []
    for w in map(reals, instance.points):
        left = spread.gradient_spread(problem, w)
        if version == "paper":
            pairs.append(Pair(left, constant(instance, "B_datum") ** 2 * min(4 * m, 1)))
            continue
        g = [on_rows.gradient(problem.loss, 0, w, row) for row in rows]
        every = list(range(len(g)))
        others = min(diameter(g, every, every) ** 2 * min(m, p), max(norm(v) for v in g) ** 2)
        radius = enclosing_radius(g) ** 2
        pairs.append(Pair(left, min(others, radius), 2 * SEARCHED if radius < others else 0.0))
    return Ruling(applies, pairs=pairs)
