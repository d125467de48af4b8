"""Hessians of users are close where their data are close in 1-Wasserstein distance (the paper's section 4.1).

- paper: (1/n) sum ||Hess f_i - Hess f||^2 <= rho_Z^2 (1/n) sum W1(p_i, p)^2 (tight: two users near a turning point)
- sharp: the same with W1 between the features alone where the Hessian does not see the label (tight: the same)

rho_Z is the Lipschitz constant of z -> Hess l(w; z), operator norm. For logistic and softmax regression the label
does not enter it. The average over pairs does not bound operator norms [theory 8.4], so there is no P here. Proofs:
docs/theory/gradients-close.md#8-4. Judged at points w.
"""

from __future__ import annotations

import numpy as np

from ..federations.federation import Federation
from ..judging.claim import Case, Claim, Hypothesis, Sides
from ..judging.hypotheses import POINTS_IN_BALL, bound, has_constants
from ..judging.instance import Instance
from ..judging.instances_on_data import handwritten_pixels as without_radius
from ..judging.instances_on_data import random_users
from ..judging.on_data import (
    CLASSES,
    ON_DATA,
    SOURCE,
    hessian_spread,
    interval,
    on_the_ball,
    scaled,
    w1_to_average,
    worst_point,
)
from ..losses.cosine import Cosine
from ..losses.log_cosh import LogCosh
from ..losses.logistic import Logistic
from ..losses.loss import Loss
from ..losses.quadratic import Quadratic
from ..losses.softmax import Softmax
from ..problems.problem import Problem

LOSSES: tuple[tuple[type[Loss], dict[str, object]], ...] = (
    (Cosine, {}),
    (LogCosh, {}),
    (Quadratic, {}),
    (Logistic, {}),
    (Softmax, {"n_classes": 3}),
)
NEAR = 1e-3


def _sides(instance: Instance, kappa: float | None) -> Sides:
    fed = instance.problem.federation
    found = w1_to_average(fed, kappa)
    m = interval(found.M, rounding=found.closed)
    right = scaled(bound(instance, "lip_hessian_z") ** 2, m, 64 + fed.n_users + fed.n_features + instance.problem.dim)
    return worst_point(instance, lambda w: (hessian_spread(instance, w), right))


def paper_sides(instance: Instance) -> Sides:
    """gamma_H^2(w) against rho_Z^2 M, in the metric of the gradient bound (label price included)."""
    return _sides(instance, on_the_ball(instance).kappa)


def sharp_sides(instance: Instance) -> Sides:
    """gamma_H^2(w) against rho_Z^2 M of the features."""
    return _sides(instance, None)


def witness() -> Instance:
    """Angles just beside a quarter turn, where the curvature cos changes fastest."""
    fed = Federation.from_arrays([[[np.pi / 2 - NEAR]], [[np.pi / 2 + NEAR]]])
    return Instance(Problem(Cosine(), fed), 0.0, np.zeros((1, 1)), "two angles beside a quarter turn")


def random_instance(rng: np.random.Generator) -> Instance:
    """A loss with a finite rho_Z (on a ball, where features move) on random finite supports."""
    kind, keywords = LOSSES[int(rng.integers(len(LOSSES)))]
    loss = kind(**keywords)
    return random_users(rng, loss, ball=loss.classifies)


def handwritten() -> Instance:
    """Softmax regression on 7 x 7 pixels, on the ball of its points."""
    base = without_radius()
    assert base.points is not None
    radius = float(np.linalg.norm(base.points, axis=1).max())
    return Instance(base.problem, 0.0, base.points, base.name, ball=(radius, None))


def _users_with_equal_features() -> Instance:
    from ..judging.instances_on_data import concept_shift_at_zero

    return concept_shift_at_zero()


def _finite(instance: Instance) -> str | None:
    found = on_the_ball(instance).lip
    return None if found.usable else f"the metric has no best kappa: {found.reason}."


HYPOTHESES = (ON_DATA, CLASSES, has_constants("lip_hessian_z", "L_datum", "rho"), POINTS_IN_BALL)
CASES = (
    Case("no-radius", without_radius, "NOT_APPLICABLE", "digits or MNIST"),
    Case("equal-features", _users_with_equal_features, "HOLDS"),
    Case("handwritten", handwritten, "HOLDS", "digits or MNIST"),
)
RATIO = float((np.sin(NEAR) / NEAR) ** 2)

CLAIMS = (
    Claim(
        name="w1-hessian",
        version="paper",
        form="",
        title="Hessians of users against 1-Wasserstein distance",
        short="rho_Z^2 mean W1^2",
        statement="(1/n) sum ||Hess f_i - Hess f||^2 <= rho_Z^2 (1/n) sum W1(p_i, p)^2, rho_Z the Lipschitz "
        "constant of z -> Hess l(w; z)",
        source=SOURCE,
        tight=True,
        known_ratio=RATIO,
        hypotheses=(*HYPOTHESES, Hypothesis("the labelled metric has a price", _finite)),
        sides=paper_sides,
        witness=witness,
        random_instance=random_instance,
        cases=CASES,
    ),
    Claim(
        name="w1-hessian",
        version="sharp",
        form="",
        title="Hessians of users against 1-Wasserstein distance of their features",
        short="W1 of the features alone",
        statement="(1/n) sum ||Hess f_i - Hess f||^2 <= rho_Z^2 (1/n) sum W1(features of p_i, features of p)^2",
        source="docs/theory/gradients-close.md#8-4-hessians-see-features",
        tight=True,
        known_ratio=RATIO,
        hypotheses=HYPOTHESES,
        sides=sharp_sides,
        witness=witness,
        random_instance=random_instance,
        cases=CASES,
    ),
)
