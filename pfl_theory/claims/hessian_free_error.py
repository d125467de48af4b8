"""Hessian-free Per-FedAvg replaces H v by a difference of gradients: how far off it is.

=======  ==================================================================================  ==========================================
version  alpha ||[grad f(w + delta v) - grad f(w - delta v)] / (2 delta) - Hess f(w) v||      tight
=======  ==================================================================================  ==========================================
paper    <= alpha rho delta ||v||^2                                                           no: half of it is reached
sharp    <= alpha min(rho delta ||v||^2 / 2, 2 L ||v||)                                       attained
=======  ==================================================================================  ==========================================

v is the gradient at the adapted point, as in the algorithm. Proofs: docs/theory.md, section 9.4. Judged at points w of piecewise users, with
the delta of the instance's algorithm.
"""

from __future__ import annotations

import numpy as np

from ..algorithms.per_fedavg import DEFAULT_DELTA, PerFedAvg
from ..losses.piecewise import Curve, Piecewise
from ..problems.problem import Problem
from .claim import Claim, Hypothesis, Sides, bound, has_constants
from .instance import Instance
from .interval import UNIT, Interval
from .on_curves import ON_CURVES, curves_of, gradient_error, hessian_error, points_of, random_curves


def _delta(instance: Instance) -> float:
    algorithm = instance.algorithm
    assert isinstance(algorithm, PerFedAvg)
    return float(algorithm.delta or DEFAULT_DELTA)


def _sides(formula):  # type: ignore[no-untyped-def]
    def sides(instance: Instance) -> Sides:
        """The point and user where the left side comes closest to the right."""
        curves, alpha, delta, problem = curves_of(instance), instance.alpha, _delta(instance), instance.problem
        L, rho = bound(instance, "L"), bound(instance, "rho")
        slope_error = gradient_error(curves)
        best: tuple[Interval, Interval] | None = None
        for w in points_of(instance):
            point = np.full((problem.n_users, 1), w)
            v = problem.gradient(problem.adapted(point, alpha))
            difference = (problem.gradient(point + delta * v) - problem.gradient(point - delta * v)) / (2 * delta)
            off = np.abs(difference - problem.hvp(point, v))[:, 0]
            for size, e in zip(np.abs(v[:, 0]), off, strict=True):
                # v as computed is the v of the statement; points w +- delta v round once, gradients and f'' as they do
                error = (slope_error + 2 * L * UNIT * (abs(w) + delta * size)) / delta + hessian_error(curves) * size + 4 * UNIT * (e + L * size)
                lhs, rhs = Interval.with_error(alpha * e, alpha * error), Interval.rounded(alpha * formula(L, rho, delta, size), operations=16)
                if best is None or lhs.middle * best[1].middle > best[0].middle * rhs.middle:
                    best = lhs, rhs
        assert best is not None
        return Sides(*best, "points")

    return sides


def paper_bound(L: float, rho: float, delta: float, size: float) -> float:
    """rho delta ||v||^2."""
    return rho * delta * size**2


def sharp_bound(L: float, rho: float, delta: float, size: float) -> float:
    """min(rho delta ||v||^2 / 2, 2 L ||v||)."""
    return min(rho * delta * size**2 / 2, 2 * L * size)


def _hessian_free(instance: Instance) -> str | None:
    good = isinstance(instance.algorithm, PerFedAvg) and instance.algorithm.variant == "hessian-free"
    return None if good else "the algorithm must be Hessian-free Per-FedAvg: its delta is what is judged."


def witness() -> Instance:
    """f'' = |x| near 0, looked at from 0: the curvature grows on both sides at the rate rho."""
    curve = Curve(np.array([-4.0, -2.0, 0.0, 2.0, 4.0]), np.array([0.0, 2.0, 0.0, 2.0, 0.0]), 0.0, 1.0)
    problem = Problem.from_functions(**Piecewise([curve]).functions())
    return Instance(problem, 0.25, np.zeros((1, 1)), "curvature |x|", PerFedAvg(alpha=0.25, beta=0.1, variant="hessian-free", delta=0.5))


def random_instance(rng: np.random.Generator) -> Instance:
    """Random piecewise users, delta between 1e-3 and 10."""
    base = random_curves(rng)
    delta = float(10 ** rng.uniform(-3, 1))
    algorithm = PerFedAvg(alpha=base.alpha, beta=0.1, variant="hessian-free", delta=delta)
    return Instance(base.problem, base.alpha, base.points, base.name, algorithm)


HYPOTHESES = (ON_CURVES, has_constants("L", "rho"), Hypothesis("Hessian-free Per-FedAvg", _hessian_free))

CLAIMS = (
    Claim(
        name="hessian-free-error",
        version="paper",
        form="",
        title="Error of the Hessian-free product",
        statement="the Hessian-free product is off by at most alpha rho delta ||v||^2",
        source="Fallah, Mokhtari and Ozdaglar (2020), arXiv 2002.07948v4, remarks on HF, as transcribed",
        tight=False,
        known_ratio=0.5,
        hypotheses=HYPOTHESES,
        sides=_sides(paper_bound),
        witness=witness,
        draw=random_instance,
    ),
    Claim(
        name="hessian-free-error",
        version="sharp",
        form="",
        title="Error of the Hessian-free product, half as large and bounded for every delta",
        statement="the Hessian-free product is off by at most alpha min(rho delta ||v||^2 / 2, 2 L ||v||)",
        source="docs/theory.md, section 9.4",
        tight=True,
        known_ratio=1.0,
        hypotheses=HYPOTHESES,
        sides=_sides(sharp_bound),
        witness=witness,
        draw=random_instance,
    ),
)
