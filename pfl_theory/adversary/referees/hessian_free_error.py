"""The difference that Hessian-free Per-FedAvg puts for H v, against alpha rho delta ||v||^2 and sharper forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..mathematics import rows as on_rows
from ..mathematics.hypotheses import constant
from ..mathematics.lines import lines_of
from ..real import DIGITS, Real, minus, mp, norm, real, reals, times
from ..ruling import Pair, Ruling, refused, unsettled

KINDS = ("hessian_free",)


def rule(version: str, form: str, instance: Any) -> Ruling:
    """A pair for every user at every point; v is the gradient at the adapted point, as the package computes it."""
    algorithm, problem = instance.algorithm, instance.problem
    third_order = form == "third-order"
    if third_order:
        if problem.kind != "rows" or on_rows.name_of(problem.loss) not in ("Cosine", "Logistic"):
            return refused("no Lipschitz constant of the third derivative")
        if on_rows.name_of(problem.loss) == "Logistic" and problem.loss.nonconvex:
            return refused("no Lipschitz constant of the third derivative")
        if None in [constant(instance, name) for name in ("B_datum", "L_datum", "rho")]:
            return refused("a constant has no value")
    elif problem.kind != "curves":
        return refused("users are not piecewise functions of one variable")
    if type(algorithm).__name__ != "PerFedAvg" or algorithm.variant != "hessian-free":
        return refused("not Hessian-free Per-FedAvg")
    if instance.points is None:
        return unsettled("no points")
    # the v of the statement is the vector of floats that the difference is taken along
    vectors = [problem.gradient(problem.adapted(w, instance.alpha)) for w in instance.points]
    make = _of_rows if third_order else _of_lines
    with mp.workdps(DIGITS + _lost(instance.points, vectors, float(algorithm.difference_step))):
        pairs = make(version, instance, vectors, real(instance.alpha), real(algorithm.difference_step))
    return Ruling(True, pairs=pairs)


def _lost(points: Any, vectors: Any, delta: float) -> int:
    """Digits that a difference loses where delta ||v|| is small against w."""
    sizes = np.abs(np.concatenate([np.ravel(v) for v in vectors]))
    least = float(sizes[sizes > 0].min(initial=1.0))
    return int(3 * max(0.0, math.log10(1.0 + float(np.abs(points).max())) - math.log10(delta) - math.log10(least)))


def _of_lines(version: str, instance: Any, vectors: Any, alpha: Real, delta: Real) -> list[Pair]:
    L, rho, pairs = constant(instance, "L"), constant(instance, "rho"), []
    for w, v in zip(instance.points, vectors, strict=True):
        for line, part in zip(lines_of(instance.problem), v, strict=True):
            here, along = real(w[0]), real(part[0])
            difference = (line.first(here + delta * along) - line.first(here - delta * along)) / (2 * delta)
            left, size = abs(difference - line.second(here) * along), abs(along)
            right = rho * delta * size**2
            if version == "sharp":
                right = min(right / 2, 2 * L * size)
            pairs.append(Pair(alpha * left, alpha * right))
    return pairs


def _of_rows(version: str, instance: Any, vectors: Any, alpha: Real, delta: Real) -> list[Pair]:
    loss, pairs = instance.problem.loss, []
    for user in on_rows.user_functions(instance.problem):
        if on_rows.name_of(loss) == "Cosine":
            rho_3 = on_rows.constants(instance.problem, None)["rho"][user.index] / real(loss.c)  # type: ignore[index]
        else:
            rho_3 = on_rows.moment(user.rows, 4) / 8
        for w, v in zip(instance.points, vectors, strict=True):
            here, along = reals(w), reals(v[user.index])
            ahead, behind = minus(here, along, -delta), minus(here, along, delta)
            rise = [r / (2 * delta) for r in minus(user.first(ahead), user.first(behind))]
            left = norm(minus(rise, times(user.second(here), along)))
            pairs.append(Pair(alpha * left, alpha * rho_3 * delta**2 * norm(along) ** 3 / 6))
    return pairs
