"""What the statements judged on piecewise functions of one variable share: rounding of f' and F', exact heterogeneity,
random instances.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..losses.piecewise import Curve, Piecewise, random_piecewise
from ..memory import remembered
from ..problems.curves import heterogeneity
from ..problems.problem import Problem
from .claim import Hypothesis
from .instance import Instance


def curves_of(instance: Instance) -> Sequence[Curve]:
    """The users' curves."""
    return instance.problem.family.curves


def _curves(instance: Instance) -> str | None:
    return (
        None
        if instance.problem.kind == "curves"
        else "the users must be piecewise functions of one variable: there the left side and its rounding are known."
    )


ON_CURVES = Hypothesis("users are piecewise functions of one variable", _curves)


def gammas(problem: Problem) -> tuple[float, float]:
    """gamma_G and gamma_H over the whole line, kept on the problem."""
    return remembered(problem, "gammas", lambda: heterogeneity(problem.family.curves))


def made_convex(family: Piecewise) -> Piecewise:
    """The same users with |f''| at the nodes for f''."""
    return Piecewise([Curve(c.x, np.abs(c.h), c.anchor, c.slope) for c in family.curves])


def random_curves(rng: np.random.Generator, *, convex: bool = False) -> Instance:
    """Two to four random users, alpha in [0, 1/L], points at nodes and between."""
    family = random_piecewise(rng, n_users=int(rng.integers(2, 5)))
    if convex:
        family = made_convex(family)
    problem = Problem.from_curves(family)
    nodes = np.concatenate([c.x for c in family.curves])
    points = np.concatenate([rng.choice(nodes, 4), rng.uniform(nodes.min() - 1, nodes.max() + 1, 8)])
    return Instance(
        problem, float(rng.uniform(0, 1)) / problem.constants()["L"].max(), points[:, None], "random piecewise users"
    )


def random_convex_curves(rng: np.random.Generator) -> Instance:
    """Two to four random convex users, alpha in [0, 1/L], points at nodes and between."""
    return random_curves(rng, convex=True)


def points_of(instance: Instance) -> NDArray:
    """The points on the line."""
    return instance.judged_at[:, 0]
