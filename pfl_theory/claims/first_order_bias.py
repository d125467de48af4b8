"""First-order Per-FedAvg drops the Hessian: how far its direction is from grad F_i.

- sharp: ||grad F_i(w) - grad f_i(w~)|| <= alpha L B (tight: attained)

The paper says that FO adds a term of the order of the square, alpha^2 L^2 B^2, which no number of rounds removes:
`first_order_floor.py` judges that. Proof: docs/theory/first-order.md#9-4. Judged at points w of piecewise users.
"""

from __future__ import annotations

import numpy as np

from ..judging.claim import Case, Claim, Sides
from ..judging.hypotheses import bound, has_constants
from ..judging.instance import Instance
from ..judging.on_curves import ON_CURVES, curves_of, points_of, random_curves
from ..losses.piecewise import Curve, Piecewise
from ..problems.curves import gradient_error, meta_gradient_error
from ..problems.problem import Problem
from ..rigour.interval import Interval
from ..rigour.rounding import UNIT


def sides(instance: Instance) -> Sides:
    """The largest distance over users and points, against alpha L B."""
    curves, alpha, points = curves_of(instance), instance.alpha, points_of(instance)
    away = [
        np.abs(
            instance.problem.meta_gradient(np.array([w]), alpha)
            - instance.problem.gradient(instance.problem.adapted(np.array([w]), alpha))
        ).max()
        for w in points
    ]
    L, B, reach = bound(instance, "L"), bound(instance, "B"), float(np.abs(points).max())
    error = (
        meta_gradient_error(curves, alpha, reach)
        + (1 + alpha * L) * gradient_error(curves)
        + 2 * L * UNIT * (reach + alpha * B)
    )
    right = alpha * L * B
    return Sides(
        Interval.with_error(float(max(away)), error),
        Interval.with_error(right, alpha * L * gradient_error(curves) + 8 * UNIT * right),
        "points",
    )


def witness() -> Instance:
    """f'' a triangle of height -1 at 0, f'(0) = 1: 0 adapts onto -1, where |f'| = B = 3/2 peaks while |f''(0)| = L."""
    curve = Curve(np.array([-2.0, -1.0, 0.0, 1.0]), np.array([0.0, 0.0, -1.0, 0.0]), 0.0, 1.0)
    return Instance(Problem.from_curves(Piecewise([curve])), 1.0, np.zeros((1, 1)), "a triangle of curvature")


def _linear() -> Instance:
    curve = Curve(np.array([-1.0, 1.0]), np.zeros(2), 0.0, 1.0)
    return Instance(Problem.from_curves(Piecewise([curve])), 1.0, np.zeros((1, 1)), "linear user: no Hessian, no bias")


CLAIMS = (
    Claim(
        name="first-order-bias",
        version="sharp",
        form="",
        title="Bias of the first-order direction",
        short="alpha L B",
        statement="||grad F_i(w) - grad f_i(w - alpha grad f_i(w))|| <= alpha L B",
        source="docs/theory/first-order.md#9-4-first-order; the order alpha^2 L^2 B^2 of its square in Fallah et al. "
        "(2020), as transcribed",
        tight=True,
        known_ratio=1.0,
        hypotheses=(ON_CURVES, has_constants("L", "B")),
        sides=sides,
        witness=witness,
        random_instance=random_curves,
        cases=(Case("linear", _linear, "HOLDS"),),
    ),
)
