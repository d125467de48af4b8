"""Lemma 4.2: F_i(w) = f_i(w - alpha grad f_i(w)) is L_F-smooth.

L_F:

- paper: 4 L + alpha rho B, alpha <= 1/L (tight: as kappa = rho B / L^2 grows)
- sharp: (1 + alpha L)^2 L + alpha rho B (tight: as kappa grows, every alpha)
- sharp, one-dimensional: (1 + alpha L)^2 L + alpha rho B - alpha L^2 / 2, d = 1 (tight: exact: the witness attains
  it)
- sharp, convex: min(L, m(c)) + c, c = alpha rho B; d = 1: also <= L + c - alpha L^2 / 2; f_i convex, alpha <= 1/L
  (tight: exact in d = 1 where alpha rho B >= L)

m(c) is the maximum of (1 - alpha h)^2 (h + c) over 0 <= h <= L. Proofs: docs/theory/smoothness.md#2.
Source: Fallah, Mokhtari and Ozdaglar (2020), arXiv 2002.07948v4, Lemma 4.2, as transcribed.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from ..errors import require
from ..federations.federation import Federation
from ..federations.location import location
from ..federations.standard import paper_pair
from ..judging.claim import Case, Claim, Hypothesis, Sides, transcribed
from ..judging.hypotheses import (
    ADAPTED_IN_BALL,
    CONVEX,
    PATHS_IN_BALL,
    SMALL_STEP,
    bound,
    has_constants,
    in_float64,
    roundings_of_constants,
)
from ..judging.instance import Instance
from ..judging.on_curves import made_convex
from ..losses.cosine import Cosine
from ..losses.logistic import Logistic
from ..losses.piecewise import Curve, Piecewise, random_piecewise
from ..losses.quadratic import Quadratic
from ..losses.softmax import Softmax
from ..problems.problem import Problem
from ..rigour.interval import Interval
from ..rigour.rounding import UNIT
from ..seeds import generator
from ..theory.lemmas import smoothness_convex, smoothness_one_dimensional, smoothness_paper, smoothness_sharp

SOURCE = transcribed("Lemma 4.2")


def witness_curve(alpha: float, L: float, rho: float, B: float) -> Curve:
    """The extremal function: f'' = -L on [0, w], f'(0) = B - L^2/(2 rho), so that w adapts onto 0 and |F''(w+)| is the
    one-dimensional bound.
    """
    steep = B - L**2 / (2 * rho)
    require(alpha > 0, f"the witness needs alpha > 0 (at alpha = 0 there is nothing to judge: F = f); given {alpha:g}")
    require(steep > 0, f"the witness needs rho B > L^2 / 2; given rho B = {rho * B:g}, L^2 / 2 = {L**2 / 2:g}")
    w = alpha * steep / (1 + alpha * L)
    return Curve(np.array([-L / rho, 0.0, w, w + L / rho]), np.array([0.0, -L, -L, 0.0]), 0.0, steep)


def witness(
    alpha: float = 1.0, L: float = 1.0, rho: float = 4.0, B: float = 1.0, name: str = "extremal function"
) -> Instance:
    """One user with the extremal function."""
    return Instance(Problem.from_curves(Piecewise([witness_curve(alpha, L, rho, B)])), alpha, name=name)


def convex_witness_curve(alpha: float, L: float, rho: float, B: float, tooth: float = 0.0) -> Curve:
    """f'' falls from L at 0 to 0 and has a tooth of this height that ends at w = alpha B, where f' = B.

    So w adapts onto 0, and f'' has slope -rho left of w. Where alpha rho B = L the fall itself ends at w and no tooth
    is needed.
    """
    w, foot = alpha * B, L / rho
    if tooth == 0.0:
        require(
            abs(w - foot) <= 1e-12 * w,
            f"the convex witness needs a tooth unless alpha rho B = L; given {alpha * rho * B:g} and L = {L:g}",
        )
        return Curve(np.array([-foot, 0.0, w]), np.array([0.0, L, 0.0]), w, B)
    rise = tooth / rho
    require(
        w - 2 * rise >= foot,
        f"the convex witness needs alpha rho B >= L + 2 * tooth; given {alpha * rho * B:g}, L = {L:g}, tooth = "
        f"{tooth:g}",
    )
    return Curve(
        np.array([-foot, 0.0, foot, w - 2 * rise, w - rise, w]), np.array([0.0, L, 0.0, 0.0, tooth, 0.0]), w, B
    )


def convex_witness(
    alpha: float = 1.0, L: float = 1.0, rho: float = 1.0, B: float = 1.0, tooth: float = 0.0
) -> Instance:
    """One convex user; |F''| left of w = alpha B is L + alpha rho B - alpha L^2 / 2 - alpha tooth^2."""
    curve = convex_witness_curve(alpha, L, rho, B, tooth)
    return Instance(Problem.from_curves(Piecewise([curve])), alpha, name="convex witness")


def random_instance(rng: np.random.Generator, *, convex: bool = False) -> Instance:
    """Random piecewise users, alpha in [0, 1/L]."""
    family = random_piecewise(rng)
    problem = Problem.from_curves(made_convex(family) if convex else family)
    return Instance(problem, float(rng.uniform(0, 1)) / problem.constants()["L"].max(), name="random piecewise")


def _known(instance: Instance) -> str | None:
    if instance.problem.meta_smoothness(instance.alpha) is not None:
        return None
    if instance.problem.kind != "rows":
        return "functions need meta_smoothness=: without it the rounding of their gradients is unknown."
    return in_float64(instance)


KNOWN = Hypothesis("gradients are known up to rounding", _known)


def left_side(instance: Instance) -> tuple[Interval, str]:
    """The smoothness constant of the F_i: exact where the problem knows it, else the largest gradient quotient over
    consecutive points.
    """
    exact = instance.problem.meta_smoothness(instance.alpha)
    if exact is not None:
        worst = int(np.argmax(exact[0]))
        return Interval.with_error(float(exact[0][worst]), float(exact[1].max())), "all w"
    points = instance.points
    require(
        points is not None and len(points) >= 2,
        f"instance {instance.name!r}: the smoothness of F is not known in closed form; give two or more points",
    )
    assert points is not None
    gradients = np.stack([instance.problem.meta_gradient(w, instance.alpha) for w in points])
    require(
        bool(np.isfinite(gradients).all()),
        f"instance {instance.name!r}: a meta-gradient is NaN or infinite at its points",
    )
    distance = np.linalg.norm(np.diff(points, axis=0), axis=1)
    require(bool((distance > 0).all()), f"instance {instance.name!r}: two consecutive points are equal")
    quotient = np.linalg.norm(np.diff(gradients, axis=0), axis=2) / distance[:, None]
    # every pair has an error of its own: a short step may count for more than the largest quotient
    error = 2 * meta_gradient_error(instance, float(np.linalg.norm(points, axis=1).max())) / distance[:, None]
    lower, upper = float((quotient - error).max()), float((quotient + error).max())
    return Interval(lower, upper, upper - lower), "points"


def meta_gradient_error(instance: Instance, reach: float) -> float:
    """Bound of the rounding error of a computed grad F_i at ||w|| <= reach (derivation: docs/theory/rounding.md#4-4).

    Sums over m rows and d coordinates of terms bounded through the per-datum constants, each rounded once, twice
    through the inner step. The user's rho suffices because the library's is sup |phi'''| times the largest eigenvalue
    of E||x||xx^T (a smaller one would not).
    """
    fed = instance.problem.federation
    count = int(fed.sizes.max()) + instance.problem.dim + 64
    L, B = bound(instance, "L_datum"), bound(instance, "B_datum")
    third = bound(instance, "rho")
    a = 1 + instance.alpha * L
    if isinstance(
        instance.problem.loss, Cosine
    ):  # sin passes on the rounding of w - z, and a user's rho may be smaller than one datum's
        reach += float(np.abs(fed.x.astype(np.float64)).max()) * fed.scale * math.sqrt(fed.n_features)
        third = bound(instance, "lip_hessian_z")
    reach = reach + instance.alpha * B
    return 8 * count * UNIT * (a**2 * (B + L * reach) + instance.alpha * B * (L + third * reach))


def _sides(formula):  # type: ignore[no-untyped-def]
    def sides(instance: Instance) -> Sides:
        lhs, scope = left_side(instance)
        values = [bound(instance, name) for name in ("L", "rho", "B")]
        # the formulas have at most 32 roundings and are of degree at most 5 in the constants
        return Sides(
            lhs,
            Interval.rounded(formula(instance.alpha, *values), operations=32 + 5 * roundings_of_constants(instance)),
            scope,
        )

    return sides


def _convex_sides(instance: Instance) -> Sides:
    return _sides(functools.partial(smoothness_convex, dim=instance.problem.dim))(instance)


def _one_dimensional(instance: Instance) -> str | None:
    return None if instance.problem.dim == 1 else f"d must be 1: this problem has d = {instance.problem.dim}."


def _whole_space(instance: Instance) -> str | None:
    return None if instance.ball is None else "the assumptions must hold on the whole line, not on a ball."


def _quadratic() -> Instance:
    return Instance(
        Problem(Quadratic(-1.0), Federation.from_arrays([[0.0], [1.0]])), 1.0, name="concave quadratic, alpha = 1/L"
    )


def _large_alpha() -> Instance:
    return Instance(witness().problem, 1.25, name="witness, alpha = 1.25/L")


def _large_alpha_convex() -> Instance:
    return Instance(convex_witness().problem, 1.25, name="convex witness, alpha = 1.25/L")


def _two_curvatures() -> Instance:
    problem = Problem(Quadratic([[1.0, 0.0], [0.0, 1.0 / 3.0]]), Federation.from_arrays([[[0.0, 0.0], [1.0, 1.0]]]))
    return Instance(problem, 1.0, name="convex quadratic, alpha = 1/L", ball=(2.0, None))


def _logistic(nonconvex: float = 0.1) -> Instance:
    centres = location(n_users=8, dim=3, size=30, heterogeneity=1.5, seed=3)
    labels = (centres.x @ np.array([1.0, -0.5, 0.25]) > 0).astype(np.int64)
    fed = Federation(centres.x, labels, centres.weights, centres.offsets, name="location features")
    problem = Problem(Logistic(nonconvex=nonconvex), fed)
    points = np.cumsum(generator(7, "points").normal(scale=0.05, size=(200, 3)), axis=0)
    kind = "nonconvex logistic" if nonconvex else "logistic"
    return Instance(problem, 0.5 / problem.constants()["L"].max(), points, f"{kind}, 200 points")


def _handwritten() -> Instance:
    fed, _ = paper_pair()
    problem = Problem(Softmax(10), fed)
    rng = generator(11, "points")
    points = np.cumsum(rng.normal(scale=0.01, size=(6, problem.dim)), axis=0)
    return Instance(problem, 1.0 / problem.constants()["L"].max(), points, f"softmax on {fed.name}, 6 points")


CASES = (
    Case("quadratic", _quadratic, "NOT_APPLICABLE"),
    Case("large-alpha", _large_alpha, "NOT_APPLICABLE"),
    Case("logistic", _logistic, "HOLDS"),
    Case("handwritten", _handwritten, "HOLDS", "digits or MNIST"),
)
CONSTANTS = has_constants("L", "rho", "B")
WITNESS_RATIO = (
    103.5 / 104.0
)  # of the witness at rho B = 100 L^2, alpha L = 1: 4 L + alpha rho B - alpha L^2 / 2 over 4 L + alpha rho B

CLAIMS = (
    Claim(
        name="lemma-4.2",
        version="paper",
        form="",
        title="Smoothness of F_i",
        short="4 L + alpha rho B",
        statement="F_i is L_F-smooth with L_F = 4 L + alpha rho B, for alpha in [0, 1/L]",
        source=SOURCE,
        tight=False,
        known_ratio=WITNESS_RATIO,
        hypotheses=(CONSTANTS, SMALL_STEP, ADAPTED_IN_BALL, KNOWN),
        sides=_sides(smoothness_paper),
        witness=lambda: witness(rho=100.0),
        random_instance=random_instance,
        cases=CASES,
    ),
    Claim(
        name="lemma-4.2",
        version="sharp",
        form="",
        title="Smoothness of F_i, with the factor (1 + alpha L)^2 kept",
        short="(1 + alpha L)^2 L + alpha rho B",
        statement="F_i is L_F-smooth with L_F = (1 + alpha L)^2 L + alpha rho B, for every alpha >= 0",
        source="Proposition 1, sharp form of Lemma 4.2, docs/theory/smoothness.md#2-1-proposition-1",
        tight=False,
        known_ratio=WITNESS_RATIO,
        hypotheses=(CONSTANTS, ADAPTED_IN_BALL, KNOWN),
        sides=_sides(smoothness_sharp),
        witness=lambda: witness(rho=100.0),
        random_instance=random_instance,
        cases=tuple(c if c.name != "large-alpha" else Case(c.name, c.make, "HOLDS") for c in CASES),
    ),
    Claim(
        name="lemma-4.2",
        version="sharp",
        form="one-dimensional",
        title="Smoothness of F_i in one dimension, exact",
        short="d = 1: exact, less alpha L^2/2",
        statement="for d = 1, F_i is L_F-smooth with L_F = (1 + alpha L)^2 L + alpha rho B - alpha L^2/2, and no "
        "smaller constant will do",
        source="Proposition 2, exact one-dimensional form of Lemma 4.2, docs/theory/smoothness.md#2-3-proposition-2",
        tight=True,
        known_ratio=1.0,
        hypotheses=(CONSTANTS, Hypothesis("d = 1", _one_dimensional), Hypothesis("whole line", _whole_space), KNOWN),
        sides=_sides(smoothness_one_dimensional),
        witness=witness,
        random_instance=random_instance,
        cases=(CASES[0], Case("large-alpha", _large_alpha, "HOLDS"), Case("logistic", _logistic, "NOT_APPLICABLE")),
    ),
    Claim(
        name="lemma-4.2",
        version="sharp",
        form="convex",
        title="Smoothness of F_i for convex f_i",
        short="convex: min(L, m(c)) + c, c = alpha rho B",
        statement="for f_i convex and alpha <= 1/L, F_i is L_F-smooth with L_F = min(L, m(c)) + c, c = alpha rho "
        "B, m(c) = max over 0 <= h <= L of "
        "(1 - alpha h)^2 (h + c); for d = 1 also with L + alpha rho B - alpha L^2/2",
        source="Proposition 3, convex form of Lemma 4.2, docs/theory/smoothness.md#2-5-proposition-3",
        tight=True,
        known_ratio=1.0,
        hypotheses=(CONSTANTS, CONVEX, SMALL_STEP, ADAPTED_IN_BALL, PATHS_IN_BALL, KNOWN),
        sides=_convex_sides,
        witness=convex_witness,
        random_instance=functools.partial(random_instance, convex=True),
        cases=(
            Case("tooth", lambda: convex_witness(rho=4.0, tooth=0.01), "HOLDS", ratio=4.4999 / 4.5),
            Case("two-curvatures", _two_curvatures, "HOLDS", ratio=1.0),
            Case("not-convex", witness, "NOT_APPLICABLE"),
            Case("large-alpha", _large_alpha_convex, "NOT_APPLICABLE"),
            Case("logistic", lambda: _logistic(nonconvex=0.0), "HOLDS"),
            Case("handwritten", _handwritten, "HOLDS", "digits or MNIST"),
        ),
    ),
)
