"""Gradient steps of every user from every point, in 50 digits."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..real import Real, mean, minus, mp, norm, real, reals
from ..ruling import Ruling, refused
from .hypotheses import at_most, broken, constant, in_ball, worst
from .models import Model, models_of

MOST_STEPS, MOST_CURVATURE = 64, 4


class Steps(NamedTuple):
    """A user's gradients g_1 .. g_K and where they end."""

    user: Model
    start: list[Real]
    gradients: list[list[Real]]
    end: list[Real]


class Found(NamedTuple):
    """All of them, a list a point, and whether every hypothesis holds."""

    a: Real
    K: int
    runs: list[list[Steps]]
    applies: bool | None


def steps_of(instance: Any, *, several: bool = False, ball: bool = False, need: tuple[str, ...] = ()) -> Found | Ruling:
    """The steps, or which hypothesis fails."""
    algorithm, problem = instance.algorithm, instance.problem
    users, kind = models_of(problem), type(algorithm).__name__
    if users is None:
        return refused("users are neither piecewise nor quadratic")
    if kind not in ("FedAvg", "Reptile") or algorithm.batch is not None or algorithm.local_epochs is not None:
        return refused("not FedAvg or Reptile with exact gradients")
    share = algorithm.participation
    if (share if isinstance(share, int) else round(share * problem.n_users)) != problem.n_users:
        return refused("not all users take part")
    if kind == "Reptile" and algorithm.server != "sgd":
        return refused("the server does not take plain steps")
    if instance.points is None:
        return refused("no points")
    a, K = real(algorithm.beta), int(algorithm.local_steps)
    if K > MOST_STEPS or (several and K < 2):
        return refused("too many steps, or too few")
    for name in ("L", *need):
        if constant(instance, name) is None:
            return refused(f"{name} has no value")
    answers = {
        "points in the ball": in_ball(instance),
        "a L": at_most(a * constant(instance, "L"), mp.mpf(MOST_CURVATURE)),
    }
    if worst(*answers.values()) is False:
        return refused(broken(answers))
    runs = [[_steps(user, reals(w), a, K) for user in users] for w in instance.points]
    if ball and instance.ball is not None:
        answers["steps in the ball"] = _inside(instance, runs, a)
    if worst(*answers.values()) is False:
        return refused(broken(answers))
    return Found(a, K, runs, worst(*answers.values()))


def _steps(user: Model, w: list[Real], a: Real, K: int) -> Steps:
    gradients, place = [], w
    for _ in range(K):
        gradients.append(user.first(place))
        place = minus(place, gradients[-1], a)
    return Steps(user, w, gradients, place)


def _inside(instance: Any, runs: list[list[Steps]], a: Real) -> bool | None:
    radius, centre = real(instance.ball[0]), instance.ball[1]
    middle = reals(centre) if centre is not None else [mp.mpf(0)] * instance.problem.dim
    answers = []
    for run in (r for some in runs for r in some):
        place = run.start
        for g in run.gradients:
            answers.append(at_most(norm(minus(place, middle)), radius))
            place = minus(place, g, a)
        adapted = minus(run.start, run.gradients[0], real(instance.alpha))
        answers.append(at_most(norm(minus(adapted, middle)), radius))
    return worst(*answers)


def added(vectors: list[list[Real]]) -> list[Real]:
    """Sum."""
    return [mp.fsum(column) for column in zip(*vectors, strict=True)]


def remainder(run: Steps, a: Real, j: int) -> list[Real]:
    """R_j."""
    g = run.gradients[0]
    bent = run.user.product(run.start, g)
    return [x - y + a * (j - 1) * z for x, y, z in zip(run.gradients[j - 1], g, bent, strict=True)]


def update(runs: list[Steps], K: int) -> list[Real]:
    """Mean over users of the sum of gradients, over K."""
    return [v / K for v in mean([added(run.gradients) for run in runs])]
