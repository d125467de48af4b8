"""The direction of first-order Per-FedAvg is off grad F_i by at most alpha L B."""

from __future__ import annotations

from typing import Any

from ..mathematics.hypotheses import constant
from ..mathematics.lines import lines_of
from ..real import real
from ..ruling import Pair, Ruling, refused, unsettled

KINDS = ("curves",)


def rule(version: str, form: str, instance: Any) -> Ruling:
    """The largest |alpha f''(w) f'(w~)| over users and points."""
    if instance.problem.kind != "curves":
        return refused("users are not piecewise functions of one variable")
    if instance.points is None:
        return unsettled("no points")
    alpha = real(instance.alpha)
    left = max(
        abs(alpha * line.second(real(w[0])) * line.first(line.adapted(real(w[0]), alpha)))
        for w in instance.points
        for line in lines_of(instance.problem)
    )
    return Ruling(True, pairs=[Pair(left, alpha * constant(instance, "L") * constant(instance, "B"))])
