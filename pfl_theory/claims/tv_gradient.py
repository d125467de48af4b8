"""Gradients of users are close where their data are close in total variation (section 4.1).

=======  ======================================================================================  =================================
version  statement                                                                               tight
=======  ======================================================================================  =================================
paper    (1/n) sum ||grad f_i - grad f||^2 <= 4 B^2 (1/n) sum TV(p_i, p)^2, B = sup ||grad l||   two opposite gradients of norm B
sharp    ... <= min over M and P of the mean of (TV * diameter of the gradients that differ)^2   three gradients on a triangle
=======  ======================================================================================  =================================

B bounds the gradient at every single datum. Proofs: docs/theory.md, section 8.3. Judged at points w.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from ..distances import all_pairs
from ..federations import finite_support, paper_split
from ..federations.federation import Federation
from ..federations.standard import handwritten_source
from ..judging.claim import Case, Claim, Sides, bound, has_constants
from ..judging.instance import Instance
from ..judging.on_data import (
    IN_BALL,
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
from ..losses.cosine import Cosine
from ..losses.log_cosh import LogCosh
from ..losses.logistic import Logistic
from ..losses.loss import Loss
from ..losses.quadratic import Quadratic
from ..losses.softmax import Softmax
from ..problems.problem import Problem
from ..seeds import generator

BOUNDED: tuple[tuple[type[Loss], dict[str, object]], ...] = (
    (Cosine, {}),
    (LogCosh, {}),
    (Logistic, {}),
    (Logistic, {"nonconvex": 0.3}),
    (Softmax, {"n_classes": 3}),
)


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


def random_instance(rng: np.random.Generator) -> Instance:
    """A loss with bounded gradients on random finite supports, three random points."""
    kind, keywords = BOUNDED[int(rng.integers(len(BOUNDED)))]
    return random_users(rng, kind(**keywords))


def random_users(rng: np.random.Generator, loss: Loss, *, dim: int | None = None, ball: bool = False) -> Instance:
    """Users on subsets of common points."""
    classes = getattr(loss, "n_classes", 2) if loss.classifies else None
    n, k, d = int(rng.integers(2, 6)), int(rng.integers(2, 9)), dim or int(rng.integers(1, 4))
    while True:
        fed = finite_support(n_users=n, n_points=k, dim=d, n_classes=classes, seed=int(rng.integers(2**31)))
        if all_pairs(fed, tv=True).P[0] > 1e-6:  # equal users would say 0 <= 0
            break
    problem = Problem(loss, fed)
    points = rng.normal(size=(3, problem.dim)) * rng.exponential(2.0)
    radius = (float(np.linalg.norm(points, axis=1).max()), None) if ball else None
    return Instance(problem, 0.0, points, f"{loss.name} on random finite supports", ball=radius)


def users_on_atoms(atoms: list[float], shares: list[list[float]]) -> Federation:
    """Users on common points of the line, without the points that have no mass."""
    kept = [[(z, s) for z, s in zip(atoms, user, strict=True) if s > 0] for user in shares]
    return Federation.from_arrays(
        [[[z] for z, _ in user] for user in kept], sample_weight=[[s for _, s in user] for user in kept]
    )


def paper_witness() -> Instance:
    """D1.2: gradients +-1 = +-B at w = 0 (angles a quarter turn away), three users of ten with more of one, seven with
    more of the other.
    """
    fed = users_on_atoms([-math.pi / 2, math.pi / 2], [[0.7, 0.3]] * 3 + [[0.1, 0.9]] * 7)
    return Instance(Problem(Cosine(), fed), 0.0, np.zeros((1, 1)), "two opposite gradients")


def sharp_witness() -> Instance:
    """D1.2: gradients on a triangle; each user has a little more of one corner and less of the next."""
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


def small_handwritten() -> Federation:
    """The paper's split with ten users and few images: MNIST where it lies on this machine, else its subset from a
    dependency.
    """
    from .. import datasets

    source = handwritten_source()
    data = datasets.mnist(download=False) if source == "mnist" else datasets.digits()
    return paper_split(data, n_users=10, a=20)


@functools.cache  # several claims are judged on it
def handwritten() -> Instance:
    """Softmax regression at small random matrices."""
    fed = small_handwritten()
    problem = Problem(Softmax(10), fed)
    points = 0.02 * np.cumsum(generator(12, "points").normal(size=(3, problem.dim)), axis=0)
    radius = float(np.linalg.norm(points, axis=1).max())
    return Instance(problem, 0.0, points, f"softmax on {fed.name}, 3 points", ball=(radius, None))


HANDWRITTEN = Case("handwritten", handwritten, "HOLDS", "digits or MNIST")

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
        hypotheses=(ON_DATA, has_constants("B_datum", "L_datum"), IN_BALL),
        sides=paper_sides,
        witness=paper_witness,
        draw=random_instance,
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
        source="docs/theory.md, section 8.3",
        tight=True,
        known_ratio=1.0,
        hypotheses=(ON_DATA, has_constants("L_datum"), IN_BALL),
        sides=sharp_sides,
        witness=sharp_witness,
        draw=random_instance,
        cases=(Case("quadratic", _unbounded, "HOLDS"), HANDWRITTEN),
    ),
)
