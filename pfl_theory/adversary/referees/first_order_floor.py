"""||grad F|| where first-order Per-FedAvg stands still, or anywhere with its own direction added."""

from __future__ import annotations

from typing import Any

from ..mathematics.hypotheses import broken, constant, of_form, worst
from ..mathematics.lines import gamma, lines_of
from ..real import average, mp, real
from ..ruling import Pair, Ruling, refused, unsettled

KINDS = ("curves", "at_rest")


def rule(version: str, form: str, instance: Any) -> Ruling:
    """A pair a point; the transcribed form takes the largest ||grad F||^2."""
    if instance.problem.kind != "curves":
        return refused("users are not piecewise functions of one variable")
    answers = of_form(version, form, instance)
    if instance.points is None:
        return unsettled("no points") if worst(*answers.values()) is not False else refused("alpha > 1/L or not convex")
    lines, alpha = lines_of(instance.problem), real(instance.alpha)
    L, B = constant(instance, "L"), constant(instance, "B")
    points = [real(w[0]) for w in instance.points]
    directions = [abs(average([f.first(f.adapted(w, alpha)) for f in lines])) for w in points]
    slopes = [abs(average([f.meta_first(w, alpha) for f in lines])) for w in points]
    if version == "paper":
        answers["FO stands still"] = _still(directions, points, lines, alpha, L, B)
    applies = worst(*answers.values())
    if applies is False:
        return refused(broken(answers))
    if version == "paper":
        return Ruling(applies, pairs=[Pair(max(slopes) ** 2, (alpha * L * B) ** 2)], open_constant=True)
    gamma_g, gamma_h = gamma(lines)
    convex_form = form == "convex"
    rest = alpha * min(gamma_h, L / 2 if convex_form else L) * min(B, (1 + alpha * L) * gamma_g)
    a = 1 if convex_form else 1 + alpha * L
    return Ruling(applies, pairs=[Pair(s, a * d + rest) for s, d in zip(slopes, directions, strict=True)])


def _still(directions, points, lines, alpha, L, B) -> bool | None:  # type: ignore[no-untyped-def]
    """True at exactly 0, False beyond any rounding, else within rounding."""
    if not any(directions):
        return True
    size = max(mp.fsum(abs(x) + abs(w) for x in line.x) for line in lines for w in points)
    rounding = mp.mpf(2) ** -30 * ((1 + alpha * L) * (B + L * size) + L * size)
    return False if max(directions) > rounding else None
