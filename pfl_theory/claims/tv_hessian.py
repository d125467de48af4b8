"""Hessians of users are close where their data are close in total variation (the paper's section 4.1).

- paper: (1/n) sum ||Hess f_i - Hess f||^2 <= 4 L^2 (1/n) sum TV(p_i, p)^2 (tight: Hessians L and -L)
- sharp: ... <= (1/n) sum (TV * diameter of the Hessians that differ)^2 (tight: any two Hessians)
- sharp, convex: ... <= L^2 (1/n) sum TV(p_i, p)^2 for convex losses (tight: Hessians L and 0)

L bounds the Hessian at every single datum; operator norms. Proofs: docs/theory/gradients-close.md#8-3. Judged at points
w.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import require
from ..judging.claim import Case, Claim, Hypothesis, Sides
from ..judging.hypotheses import POINTS_IN_BALL, bound, has_constants
from ..judging.instance import Instance
from ..judging.instances_on_data import BOUNDED, handwritten_pixels, random_users, users_on_atoms
from ..judging.on_data import (
    MOST_PAIRS,
    ON_DATA,
    SOURCE,
    at_points,
    hessian_error,
    hessian_spread,
    on_points,
    scaled,
    squared_spread,
)
from ..losses.cosine import Cosine
from ..losses.log_cosh import LogCosh
from ..losses.logistic import Logistic
from ..losses.loss import Loss
from ..losses.softmax import Softmax
from ..problems.problem import Problem

CONVEX: tuple[tuple[type[Loss], dict[str, object]], ...] = ((LogCosh, {}), (Logistic, {}), (Softmax, {"n_classes": 3}))
LEAST_BEND = 1e-3  # of random users: below it only rounding is left to compare
MOST_DIM = 600  # d x d eigenvalues of every user


def paper_sides(instance: Instance) -> Sides:
    """gamma_H^2(w) against 4 L^2 M."""
    right = scaled(
        4 * bound(instance, "L_datum") ** 2, on_points(instance.problem).mean_square(), 64 + instance.problem.dim
    )
    return at_points(instance, lambda w: (_left(instance, w), right), size=bound(instance, "L_datum") ** 2)


def convex_sides(instance: Instance) -> Sides:
    """gamma_H^2(w) against L^2 M."""
    right = scaled(
        bound(instance, "L_datum") ** 2, on_points(instance.problem).mean_square(), 64 + instance.problem.dim
    )
    return at_points(instance, lambda w: (_left(instance, w), right), size=bound(instance, "L_datum") ** 2)


def sharp_sides(instance: Instance) -> Sides:
    """gamma_H^2(w) against the mean of (TV * diameter of the Hessians that change mass)^2."""
    data = on_points(instance.problem)

    def at(w):  # type: ignore[no-untyped-def]
        h = data.atoms.hessian(w)
        reach = np.array([diameter(h, *data.sides(i)) for i in range(len(data.mass))])
        square = float(((data.tv_to_average * reach) ** 2).mean())
        hidden = data.hidden(float(np.abs(h).max()) * h.shape[1], 0)
        error = hessian_error(instance, w, data.atoms.constants()["rho"].bound("rho"))
        return _left(instance, w), squared_spread(square, error + hidden, data.mass.size + h.size)

    return at_points(instance, at, size=bound(instance, "L_datum") ** 2)


def _left(instance: Instance, w: NDArray):  # type: ignore[no-untyped-def]
    require(
        instance.problem.dim <= MOST_DIM,
        f"instance {instance.name!r}: d = {instance.problem.dim}; Hessians are compared up to d = {MOST_DIM}",
    )
    return hessian_spread(instance, w)


def diameter(h: NDArray, some: NDArray, others: NDArray) -> float:
    """Largest operator norm of a difference between two sets of symmetric matrices.

    Of too many pairs to try all, an upper bound: the range of all eigenvalues, since lo I <= A, B <= hi I gives ||A -
    B|| <= hi - lo.
    """
    if not len(some) or not len(others):
        return 0.0
    if len(some) * len(others) > MOST_PAIRS:
        values = np.linalg.eigvalsh(h[np.concatenate([some, others])])
        return float(values.max() - values.min())
    return max(float(np.abs(np.linalg.eigvalsh(h[i] - h[others])).max()) for i in some)


def paper_witness() -> Instance:
    """Curvature 1 at one angle, -1 at the opposite one."""
    fed = users_on_atoms([0.0, math.pi], [[0.7, 0.3]] * 3 + [[0.1, 0.9]] * 7)
    return Instance(Problem(Cosine(), fed), 0.0, np.zeros((1, 1)), "two opposite curvatures")


def convex_witness() -> Instance:
    """A point where log-cosh is curved, and one so far away that it is straight there."""
    fed = users_on_atoms([0.0, 40.0], [[0.7, 0.3]] * 3 + [[0.1, 0.9]] * 7)
    return Instance(Problem(LogCosh(), fed), 0.0, np.zeros((1, 1)), "curved and straight")


def random_instance(rng: np.random.Generator) -> Instance:
    """A loss on random finite supports."""
    return _bent(rng, BOUNDED)


def random_convex(rng: np.random.Generator) -> Instance:
    """A convex loss on random finite supports."""
    return _bent(rng, CONVEX)


def _bent(rng: np.random.Generator, losses: Sequence[tuple[type[Loss], dict[str, object]]]) -> Instance:
    """Users whose Hessians differ by more than rounding at every point."""
    while True:
        kind, keywords = losses[int(rng.integers(len(losses)))]
        found = random_users(rng, kind(**keywords))
        assert found.points is not None
        if min(found.problem.gamma_H(w) for w in found.points) > LEAST_BEND:
            return found


def _concave() -> Instance:
    return Instance(paper_witness().problem, 0.0, np.zeros((1, 1)), "cosine: not convex")


def _is_convex(instance: Instance) -> str | None:
    loss = instance.problem.loss
    return None if loss.convex else f"the loss must be convex: {loss.name} is not known to be."


DATA = Case("handwritten", handwritten_pixels, "HOLDS", "digits or MNIST")
CONSTANTS = has_constants("L_datum", "rho")

CLAIMS = (
    Claim(
        name="tv-hessian",
        version="paper",
        form="",
        title="Hessians of users against total variation",
        short="4 L^2 mean TV^2",
        statement="(1/n) sum ||Hess f_i - Hess f||^2 <= 4 L^2 (1/n) sum TV(p_i, p)^2, with L a bound of the "
        "Hessian at every datum",
        source=SOURCE,
        tight=True,
        known_ratio=1.0,
        hypotheses=(ON_DATA, CONSTANTS, POINTS_IN_BALL),
        sides=paper_sides,
        witness=paper_witness,
        random_instance=random_instance,
        cases=(DATA,),
    ),
    Claim(
        name="tv-hessian",
        version="sharp",
        form="",
        title="Hessians of users against total variation, with the diameter of what differs",
        short="diameter of what differs for 2 L",
        statement="(1/n) sum ||Hess f_i - Hess f||^2 <= (1/n) sum (TV(p_i, p) diam_i)^2 at every w, diam_i between "
        "the Hessians of points "
        "that user i has more of and less of than the average",
        source="docs/theory/gradients-close.md#8-3-chain",
        tight=True,
        known_ratio=1.0,
        hypotheses=(ON_DATA, CONSTANTS, POINTS_IN_BALL),
        sides=sharp_sides,
        witness=convex_witness,
        random_instance=random_instance,
    ),
    Claim(
        name="tv-hessian",
        version="sharp",
        form="convex",
        title="Hessians of users against total variation, convex losses",
        short="convex: L^2 mean TV^2",
        statement="(1/n) sum ||Hess f_i - Hess f||^2 <= L^2 (1/n) sum TV(p_i, p)^2 for convex losses, four times less",
        source="docs/theory/gradients-close.md#8-3-convex-losses",
        tight=True,
        known_ratio=1.0,
        hypotheses=(ON_DATA, CONSTANTS, POINTS_IN_BALL, Hypothesis("the loss is convex", _is_convex)),
        sides=convex_sides,
        witness=convex_witness,
        random_instance=random_convex,
        cases=(Case("cosine", _concave, "NOT_APPLICABLE"), DATA),
    ),
)
