"""Gradients of users are close where their data are close in 1-Wasserstein distance (the paper's section 4.1).

- paper: (1/n) sum ||grad f_i - grad f||^2 <= L_Z^2 (1/n) sum W1(p_i, p)^2 (tight: quadratics, two clusters of
  users)
- sharp: ... <= L_Z(w)^2 min(M, P), P = (1/(2 n^2)) sum W1(p_i, p_j)^2 (tight: quadratics, any users that are moved
  copies)

L_Z is the Lipschitz constant of z -> grad l(w; z) in the metric of the data: ||x - x'||, plus kappa [y != y'] for
classes, with the kappa that gives the best bound. Where features move, L_Z grows with ||w||: the paper's form is
judged on a ball, the sharp one takes L_Z at ||w||. Proofs: docs/theory/gradients-close.md#8-4. Judged at points w.
"""

from __future__ import annotations

import numpy as np

from ..federations.federation import Federation
from ..judging.claim import Case, Claim, Hypothesis, Sides
from ..judging.hypotheses import POINTS_IN_BALL, has_constants
from ..judging.instance import Instance
from ..judging.instances_on_data import _no_radius, concept_shift_at_zero, handwritten, random_users
from ..judging.on_data import (
    CLASSES,
    ON_DATA,
    SOURCE,
    at_points,
    gradient_spread,
    interval,
    on_the_ball,
    scaled,
    w1_pairs,
    w1_to_average,
)
from ..losses.cosine import Cosine
from ..losses.log_cosh import LogCosh
from ..losses.logistic import Logistic
from ..losses.loss import Loss
from ..losses.quadratic import Quadratic
from ..losses.softmax import Softmax
from ..problems.best_kappa import best_kappa
from ..problems.problem import Problem

LOSSES: tuple[tuple[type[Loss], dict[str, object]], ...] = (
    (Cosine, {}),
    (LogCosh, {}),
    (Quadratic, {}),
    (Logistic, {}),
    (Logistic, {"nonconvex": 0.3}),
    (Softmax, {"n_classes": 3}),
)


def paper_sides(instance: Instance) -> Sides:
    """gamma_G^2(w) against L_Z^2 M."""
    best = on_the_ball(instance)
    fed = instance.problem.federation
    found = w1_to_average(fed, best.kappa)
    m = interval(found.M, rounding=found.closed)
    right = scaled(best.lip.bound("lip_gradient_z") ** 2, m, 64 + fed.n_users + fed.n_features + instance.problem.dim)
    return at_points(instance, lambda w: (gradient_spread(instance, w, _largest(instance, w)), right))


def sharp_sides(instance: Instance) -> Sides:
    """gamma_G^2(w) against L_Z(||w||)^2 min(M, P)."""
    fed = instance.problem.federation

    def at(w):  # type: ignore[no-untyped-def]
        best = (
            best_kappa(instance.problem, radius=float(np.linalg.norm(w)))
            if instance.problem.loss.reads_labels
            else on_the_ball(instance)
        )
        average, pairs = w1_to_average(fed, best.kappa), w1_pairs(fed, best.kappa)
        forms = [interval(average.M, rounding=average.closed), interval(pairs.P, rounding=pairs.closed)]
        lesser = min(forms, key=lambda side: side.middle)
        operations = 64 + fed.n_users + fed.n_features + instance.problem.dim
        return gradient_spread(instance, w, _largest(instance, w)), scaled(
            best.lip.bound("lip_gradient_z") ** 2, lesser, operations
        )

    return at_points(instance, at)


def _largest(instance: Instance, w: np.ndarray) -> float:
    """A bound of the gradients at w for the rounding of the left side."""
    constant = instance.constants["B_datum"]
    if constant.usable:
        return constant.max()
    fed = instance.problem.federation
    return instance.constants["L_datum"].bound("L_datum") * (
        float(np.linalg.norm(w)) + float(np.linalg.norm(fed.x * fed.scale, axis=1).max())
    )


def random_instance(rng: np.random.Generator) -> Instance:
    """A loss with a finite L_Z (on a ball, where features move) on random finite supports."""
    kind, keywords = LOSSES[int(rng.integers(len(LOSSES)))]
    loss = kind(**keywords)
    return random_users(rng, loss, ball=loss.classifies)


def paper_witness() -> Instance:
    """Two users at a distance; for quadratics W1 is the distance of the means."""
    fed = Federation.from_arrays([[[-1.0], [0.5]], [[1.0], [2.5]]])
    return Instance(Problem(Quadratic(), fed), 0.0, np.zeros((1, 1)), "quadratic, two moved users")


def sharp_witness() -> Instance:
    """Users at 0, 1, ..., 9, where M = 11.418 and P = gamma_G^2 = 8.25."""
    fed = Federation.from_arrays([[[float(i)]] for i in range(10)])
    return Instance(Problem(Quadratic(), fed), 0.0, np.zeros((1, 1)), "quadratic, ten users in a row")


def _with_radius() -> Instance:
    base = _no_radius()
    return Instance(
        base.problem,
        0.0,
        np.array([[0.0, 0.0], [1.0, -1.0], [3.0, 2.0]]),
        "logistic, moving features, ||w|| <= 4",
        ball=(4.0, None),
    )


def _has_lipschitz(instance: Instance) -> str | None:
    found = on_the_ball(instance).lip
    return None if found.usable else f"lip_gradient_z has no value a bound may use ({found.how}): {found.reason}."


HYPOTHESES = (
    ON_DATA,
    CLASSES,
    Hypothesis("z -> grad l(w; z) is L_Z-Lipschitz", _has_lipschitz),
    has_constants("L_datum"),
    POINTS_IN_BALL,
)
CASES = (
    Case("no-radius", _no_radius, "NOT_APPLICABLE"),
    Case("radius", _with_radius, "HOLDS"),
    Case("concept-shift", concept_shift_at_zero, "HOLDS"),
    Case("handwritten", handwritten, "HOLDS", "digits or MNIST"),
)

CLAIMS = (
    Claim(
        name="w1-gradient",
        version="paper",
        form="",
        title="Gradients of users against 1-Wasserstein distance",
        short="L_Z^2 mean W1^2",
        statement="(1/n) sum ||grad f_i - grad f||^2 <= L_Z^2 (1/n) sum W1(p_i, p)^2, L_Z the Lipschitz constant "
        "of z -> grad l(w; z)",
        source=SOURCE,
        tight=True,
        known_ratio=1.0,
        hypotheses=HYPOTHESES,
        sides=paper_sides,
        witness=paper_witness,
        random_instance=random_instance,
        cases=CASES,
    ),
    Claim(
        name="w1-gradient",
        version="sharp",
        form="",
        title="Gradients of users against 1-Wasserstein distance, with L_Z at w and the better of two averages",
        short="L_Z at w, min(M, P)",
        statement="(1/n) sum ||grad f_i - grad f||^2 <= L_Z(||w||)^2 min(M, P), M = (1/n) sum W1(p_i, p)^2, P = "
        "(1/(2 n^2)) sum W1(p_i, p_j)^2",
        source="docs/theory/gradients-close.md#8-4",
        tight=True,
        known_ratio=1.0,
        hypotheses=HYPOTHESES,
        sides=sharp_sides,
        witness=sharp_witness,
        random_instance=random_instance,
        cases=CASES,
    ),
)
