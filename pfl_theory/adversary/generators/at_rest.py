"""Curves with a point at which first-order Per-FedAvg stands still: the last user's slope is chosen for it."""

from __future__ import annotations

import dataclasses

import numpy as np

from ...judging.instance import Instance
from ...losses.piecewise import Curve, Piecewise
from ...problems.problem import Problem
from . import curves


def draw(rng: np.random.Generator) -> Instance:
    """Straight users whose slopes cancel, or users that are all flat where they are looked at; and one nearly so."""
    base = curves.draw(rng)
    users, w = list(base.problem.family.curves), base.points[0]  # type: ignore[index]
    if rng.random() < 0.4:  # opposite twins: f and -f(-.) seen from the middle
        c = users[0]
        x = c.x - c.x[len(c.x) // 2]
        flipped = Curve(-x[::-1], c.h[::-1], 0.0, -c.slope)
        users, w = [Curve(x, c.h, 0.0, c.slope), flipped], np.zeros(1)
    else:  # one user whose slope is 0 at the point
        c = users[-1]
        users = [Curve(c.x, c.h, float(w[0]), 0.0)]
    nudged = w * (1 + float(rng.choice([0.0, 0.0, 1e-6])))
    problem = Problem.from_curves(Piecewise(users))
    return dataclasses.replace(base, problem=problem, points=nudged[None], name="curves, FO at rest", ball=None)
