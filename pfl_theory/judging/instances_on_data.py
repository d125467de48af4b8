"""Instances for statements about distances between users' data."""

from __future__ import annotations

import math

import numpy as np

from ..datasets import local
from ..distances.between_users import all_pairs
from ..federations.concept_shift import concept_shift_from_laws
from ..federations.federation import Federation
from ..federations.finite_support import finite_support
from ..federations.location import location
from ..federations.paper_split import paper_split
from ..federations.standard import handwritten_source
from ..losses.cosine import Cosine
from ..losses.log_cosh import LogCosh
from ..losses.logistic import Logistic
from ..losses.loss import Loss
from ..losses.softmax import Softmax
from ..problems.problem import Problem
from ..seeds import generator
from .claim import Case
from .instance import Instance

BOUNDED: tuple[tuple[type[Loss], dict[str, object]], ...] = (
    (Cosine, {}),
    (LogCosh, {}),
    (Logistic, {}),
    (Logistic, {"nonconvex": 0.3}),
    (Softmax, {"n_classes": 3}),
)


def random_bounded_users(rng: np.random.Generator) -> Instance:
    """A loss with bounded gradients on random finite supports, three random points."""
    kind, keywords = BOUNDED[int(rng.integers(len(BOUNDED)))]
    return random_users(rng, kind(**keywords))


LEAST_SPREAD = 1e-4  # of gradients: far out bounded losses are straight, and only rounding is left to compare


def random_users(rng: np.random.Generator, loss: Loss, *, dim: int | None = None, ball: bool = False) -> Instance:
    """Users on subsets of common points."""
    classes = getattr(loss, "n_classes", 2) if loss.classifies else None
    n, k, d = int(rng.integers(2, 6)), int(rng.integers(2, 9)), dim or int(rng.integers(1, 4))
    while True:
        fed = finite_support(n_users=n, n_points=k, dim=d, n_classes=classes, seed=int(rng.integers(2**31)))
        if all_pairs(fed, tv=True).P[0] > 1e-6:  # equal users would say 0 <= 0
            break
    problem = Problem(loss, fed)
    while True:
        points = rng.normal(size=(3, problem.dim)) * rng.exponential(2.0)
        if min(problem.gamma_G(w) for w in points) > LEAST_SPREAD:
            break
    radius = (float(np.linalg.norm(points, axis=1).max()), None) if ball else None
    return Instance(problem, 0.0, points, f"{loss.name} on random finite supports", ball=radius)


def users_on_atoms(atoms: list[float], shares: list[list[float]]) -> Federation:
    """Users on common points of the line, without the points that have no mass."""
    kept = [[(z, s) for z, s in zip(atoms, user, strict=True) if s > 0] for user in shares]
    return Federation.from_arrays(
        [[[z] for z, _ in user] for user in kept], sample_weight=[[s for _, s in user] for user in kept]
    )


def opposite_gradients() -> Instance:
    """Gradients +-1 = +-B at w = 0 (angles a quarter turn away), three users of ten with more of one, seven with
    more of the other.
    """
    fed = users_on_atoms([-math.pi / 2, math.pi / 2], [[0.7, 0.3]] * 3 + [[0.1, 0.9]] * 7)
    return Instance(Problem(Cosine(), fed), 0.0, np.zeros((1, 1)), "two opposite gradients")


def small_handwritten() -> Federation:
    """The paper's split with ten users and few images: MNIST where it lies on this machine, else its subset from a
    dependency.
    """
    return paper_split(local(handwritten_source()), n_users=10, a=20)


def handwritten() -> Instance:
    """Softmax regression at small random matrices."""
    fed = small_handwritten()
    problem = Problem(Softmax(10), fed)
    points = 0.02 * np.cumsum(generator(12, "points").normal(size=(3, problem.dim)), axis=0)
    radius = float(np.linalg.norm(points, axis=1).max())
    return Instance(problem, 0.0, points, f"softmax on {fed.name}, 3 points", ball=(radius, None))


HANDWRITTEN = Case("handwritten", handwritten, "HOLDS", "digits or MNIST")


def handwritten_pixels() -> Instance:
    """Softmax regression on the digits as 7 x 7 means of 4 x 4 pixels: Hessians of d = 490."""
    fed = small_handwritten()
    blocks = fed.x.reshape(len(fed.x), 7, 4, 7, 4).mean((2, 4)).reshape(len(fed.x), 49) * fed.scale
    small = Federation(blocks, fed.y, fed.weights, fed.offsets, law=fed.law, name=f"{fed.name}, 7 x 7 pixels")
    problem = Problem(Softmax(10), small)
    points = 0.1 * np.cumsum(generator(13, "points").normal(size=(2, problem.dim)), axis=0)
    return Instance(problem, 0.0, points, f"softmax on {small.name}, 2 points")


def _no_radius() -> Instance:
    fed = location(n_users=4, dim=2, size=6, heterogeneity=1.0, seed=5)
    labelled = Federation(fed.x, (fed.x[:, 0] > 0).astype(np.int64), fed.weights, fed.offsets, name="moving features")
    return Instance(Problem(Logistic(), labelled), 0.0, np.zeros((1, 2)), "logistic, moving features, no radius")


def concept_shift_at_zero() -> Instance:
    """At w = 0 the best kappa is 2 X [theory 8.4]."""
    fed = concept_shift_from_laws([[1.0, 0.0], [0.0, 2.0]], [[0.9, 0.2], [0.3, 0.6]])
    return Instance(Problem(Logistic(), fed), 0.0, np.zeros((1, 2)), "concept shift at w = 0", ball=(0.0, None))
