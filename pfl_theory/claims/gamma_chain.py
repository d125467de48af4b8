"""What can be said about gamma_G from bounds of single gradients and total variation together.

- paper: gamma_G^2 <= min(4 B^2 M, B^2): its own bound, and the one without any M (tight: the first, by two opposite
  gradients)
- sharp: gamma_G^2 <= min(diam^2 M, diam^2 P, radius^2, B^2) at every w (tight: each term on an instance of its own)

M = (1/n) sum TV(p_i, p)^2, P = (1/(2 n^2)) sum TV(p_i, p_j)^2; B, diameter and radius of the gradients of single
data. As B^2 always bounds gamma_G^2, the bound by M says nothing beyond M = 1/4: not on the paper's own split.
Proofs: docs/theory/gradients-close.md#8-3.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..judging.claim import Case, Claim, Sides
from ..judging.hypotheses import POINTS_IN_BALL, bound, has_constants
from ..judging.instance import Instance
from ..judging.instances_on_data import HANDWRITTEN, opposite_gradients, random_bounded_users, users_on_atoms
from ..judging.on_data import (
    ON_DATA,
    SOURCE,
    diameter,
    exact_interval,
    gradient_error,
    gradient_spread,
    on_points,
    scaled,
    squared_spread,
    worst_point,
)
from ..losses.cosine import Cosine
from ..losses.quadratic import Quadratic
from ..problems.problem import Problem

CENTRE_STEPS = 200


def paper_sides(instance: Instance) -> Sides:
    """gamma_G^2(w) against min(4 M, 1) B^2."""
    data = on_points(instance.problem)
    largest = bound(instance, "B_datum")
    m = data.mean_square().times(4.0)
    right = scaled(largest**2, m if m.middle <= 1.0 else exact_interval(1.0, 0), 64 + instance.problem.dim)
    return worst_point(instance, lambda w: (gradient_spread(instance, w, largest), right))


def sharp_sides(instance: Instance) -> Sides:
    """gamma_G^2(w) against min(diam^2 M, diam^2 P, radius^2, B^2), all at w."""
    data = on_points(instance.problem)
    to_average, pairs = float((data.tv_to_average**2).mean()), float((data.tv_pairs**2).mean() / 2)

    def at(w):  # type: ignore[no-untyped-def]
        g = data.gradients(w)
        every = np.arange(len(g))
        largest = float(np.linalg.norm(g, axis=1).max())
        square = min(diameter(g, every, every) ** 2 * min(to_average, pairs), enclosing_radius(g) ** 2, largest**2)
        error = gradient_error(instance, largest, w) + data.hidden(largest, instance.problem.dim)
        return gradient_spread(instance, w, largest), squared_spread(square, error, data.mass.size + g.shape[1])

    return worst_point(instance, at)


def enclosing_radius(vectors: NDArray) -> float:
    """Radius of a ball that holds all vectors, close to the smallest: steps of falling length toward the farthest
    vector.

    Any centre gives a valid radius; the steps only make it small.

    Examples
    --------
    >>> round(enclosing_radius(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.5]])), 3)
    1.0
    """
    gram = vectors @ vectors.T
    norms = np.diag(gram)
    shares = np.full(len(vectors), 1.0 / len(vectors))
    best, least = shares, math.inf
    for k in range(CENTRE_STEPS):
        away = norms - 2 * (gram @ shares) + shares @ gram @ shares
        far = int(np.argmax(away))
        if away[far] < least:
            best, least = shares, float(away[far])
        shares = shares * (k + 1) / (k + 2)
        shares[far] += 1 / (k + 2)
    middle = 0.5 * (vectors.min(0) + vectors.max(0))
    return min(float(np.linalg.norm(vectors - centre, axis=1).max()) for centre in (best @ vectors, middle))


def radius_witness() -> Instance:
    """Disjoint users with opposite gradients: M = 1/4 and gamma_G = B = radius."""
    fed = users_on_atoms([-math.pi / 2, math.pi / 2], [[1.0, 0.0], [0.0, 1.0]])
    return Instance(Problem(Cosine(), fed), 0.0, np.zeros((1, 1)), "two disjoint users")


def _simplex() -> Instance:
    from ..federations.federation import Federation

    fed = Federation.from_arrays([[row] for row in np.eye(10)])
    return Instance(
        Problem(Quadratic(), fed),
        0.0,
        np.zeros((1, 10)),
        "ten disjoint users, orthonormal gradients: P and radius attained",
    )


CLAIMS = (
    Claim(
        name="gamma-chain",
        version="paper",
        form="",
        title="gamma_G from a bound of single gradients and total variation",
        short="min(4 B^2 M, B^2)",
        statement="gamma_G^2 <= min(4 B^2 M, B^2), M = (1/n) sum TV(p_i, p)^2, B a bound of the gradient at every "
        "datum",
        source=SOURCE + "; B^2 by the law of total variance",
        tight=True,
        known_ratio=1.0,
        hypotheses=(ON_DATA, has_constants("B_datum", "L_datum"), POINTS_IN_BALL),
        sides=paper_sides,
        witness=opposite_gradients,
        random_instance=random_bounded_users,
        cases=(Case("disjoint", radius_witness, "HOLDS"), HANDWRITTEN),
    ),
    Claim(
        name="gamma-chain",
        version="sharp",
        form="",
        title="gamma_G from single gradients and total variation, sharp",
        short="min(diam^2 M, diam^2 P, radius^2, B^2)",
        statement="gamma_G^2 <= min(diam^2 M, diam^2 P, radius^2, B^2) at every w, of the gradients of single data "
        "at w",
        source="docs/theory/gradients-close.md#8-3-summary",
        tight=True,
        known_ratio=1.0,
        hypotheses=(ON_DATA, has_constants("L_datum"), POINTS_IN_BALL),
        sides=sharp_sides,
        witness=radius_witness,
        random_instance=random_bounded_users,
        cases=(Case("simplex", _simplex, "HOLDS"), HANDWRITTEN),
    ),
)
