"""How statements about gradient steps of one user are judged: K steps of size a from each of the instance's points, in
balls; the algorithm is FedAvg (or Reptile) with all users and exact gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..algorithms.algorithm import participants
from ..algorithms.baselines import FedAvg
from ..algorithms.reptile import Reptile
from ..federations.federation import Federation
from ..losses.loss import ball_center
from ..losses.piecewise import random_piecewise
from ..losses.quadratic import Quadratic
from ..memory import remembered
from ..problems.curves import gradient_error
from ..problems.problem import Problem
from ..rigour.balls import Ball
from ..rigour.rounding import UNIT
from . import on_data
from .claim import Hypothesis
from .hypotheses import POINTS_IN_BALL, bound
from .instance import Instance
from .on_models import IN_BALLS, Known, constant, known_users, norm, stacked

MOST_STEPS, MOST_CURVATURE = 64, 4.0  # K and a L that a path of balls is followed through


class LocalRun(NamedTuple):
    """K gradient steps of a user from a point: g_1 .. g_K, and where they end."""

    user: Known
    start: Ball
    gradients: list[Ball]
    places: list[Ball]


def steps_of(instance: Instance) -> tuple[float, int]:
    """a and K."""
    algorithm = instance.algorithm
    assert isinstance(algorithm, (FedAvg, Reptile))
    return float(algorithm.beta), int(algorithm.local_steps)


def local_run(user: Known, w: NDArray, a: float, steps: int) -> LocalRun:
    """g_j = grad f(theta_j), theta_{j+1} = theta_j - a g_j."""
    places, gradients = [Ball(w)], []
    for _ in range(steps):
        gradients.append(user.gradient(places[-1]))
        places.append(places[-1] - gradients[-1] * a)
    return LocalRun(user, places[0], gradients, places)


def all_runs(instance: Instance) -> list[list[LocalRun]]:
    """Every user's steps from every point, a list a point; kept on the instance."""
    a, steps = steps_of(instance)
    return remembered(
        instance,
        "local runs",
        lambda: [[local_run(u, w, a, steps) for u in known_users(instance.problem)] for w in instance.judged_at],
    )


def each_run(instance: Instance) -> Iterator[LocalRun]:
    """Every user's steps from every point."""
    return (run for runs in all_runs(instance) for run in runs)


def total(vectors: list[Ball]) -> Ball:
    """Sum of vectors."""
    return stacked(vectors).sum(0)


def mean(vectors: list[Ball]) -> Ball:
    """Mean of vectors over users."""
    return total(vectors) / float(len(vectors))


def equal(a: Ball, b: Ball, weight: float = 2.0) -> tuple[Ball, Ball]:
    """a = b as lhs <= rhs: ||a|| + weight ||a - b|| <= ||b||, which fails for all other a where weight > 1."""
    return norm(a) + norm(a - b) * weight, norm(b)


def powers(x: Ball, n: int, first: int) -> Ball:
    """sum over m >= first of C(n, m) x^(m - first): what (1 + x)^n has left, over x^first; nonnegative terms.

    Examples
    --------
    >>> float(powers(Ball(2.0), 3, 1)) == (3.0**3 - 1) / 2
    True
    """
    found = Ball(0.0)
    for m in range(n, first - 1, -1):
        found = found * x + Ball(float(math.comb(n, m)), UNIT * math.comb(n, m))
    return found


def run_error(instance: Instance, w: NDArray) -> float:
    """Bound of the rounding error of the models that the library's own steps reach from w, and of their means: every
    step adds that of a gradient and three roundings, and the steps before count (1 + a L) times.
    """
    problem, (a, steps) = instance.problem, steps_of(instance)
    L, reach, steep = bound(instance, "L") * (1 + 2.0**-40), 0.0, 0.0
    for run in (r for runs in all_runs(instance) for r in runs if np.array_equal(r.start.mid, w)):
        reach = max([reach, *(float(norm(p).upper) for p in run.places)])
        steep = max([steep, *(float(norm(g).upper) for g in run.gradients)])
    if problem.kind == "curves":
        wrong = gradient_error(problem.family.curves)
    else:
        wrong = on_data.gradient_error(instance, steep, np.full(1, reach))
    step = a * wrong + 4 * UNIT * (reach + a * steep)
    growth = float(powers(Ball(a * L), steps, 1).upper)
    return (
        (step * growth + (problem.n_users + 8) * UNIT * (reach + a * steep)) * math.sqrt(problem.dim) * (1 + 2.0**-20)
    )


# --- hypotheses ---


def _steps(instance: Instance) -> str | None:
    algorithm, n = instance.algorithm, instance.problem.n_users
    if not isinstance(algorithm, (FedAvg, Reptile)):
        return "the algorithm must be FedAvg or Reptile."
    if algorithm.batch is not None or algorithm.local_epochs is not None:
        return "local steps must take exact gradients: batch=None."
    if participants(algorithm.participation, n) != n:
        return "all users must take part."
    if isinstance(algorithm, Reptile) and algorithm.server != "sgd":
        return "the server must take plain steps."
    return None


def _few(instance: Instance) -> str | None:
    a, steps = steps_of(instance)
    if steps > MOST_STEPS:
        return f"at most {MOST_STEPS} local steps are followed: these are {steps}."
    x = a * bound(instance, "L")
    return None if x <= MOST_CURVATURE else f"a L must be at most {MOST_CURVATURE:g}: it is {x:.6g}."


def _several(instance: Instance) -> str | None:
    return None if steps_of(instance)[1] >= 2 else "K must be at least 2: after one step nothing remains."


def _points(instance: Instance) -> str | None:
    return None if instance.points is not None else "points must be given: where the local steps start."


def _paths(instance: Instance) -> str | None:
    if instance.ball is None:
        return None
    radius, center = instance.ball
    middle = Ball(ball_center(instance.problem.dim, center))
    alpha = Ball(instance.alpha)
    for run in each_run(instance):
        for place in (*run.places[:-1], run.start - run.gradients[0] * alpha):
            far = float(norm(place - middle).upper)
            if not far <= radius * (1 + 2.0**-40):
                return f"what local steps reach lies up to {far:.6g} from the center, outside the ball of {radius:.6g}."
    return None


STEPS = Hypothesis("FedAvg or Reptile, all users, exact gradients, plain server steps", _steps)
FEW = Hypothesis(f"K at most {MOST_STEPS}, a L at most {MOST_CURVATURE:g}", _few)
SEVERAL = Hypothesis("K >= 2", _several)
START = Hypothesis("points where the steps start", _points)
PATHS_IN_BALL = Hypothesis("local steps stay in the ball of the constants", _paths)
LOCAL = (IN_BALLS, STEPS, START, POINTS_IN_BALL, FEW)


# --- instances ---


def one_user(problem: Problem, w: float, a: float, steps: int, name: str, **more) -> Instance:  # type: ignore[no-untyped-def]
    """One user of one variable, K steps of a from w."""
    algorithm = FedAvg(beta=a, local_steps=steps)
    return Instance(problem, more.pop("alpha", 0.0), np.array([[w]]), name, algorithm, **more)


def quadratic(curvature: float, w: float, a: float, steps: int, **more) -> Instance:  # type: ignore[no-untyped-def]
    """f = curvature w^2 / 2."""
    problem = Problem(Quadratic(curvature), Federation.from_arrays([[0.0]]))
    return one_user(problem, w, a, steps, "quadratic" if curvature > 0 else "concave quadratic", **more)


def random_local(
    rng: np.random.Generator, *, alpha: Callable[[float, int], float] = lambda a, steps: 0.0, least: int = 2
) -> Instance:
    """Piecewise or quadratic users, two to eight steps, a L up to 1; a ball that holds the steps of quadratics."""
    steps, x = int(rng.integers(least, 9)), float(rng.uniform(0.02, 1))
    if rng.random() < 0.6:
        family = random_piecewise(rng, n_users=int(rng.integers(1, 4)))
        problem, dim = Problem.from_curves(family), 1
        nodes = np.concatenate([c.x for c in family.curves])
        points = rng.uniform(nodes.min() - 1, nodes.max() + 1, (2, 1))
    else:
        n, dim = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        parts = rng.normal(size=(n, dim, dim))
        fed = Federation.from_arrays([rng.normal(size=(int(rng.integers(1, 4)), dim)) for _ in range(n)])
        problem = Problem(Quadratic((parts + parts.transpose(0, 2, 1)) / 2), fed)
        points = rng.normal(size=(2, dim))
    a = x / problem.constants()["L"].max()
    algorithm = FedAvg(beta=a, local_steps=steps)
    found = Instance(problem, alpha(a, steps), points, "random users, local steps", algorithm)
    if problem.kind == "curves":
        return found
    far = max(float(norm(place).upper) for run in each_run(found) for place in run.places)
    far = max(far, *(float(np.linalg.norm(problem.adapted(w, found.alpha), axis=1).max()) for w in points))
    return Instance(problem, found.alpha, points, found.name, algorithm, ball=(far * 1.001, None))


def every_constant(instance: Instance) -> tuple[Ball, Ball, Ball]:
    """L, rho and B."""
    return constant(instance, "L"), constant(instance, "rho"), constant(instance, "B")
