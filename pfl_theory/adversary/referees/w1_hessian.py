"""gamma_H(w)^2 against rho_Z^2 M, M of the 1-Wasserstein distance with labels priced or of the features alone."""

from __future__ import annotations

from typing import Any

from ..mathematics import rows as on_rows
from ..mathematics import spread
from ..mathematics.distances import costs, laws_of, mean_square_w1
from ..mathematics.hypotheses import constant
from ..real import real, reals
from ..ruling import Pair, Ruling, refused
from .tv_gradient import hypotheses
from .w1_gradient import GRID, _price

KINDS = ("rows",)


def rule(version: str, form: str, instance: Any) -> Ruling:
    """A pair a point."""
    problem = instance.problem
    if problem.kind == "rows" and on_rows.name_of(problem.loss) in ("LeastSquares", "LogCosh regression"):
        return refused("targets are real numbers: no price of a class")
    applies, stop = hypotheses(instance, ("lip_hessian_z", "L_datum", "rho"))
    if stop is not None:
        return stop
    price = None
    if version == "paper":
        price = _price(problem, instance.ball)
        if price is None:
            return refused("the labelled metric has no price")
    kappa = None if price is None else price.kappa
    laws = laws_of(problem.federation, labels=kappa is not None)
    m, _ = mean_square_w1(laws, costs(laws, real(problem.federation.scale), kappa))
    right, loose = constant(instance, "lip_hessian_z") ** 2 * m, 1e-8
    if kappa is not None:  # any price is valid here, and the package's is rounded within GRID
        right, loose = right * (1 - real(GRID)), 2 * GRID
    return Ruling(
        applies, pairs=[Pair(spread.hessian_spread(problem, w), right, loose) for w in map(reals, instance.points)]
    )
