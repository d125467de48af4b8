"""Lemma 4.4: the spread of the meta-gradients against gamma_G and gamma_H."""

from __future__ import annotations

from typing import Any

from ..mathematics.hypotheses import broken, constant, of_form, worst
from ..mathematics.lines import gamma, lines_of
from ..real import average, real
from ..ruling import Pair, Ruling, refused, unsettled

KINDS = ("curves",)


def rule(version: str, form: str, instance: Any) -> Ruling:
    """The largest spread over the points; users are curves."""
    if instance.problem.kind != "curves":
        return refused("users are not piecewise functions of one variable")
    answers = of_form(version, form, instance)
    applies = worst(*answers.values())
    if applies is False:
        return refused(broken(answers))
    if instance.points is None:
        return unsettled("no points")
    lines, alpha = lines_of(instance.problem), real(instance.alpha)
    L, B = constant(instance, "L"), constant(instance, "B")
    gamma_g, gamma_h = gamma(lines)
    left = 0
    for w in instance.points:
        slopes = [line.meta_first(real(w[0]), alpha) for line in lines]
        middle = average(slopes)
        left = max(left, average([(s - middle) ** 2 for s in slopes]))
    bent, a = alpha * B * gamma_h, 1 + alpha * L
    if version == "paper":
        right = 3 * bent**2 + 192 * gamma_g**2
    elif form == "":
        right = (a * a * gamma_g + bent) ** 2
    else:
        right = min(a * gamma_g + bent, gamma_g + 2 * bent) ** 2
    return Ruling(applies, pairs=[Pair(left, right)])
