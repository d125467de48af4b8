"""gamma_H(w)^2 against 4 L^2 M, L^2 M for convex losses, and diameters of the Hessians that change mass."""

from __future__ import annotations

from typing import Any

from ..mathematics import rows as on_rows
from ..mathematics import spread
from ..mathematics.distances import mean_square_tv, total_variation
from ..mathematics.hypotheses import constant, convex
from ..real import ZERO, average, minus, operator_norm, real, reals
from ..ruling import Pair, Ruling, refused
from .tv_gradient import hypotheses

KINDS = ("rows",)


def rule(version: str, form: str, instance: Any) -> Ruling:
    """A pair a point."""
    applies, stop = hypotheses(instance, ("L_datum", "rho"))
    if form == "convex" and stop is None and convex(instance) is False:
        return refused("the loss is not convex")
    if stop is not None:
        return stop
    if form == "convex" and convex(instance) is None:
        applies = None
    problem = instance.problem
    laws = spread.laws(problem)
    m, _ = mean_square_tv(laws)
    rows, pairs = spread.single(problem, laws), []
    for w in map(reals, instance.points):
        left = spread.hessian_spread(problem, w)
        if version == "paper" or form == "convex":
            right = (4 if version == "paper" else 1) * constant(instance, "L_datum") ** 2 * m
        else:
            h = [on_rows.hessian(problem.loss, 0, w, row) for row in rows]
            middle, squares = laws.middle, []
            for own in laws.masses:
                reach = ZERO
                for i, (a, b) in enumerate(zip(own, middle, strict=True)):
                    for j, (c, d) in enumerate(zip(own, middle, strict=True)):
                        if a > b and c < d:
                            reach = max(reach, operator_norm([minus(u, v) for u, v in zip(h[i], h[j], strict=True)]))
                squares.append((real(total_variation(own, middle)) * reach) ** 2)
            right = average(squares)
        pairs.append(Pair(left, right))
    return Ruling(applies, pairs=pairs)
