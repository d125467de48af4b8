"""gamma_G(w)^2 against 4 B^2 M, and against diameters of the gradients that change mass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..mathematics import rows as on_rows
from ..mathematics import spread
from ..mathematics.distances import mean_square_tv, total_variation
from ..mathematics.hypotheses import constant, in_ball
from ..real import ZERO, Real, average, minus, norm, real, reals
from ..ruling import Pair, Ruling, refused, unsettled

KINDS = ("rows",)


def rule(version: str, form: str, instance: Any) -> Ruling:
    """A pair a point."""
    return gradient_pairs(version, instance, lambda B, m: 4 * B**2 * m, _diameters)


def _diameters(laws: spread.Laws, m: Real, p: Real, g: list[list[Real]]) -> tuple[Real]:
    middle, squares = laws.middle, []
    for own in laws.masses:
        more = [k for k, (a, b) in enumerate(zip(own, middle, strict=True)) if a > b]
        less = [k for k, (a, b) in enumerate(zip(own, middle, strict=True)) if a < b]
        squares.append((real(total_variation(own, middle)) * diameter(g, more, less)) ** 2)
    every = list(range(len(g)))
    return (min(average(squares), diameter(g, every, every) ** 2 * p),)


def gradient_pairs(
    version: str, instance: Any, paper: Callable[[Real, Real], Real], sharp: Callable[..., tuple[Any, ...]]
) -> Ruling:
    """gamma_G(w)^2 at every point against `paper` of B and M, or `sharp` of the laws, M, P and the gradients of all
    data (and how loose the package's own may be).
    """
    applies, stop = hypotheses(instance, ("B_datum", "L_datum") if version == "paper" else ("L_datum",))
    if stop is not None:
        return stop
    problem = instance.problem
    laws = spread.laws(problem)
    m, p = mean_square_tv(laws)
    rows = spread.single(problem, laws)

    def pair(w: list[Real]) -> Pair:
        left = spread.gradient_spread(problem, w)
        if version == "paper":
            return Pair(left, paper(constant(instance, "B_datum"), m))
        return Pair(left, *sharp(laws, m, p, [on_rows.gradient(problem.loss, 0, w, row) for row in rows]))

    return Ruling(applies, pairs=[pair(w) for w in map(reals, instance.points)])


def hypotheses(instance: Any, constants: tuple[str, ...]) -> tuple[bool | None, Ruling | None]:
    """Users are one loss on their data, these constants are known, points lie in the ball; and why to stop, if so."""
    problem = instance.problem
    if problem.kind != "rows":
        return False, refused("users are no distributions of data")
    if not on_rows.known(problem.loss):
        return None, unsettled(f"{problem.loss.name} has no formula here")
    missing = [name for name in constants if constant(instance, name) is None]
    if missing:
        return False, refused(f"{missing[0]} has no value that a bound may use")
    inside = in_ball(instance)
    if inside is False:
        return False, refused("a point lies outside the ball")
    if instance.points is None:
        return None, unsettled("no points")
    if spread.own_curvatures(problem) and problem.n_users > 1:
        return False, refused("f_i is no mean of one loss: users have curvatures of their own")
    return inside, None


def diameter(vectors: list[list[Real]], some: list[int], others: list[int]) -> Real:
    """Largest distance between two sets of vectors."""
    return max((norm(minus(vectors[i], vectors[j])) for i in some for j in others), default=ZERO)
