"""Hessian-free Per-FedAvg replaces H v by a difference of gradients: how far off it is.

Alpha ||[grad f(w + delta v) - grad f(w - delta v)] / (2 delta) - Hess f(w) v||:

- paper: <= alpha rho delta ||v||^2 (tight: no: half of it is reached)
- sharp: <= alpha min(rho delta ||v||^2 / 2, 2 L ||v||) (tight: attained)
- sharp, third-order: <= alpha rho_3 delta^2 ||v||^3 / 6, D^3 f rho_3-Lipschitz (tight: as delta ||v|| -> 0
  (cosine))

v is the gradient at the adapted point, as in the algorithm. Proofs: docs/theory/first-order.md#9-4. Judged at points
w, with the delta of the instance's algorithm: piecewise users; for the last form rows under the cosine or the
logistic loss, whose fourth derivatives are bounded.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..algorithms.per_fedavg import PerFedAvg
from ..federations.federation import Federation
from ..judging.claim import Case, Claim, Hypothesis, Sides
from ..judging.hypotheses import bound, has_constants, roundings_of_constants
from ..judging.instance import Instance
from ..judging.on_curves import ON_CURVES, curves_of, points_of, random_curves
from ..judging.on_data import of_rounding
from ..losses.cosine import Cosine
from ..losses.logistic import Logistic
from ..losses.piecewise import Curve, Piecewise
from ..losses.row_moments import row_moments
from ..losses.softmax import Softmax
from ..problems.curves import gradient_error, hessian_error
from ..problems.problem import Problem
from ..rigour.interval import Interval
from ..rigour.rounding import UNIT

LEAST_STEP = 1e-6  # of delta v^2 in random instances
SUP_D4_SOFTPLUS = 1 / 8  # sup of the third derivative q (1 - 6 q) of the sigmoid, q = its slope in (0, 1/4], at q = 1/4


def _delta(instance: Instance) -> float:
    algorithm = instance.algorithm
    assert isinstance(algorithm, PerFedAvg)
    return algorithm.difference_step


def _factors(instance: Instance) -> dict[str, NDArray]:
    """delta and ||v||, of which right sides are products: the square of a small v vanishes in floats. Where v is 0
    delta does not matter.
    """
    points = instance.judged_at
    v = np.concatenate(
        [np.atleast_2d(instance.problem.gradient(instance.problem.adapted(w, instance.alpha))) for w in points]
    )
    largest = np.abs(v).max(1)
    sizes = largest * np.linalg.norm(v / np.where(largest > 0, largest, 1.0)[:, None], axis=1)
    return {"||v||": sizes, "delta": np.array([_delta(instance)] if sizes.any() else [])}


def _sides(formula):  # type: ignore[no-untyped-def]
    def sides(instance: Instance) -> Sides:
        """Both sides for every user at every point; where v is 0 both are, whatever rounds."""
        curves, alpha, delta, problem = curves_of(instance), instance.alpha, _delta(instance), instance.problem
        L, rho = bound(instance, "L"), bound(instance, "rho")
        slope_error = gradient_error(curves)
        pairs = []
        for w in points_of(instance):
            point = np.full((problem.n_users, 1), w)
            v = problem.gradient(problem.adapted(point, alpha))
            difference = (problem.gradient(point + delta * v) - problem.gradient(point - delta * v)) / (2 * delta)
            off = np.abs(difference - problem.hvp(point, v))[:, 0]
            for size, e in zip(np.abs(v[:, 0]), off, strict=True):
                # v as computed is the v of the statement; points w +- delta v round once, gradients and f'' as they do
                error = (
                    (slope_error + 2 * L * UNIT * (abs(w) + delta * size)) / delta
                    + hessian_error(curves) * size
                    + 4 * UNIT * (e + L * size)
                )
                left = Interval.with_error(alpha * e, alpha * error) if size else Interval(0.0, 0.0)
                pairs.append((left, Interval.rounded(alpha * formula(L, rho, delta, size), operations=16)))
        return Sides.over(pairs, "points", size=alpha * L * max(c.steepest for c in curves))

    return sides


def paper_bound(L: float, rho: float, delta: float, size: float) -> float:
    """rho delta ||v||^2."""
    return rho * delta * size**2


def sharp_bound(L: float, rho: float, delta: float, size: float) -> float:
    """min(rho delta ||v||^2 / 2, 2 L ||v||)."""
    return min(rho * delta * size**2 / 2, 2 * L * size)


def fourth(problem: Problem) -> NDArray | None:
    """rho_3 of every user, a Lipschitz constant of D^3 f_i; None where none is derived.

    Cosine: f_i is a sum of cosines of amplitudes c^2 |phi_k|, so rho_3 = max_k |phi_k| / c^2 = rho / c. Logistic:
    E||x||^4 / 8.

    Examples
    --------
    >>> fourth(third_order_witness().problem).tolist()
    [1.0]
    """
    if problem.kind != "rows":
        return None
    loss = problem.loss
    if isinstance(loss, Cosine):
        return problem.constants()["rho"].values / loss.c
    if isinstance(loss, Logistic) and loss.nonconvex == 0:
        return SUP_D4_SOFTPLUS * row_moments(problem.federation).m4
    return None


def _fourth_is_known(instance: Instance) -> str | None:
    known = fourth(instance.problem) is not None
    return (
        None
        if known
        else "no Lipschitz constant of the third derivative is derived for this problem: only for rows under the "
        "cosine or logistic loss."
    )


def third_order_sides(instance: Instance) -> Sides:
    """Both sides for every user at every point; where v is 0 both are, whatever rounds."""
    alpha, delta, problem, fed = instance.alpha, _delta(instance), instance.problem, instance.problem.federation
    rho_3 = fourth(problem)
    assert rho_3 is not None
    B, L, third, extent = bound(instance, "B_datum"), bound(instance, "L_datum"), bound(instance, "rho"), 0.0
    if isinstance(problem.loss, Cosine):  # rounds w - z, and one datum's Hessian may change faster than a user's
        third, extent = (
            bound(instance, "lip_hessian_z"),
            float(np.abs(fed.x.astype(np.float64)).max()) * fed.scale * math.sqrt(fed.n_features),
        )
    count = 8 * (int(fed.sizes.max()) + problem.dim + 64) * UNIT

    def at(w: NDArray) -> list[tuple[Interval, Interval]]:
        point = np.tile(w, (problem.n_users, 1))
        v = problem.gradient(problem.adapted(point, alpha))
        difference = (problem.gradient(point + delta * v) - problem.gradient(point - delta * v)) / (2 * delta)
        off, size = np.linalg.norm(difference - problem.hvp(point, v), axis=1), np.linalg.norm(v, axis=1)
        right = alpha * rho_3 * delta**2 * size**3 / 6
        pairs = []
        for e, norm, most in zip(off.tolist(), size.tolist(), right.tolist(), strict=True):
            reach = float(np.linalg.norm(w)) + delta * norm + extent
            # v as computed is the v of the statement: two gradients, their points rounded, and the product
            error = (count * (B + L * reach) + 2 * L * UNIT * reach) / delta + count * (L + third * reach) * norm
            left = of_rounding(alpha * e, alpha * error) if norm else Interval(0.0, 0.0)
            pairs.append((left, Interval.rounded(most, operations=64 + roundings_of_constants(instance))))
        return pairs

    return Sides.over([pair for w in instance.judged_at for pair in at(w)], "points", size=alpha * L * B)


def _hessian_free(instance: Instance) -> str | None:
    good = isinstance(instance.algorithm, PerFedAvg) and instance.algorithm.variant == "hessian-free"
    return None if good else "the algorithm must be Hessian-free Per-FedAvg: its delta is what is judged."


def witness() -> Instance:
    """f'' = |x| near 0, looked at from 0: the curvature grows on both sides at the rate rho."""
    curve = Curve(np.array([-4.0, -2.0, 0.0, 2.0, 4.0]), np.array([0.0, 2.0, 0.0, 2.0, 0.0]), 0.0, 1.0)
    problem = Problem.from_curves(Piecewise([curve]))
    return Instance(
        problem,
        0.25,
        np.zeros((1, 1)),
        "curvature |x|",
        PerFedAvg(alpha=0.25, beta=0.1, variant="hessian-free", delta=0.5),
    )


def random_instance(rng: np.random.Generator) -> Instance:
    """Random piecewise users, delta between 1e-3 and 10, so large that the error stands above rounding."""
    while True:
        base = random_curves(rng)
        delta = float(10 ** rng.uniform(-3, 1))
        v = [base.problem.gradient(base.problem.adapted(np.array([w]), base.alpha)) for w in points_of(base)]
        if min((delta * x**2 for x in np.ravel(v).tolist() if x), default=1.0) > LEAST_STEP:
            break
    algorithm = PerFedAvg(alpha=base.alpha, beta=0.1, variant="hessian-free", delta=delta)
    return Instance(base.problem, base.alpha, base.points, base.name, algorithm)


def third_order_witness(theta: float = 0.02, alpha: float = 0.5, step: float = 0.1) -> Instance:
    """One datum at 0 under the cosine loss, w = theta near 0: v is small, delta ||v|| = step."""
    v = math.sin(theta - alpha * math.sin(theta))
    problem = Problem(Cosine(), Federation.from_arrays([[[0.0]]]))
    return _rows(problem, alpha, np.array([[theta]]), step / v, "cosine, near its bottom")


def _rows(problem: Problem, alpha: float, points: NDArray, delta: float, name: str) -> Instance:
    return Instance(problem, alpha, points, name, PerFedAvg(alpha=alpha, beta=0.1, variant="hessian-free", delta=delta))


def random_rows(rng: np.random.Generator) -> Instance:
    """One user of a few rows under the cosine or the logistic loss; delta ||v|| between 0.1 and 3, where the error
    stands above rounding.
    """
    d, m = int(rng.integers(1, 4)), int(rng.integers(1, 6))
    x = [rng.normal(size=(m, d)) * np.exp(rng.normal())]
    if rng.random() < 0.5:
        problem = Problem(Cosine(float(np.exp(rng.normal()))), Federation.from_arrays(x))
    else:
        problem = Problem(Logistic(), Federation.from_arrays(x, [rng.integers(0, 2, m)]))
    alpha = float(rng.uniform(0, 1)) / problem.constants()["L"].max()
    w = rng.normal(size=d)
    size = float(np.linalg.norm(problem.gradient(problem.adapted(w, alpha))))
    return _rows(problem, alpha, w[None], float(10 ** rng.uniform(-1, 0.5)) / size, "random rows")


def _softmax() -> Instance:
    problem = Problem(Softmax(2), Federation.from_arrays([[[1.0]]], [[0]]))
    return _rows(problem, 0.5, np.zeros((1, 2)), 0.1, "softmax: fourth derivative not derived")


THETA = math.cos(0.02) * 6 * (0.1 - math.sin(0.1)) / 0.1**3  # e is cos(theta) (x - sin x) / delta at delta ||v|| = x
HYPOTHESES = (ON_CURVES, has_constants("L", "rho"), Hypothesis("Hessian-free Per-FedAvg", _hessian_free))

CLAIMS = (
    Claim(
        name="hessian-free-error",
        version="paper",
        form="",
        title="Error of the Hessian-free product",
        short="alpha rho delta ||v||^2",
        statement="the Hessian-free product is off by at most alpha rho delta ||v||^2",
        source="Fallah, Mokhtari and Ozdaglar (2020), arXiv 2002.07948v4, remarks on HF, as transcribed",
        tight=False,
        known_ratio=0.5,
        hypotheses=HYPOTHESES,
        sides=_sides(paper_bound),
        witness=witness,
        random_instance=random_instance,
        sizes=_factors,
    ),
    Claim(
        name="hessian-free-error",
        version="sharp",
        form="",
        title="Error of the Hessian-free product, half as large and bounded for every delta",
        short="alpha min(rho delta ||v||^2/2, 2 L ||v||)",
        statement="the Hessian-free product is off by at most alpha min(rho delta ||v||^2 / 2, 2 L ||v||)",
        source="docs/theory/first-order.md#9-4-hessian-free",
        tight=True,
        known_ratio=1.0,
        hypotheses=HYPOTHESES,
        sides=_sides(sharp_bound),
        witness=witness,
        random_instance=random_instance,
        sizes=_factors,
    ),
    Claim(
        name="hessian-free-error",
        version="sharp",
        form="third-order",
        title="Error of the Hessian-free product where third derivatives are Lipschitz",
        short="alpha rho_3 delta^2 ||v||^3/6",
        statement="where D^3 f_i is rho_3-Lipschitz the Hessian-free product is off by at most alpha rho_3 delta^2 "
        "||v||^3 / 6",
        source="docs/theory/first-order.md#9-4-third-order",
        tight=True,
        known_ratio=THETA,
        hypotheses=(
            Hypothesis("a Lipschitz constant of D^3 f_i is derived", _fourth_is_known),
            has_constants("B_datum", "L_datum", "rho"),
            HYPOTHESES[-1],
        ),
        sides=third_order_sides,
        witness=third_order_witness,
        random_instance=random_rows,
        sizes=_factors,
        cases=(Case("softmax", _softmax, "NOT_APPLICABLE"), Case("piecewise", witness, "NOT_APPLICABLE")),
    ),
)
