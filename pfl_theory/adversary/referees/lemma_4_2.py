"""Lemma 4.2: the smoothness of F_i against 4 L + alpha rho B and its sharp forms."""

from __future__ import annotations

import itertools
from typing import Any

from ..mathematics import rows as on_rows
from ..mathematics.hypotheses import adapted_points, broken, constant, in_ball, of_form, worst
from ..mathematics.lines import lines_of
from ..real import Real, eigenvalues, minus, mp, norm, real, reals
from ..ruling import Pair, Ruling, refused, unsettled

KINDS = ("curves", "rows", "functions")


def rule(version: str, form: str, instance: Any) -> Ruling:
    """Left side exact for curves and quadratics, at consecutive points for other rows."""
    constants = [constant(instance, name) for name in ("L", "rho", "B")]
    if None in constants:
        return refused("L, rho or B has no value that a bound may use")
    answers = {"points in the ball, and what they adapt to": in_ball(instance, adapted=True)}
    answers |= of_form(version, form, instance)
    if form == "convex":
        answers["what lies between the points adapts to the ball"] = _between(instance, constants[0])
    if form == "one-dimensional":
        answers["d = 1"] = instance.problem.dim == 1
        answers["whole line"] = instance.ball is None
    applies = worst(*answers.values())
    if applies is False:
        return refused(broken(answers))
    left = _left(instance)
    if left is None:
        return unsettled("left side not known here")
    alpha = real(instance.alpha)
    right = _right(version, form, alpha, *constants, dim=instance.problem.dim)
    return Ruling(applies, pairs=[Pair(left, right, _loose(instance), _unsure(instance))])


def _between(instance: Any, L: Real) -> bool | None:
    """Known where w -> w - alpha grad f_i(w), Lipschitz with 1 + alpha L, cannot leave the ball between two points; not
    known elsewhere.
    """
    if instance.ball is None or instance.points is None or instance.problem.dim == 1:
        return True
    radius, centre = real(instance.ball[0]), instance.ball[1]
    middle = reals(centre) if centre is not None else [mp.mpf(0)] * instance.problem.dim
    points, stretch = [reals(w) for w in instance.points], 1 + real(instance.alpha) * L
    for a, b in itertools.pairwise(points):
        here, there = adapted_points(instance, a), adapted_points(instance, b)
        if here is None or there is None:
            return None
        far = [max(norm(minus(p, middle)) for p in moved) for moved in (here, there)]
        if (far[0] + far[1] + stretch * norm(minus(a, b))) / 2 > radius * (1 - mp.mpf(10) ** -12):
            return None
    return True


def _loose(instance: Any) -> float:
    """Curvatures of log-cosh users are maximised on a grid by the package."""
    rows = instance.problem.kind == "rows" and on_rows.name_of(instance.problem.loss) == "LogCosh location"
    return 1e-5 if rows else 0.0


def _unsure(instance: Any) -> Real:
    """The error that the author of functions states beside the smoothness of F."""
    if instance.problem.kind != "functions":
        return mp.mpf(0)
    return max(reals(instance.problem.meta_smoothness(instance.alpha)[1]))


def _right(version: str, form: str, alpha: Real, L: Real, rho: Real, B: Real, *, dim: int) -> Real:
    c = alpha * rho * B
    if version == "paper":
        return 4 * L + c
    if form == "":
        return (1 + alpha * L) ** 2 * L + c
    if form == "one-dimensional":
        # on the line f' is bounded, so no more than L^2 = 2 rho B fits: a larger L given is cut to that
        l = min(L, mp.sqrt(2 * rho * B))
        return (1 + alpha * l) ** 2 * l + c - alpha * l * l / 2
    # (1 - alpha h)^2 (h + c) on [0, L]: ends, and where 1 - alpha h = 2 alpha (h + c)
    places = [mp.mpf(0), L]
    if alpha > 0:
        h = (1 - 2 * alpha * c) / (3 * alpha)
        places += [h] if 0 < h < L else []
    most = max((1 - alpha * h) ** 2 * (h + c) for h in places)
    bound = min(L, most) + c
    return min(bound, L + c - alpha * L * L / 2) if dim == 1 else bound


def _left(instance: Any) -> Real | None:
    problem, alpha = instance.problem, real(instance.alpha)
    if problem.kind == "curves":
        return max(line.meta_smoothness(alpha) for line in lines_of(problem))
    if problem.kind == "functions":
        stated = problem.meta_smoothness(instance.alpha)
        return None if stated is None else max(reals(stated[0]))
    loss = problem.loss
    if not on_rows.known(loss):
        return None
    if on_rows.name_of(loss) == "Quadratic":
        every = [on_rows.matrix_of(loss, i, problem.dim) for i in range(problem.n_users)]
        return max(abs(a) * (1 - alpha * a) ** 2 for m in every for a in eigenvalues(m))
    if instance.points is None or len(instance.points) < 2:
        return None
    points = [reals(w) for w in instance.points]
    steps = [norm(minus(b, a)) for a, b in itertools.pairwise(points)]
    if not all(steps):
        return None
    best = mp.mpf(0)
    for user in on_rows.user_functions(problem):
        found = [user.meta_first(w, alpha) for w in points]
        best = max(best, *(norm(minus(b, a)) / s for a, b, s in zip(found, found[1:], steps, strict=False)))
    return best
