"""What statements about users' data compare: spread of gradients and Hessians at a point, and single data."""

from __future__ import annotations

from typing import Any

from ..real import Real, average, mean, minus, mp, norm, operator_norm, reals
from . import rows as on_rows
from .distances import Laws, laws_of


def gradient_spread(problem: Any, w: list[Real]) -> Real:
    """(1/n) sum ||grad f_i - grad f||^2."""
    every = [user.first(w) for user in on_rows.user_functions(problem)]
    middle = mean(every)
    return average(norm(minus(g, middle)) ** 2 for g in every)


def hessian_spread(problem: Any, w: list[Real]) -> Real:
    """(1/n) sum ||Hess f_i - Hess f||^2 in operator norm."""
    every = [user.second(w) for user in on_rows.user_functions(problem)]
    n = len(every)
    middle = [[mp.fsum(h[i][j] for h in every) / n for j in range(len(w))] for i in range(len(w))]
    return average(operator_norm([minus(a, b) for a, b in zip(h, middle, strict=True)]) ** 2 for h in every)


def laws(problem: Any) -> Laws:
    """The users' laws of what the loss can tell apart."""
    return laws_of(problem.federation, labels=on_rows.reads_labels(problem.loss))


def single(problem: Any, found: Laws) -> list[on_rows.Row]:
    """One datum a common point."""
    scale = problem.federation.scale
    return [
        on_rows.Row([mp.mpf(scale) * v for v in reals(x)], None if y is None else reals([y])[0], mp.mpf(1))
        for x, y in found.points
    ]


def own_curvatures(problem: Any) -> bool:
    """Quadratic users with matrices of their own: f_i is then no mean of one loss."""
    return on_rows.name_of(problem.loss) == "Quadratic" and len(problem.loss.A) > 1
