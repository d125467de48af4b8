"""Gradients of users are close where their data are close in total variation (the paper's section 4.1).

- paper: (1/n) sum ||grad f_i - grad f||^2 <= 4 B^2 (1/n) sum TV(p_i, p)^2, B = sup ||grad l|| (tight: two opposite
  gradients of norm B)
- sharp: ... <= min over M and P of the mean of (TV * diameter of the gradients that differ)^2 (tight: three
  gradients on a triangle)

B bounds the gradient at every single datum. Proofs: docs/theory/gradients-close.md#8-3. Judged at points w.
"""

from __future__ import annotations

import math

import numpy as np

from ..federations.federation import Federation
from ..federations.finite_support import finite_support
from ..judging.claim import Case, Claim, Sides
from ..judging.hypotheses import POINTS_IN_BALL, bound, has_constants
from ..judging.instance import Instance
from ..judging.instances_on_data import HANDWRITTEN, opposite_gradients, random_bounded_users
from ..judging.on_data import (
    ON_DATA,
    SOURCE,
    diameter,
    gradient_error,
    gradient_spread,
    on_points,
    scaled,
    squared_spread,
    worst_point,
)
from ..losses.quadratic import Quadratic
from ..problems.problem import Problem


def paper_sides(instance: Instance) -> Sides:
    """gamma_G^2(w) against 4 B^2 M."""
    data = on_points(instance.problem)
    largest = bound(instance, "B_datum")
    right = scaled(4 * largest**2, data.mean_square(), 64 + instance.problem.dim)
    return worst_point(instance, lambda w: (gradient_spread(instance, w, largest), right))


def sharp_sides(instance: Instance) -> Sides:
    """gamma_G^2(w) against min(M, P) of TV times the diameter of the gradients that change mass."""
    data = on_points(instance.problem)

    def at(w):  # type: ignore[no-untyped-def]
        g = data.gradients(w)
        largest = float(np.linalg.norm(g, axis=1).max())
        error = gradient_error(instance, largest, w)
        reach = np.array([diameter(g, *data.sides(i)) for i in range(len(data.mass))])
        square = float(((data.tv_to_average * reach) ** 2).mean())
        with_pairs = float(diameter(g, np.arange(len(g)), np.arange(len(g))) ** 2 * (data.tv_pairs**2).mean() / 2)
        hidden = data.hidden(largest, instance.problem.dim)
        return gradient_spread(instance, w, largest), squared_spread(
            min(square, with_pairs), error + hidden, data.mass.size
        )

    return worst_point(instance, at)


def sharp_witness() -> Instance:
    """Gradients on a triangle; each user has a little more of one corner and less of the next."""
    t = 0.25
    corners = [(math.cos(a), math.sin(a)) for a in (0.0, 2 * math.pi / 3, 4 * math.pi / 3)]
    shares = [[1 / 3 + t, 1 / 3 - t, 1 / 3], [1 / 3, 1 / 3 + t, 1 / 3 - t], [1 / 3 - t, 1 / 3, 1 / 3 + t]]
    fed = Federation.from_arrays([corners] * 3, sample_weight=shares)
    return Instance(Problem(Quadratic(), fed), 0.0, np.zeros((1, 2)), "three gradients on a triangle")


def _unbounded() -> Instance:
    return Instance(
        Problem(Quadratic(), finite_support(n_users=3, dim=2)),
        0.0,
        np.zeros((1, 2)),
        "quadratic: gradients grow without bound",
    )


CLAIMS = (
    Claim(
        name="tv-gradient",
        version="paper",
        form="",
        title="Gradients of users against total variation",
        short="4 B^2 mean TV^2",
        statement="(1/n) sum ||grad f_i - grad f||^2 <= 4 B^2 (1/n) sum TV(p_i, p)^2, with B a bound of the "
        "gradient at every datum",
        source=SOURCE,
        tight=True,
        known_ratio=1.0,
        hypotheses=(ON_DATA, has_constants("B_datum", "L_datum"), POINTS_IN_BALL),
        sides=paper_sides,
        witness=opposite_gradients,
        random_instance=random_bounded_users,
        cases=(Case("quadratic", _unbounded, "NOT_APPLICABLE"), HANDWRITTEN),
    ),
    Claim(
        name="tv-gradient",
        version="sharp",
        form="",
        title="Gradients of users against total variation, with the diameter of what differs",
        short="diameter of what differs for 2 B",
        statement="(1/n) sum ||grad f_i - grad f||^2 <= min( (1/n) sum (TV(p_i, p) diam_i)^2, diam^2 P ) at every "
        "w, diam_i between the gradients of "
        "points that user i has more of and less of than the average, P = (1/(2 n^2)) sum TV(p_i, p_j)^2",
        source="docs/theory/gradients-close.md#8-3-chain",
        tight=True,
        known_ratio=1.0,
        hypotheses=(ON_DATA, has_constants("L_datum"), POINTS_IN_BALL),
        sides=sharp_sides,
        witness=sharp_witness,
        random_instance=random_bounded_users,
        cases=(Case("quadratic", _unbounded, "HOLDS"), HANDWRITTEN),
    ),
)
