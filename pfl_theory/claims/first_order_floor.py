"""Where first-order Per-FedAvg comes to rest: how large grad F may be there.

- paper: FO adds a term of order alpha^2 L^2 B^2 to ||grad F||^2, its constant left open (tight: 1 is enough, and
  needed: a limit)
- sharp: ||grad F(w)|| <= a ||G(w)|| + alpha min(gamma_H, L) min(B, (1 + alpha L) gamma_G) (tight: both minima in
  the limit)
- sharp, convex: the same with a = 1 and L / 2 for L; f_i convex, alpha <= 1/L (tight: in the limit)

G = (1/n) sum grad f_i(w - alpha grad f_i(w)) is the direction of FO, a = 1 + alpha L. At a fixed point of FO (full
batches, one local step, all users) G = 0: the second term is the floor, which is 0 for one user, for equal
gradients and for equal Hessians. Operator norms in gamma_H; gamma_G, gamma_H over the whole line, exact. Proofs:
docs/theory/first-order.md#9-4. Judged at points w of piecewise users.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..judging.claim import Case, Claim, Hypothesis, Sides, transcribed
from ..judging.hypotheses import CONVEX, SMALL_STEP, bound, has_constants
from ..judging.instance import Instance
from ..judging.on_curves import ON_CURVES, curves_of, gammas, points_of, random_curves
from ..judging.on_data import of_rounding, worst_point
from ..losses.piecewise import Curve, Piecewise
from ..problems.curves import gradient_error, hessian_error, meta_gradient_error
from ..problems.problem import Problem
from ..rigour.interval import Interval
from ..rigour.rounding import UNIT

SOURCE = transcribed("remarks on FO")


def floor(alpha: float, L: float, B: float, gamma_G: float, gamma_H: float) -> float:
    """alpha min(gamma_H, L) min(B, (1 + alpha L) gamma_G).

    Examples
    --------
    >>> floor(1.0, 1.0, 1.0, 0.25, 2.0), floor(1.0, 1.0, 1.0, 0.0, 2.0)
    (0.5, 0.0)
    """
    return alpha * min(gamma_H, L) * min(B, (1 + alpha * L) * gamma_G)


def convex_floor(alpha: float, L: float, B: float, gamma_G: float, gamma_H: float) -> float:
    """alpha min(gamma_H, L / 2) min(B, (1 + alpha L) gamma_G)."""
    return alpha * min(gamma_H, L / 2) * min(B, (1 + alpha * L) * gamma_G)


def direction(problem: Problem, w: float, alpha: float) -> float:
    """The direction of FO at w: the mean of the gradients at the adapted points.

    Examples
    --------
    >>> abs(direction(witness().problem, 0.0, 1.0)) < 1e-15
    True
    """
    return float(problem.gradient(problem.adapted(np.array([w]), alpha)).mean())


def direction_error(curves: Sequence[Curve], alpha: float, reach: float) -> float:
    """Bound of the rounding error of `direction` at |w| <= reach."""
    L, B, e = max(c.curvature for c in curves), max(c.steepest for c in curves), gradient_error(curves)
    return (1 + alpha * L) * e + 2 * L * UNIT * (reach + alpha * B) + (len(curves) + 4) * UNIT * B


def _sides(formula: Callable[..., float], *, convex: bool) -> Callable[[Instance], Sides]:
    def sides(instance: Instance) -> Sides:
        """The point where the left side comes closest to the right."""
        curves, alpha, problem = curves_of(instance), instance.alpha, instance.problem
        L, B = bound(instance, "L"), bound(instance, "B")
        gamma_g, gamma_h = gammas(problem)
        a = 1.0 if convex else 1 + alpha * L
        rest = formula(alpha, L, B, gamma_g, gamma_h)
        # both factors of the floor move by at most the errors of gamma_H, and of B or gamma_G; a factor is at most L,
        # the other at most B
        moved = (
            alpha * (2 * hessian_error(curves) * B + L * 2 * (1 + alpha * L) * gradient_error(curves))
            + 16 * UNIT * rest
        )

        def at(w):  # type: ignore[no-untyped-def]
            reach = abs(float(w[0]))
            slope = abs(float(problem.meta_gradient(w, alpha).mean()))
            lhs = of_rounding(
                slope, meta_gradient_error(curves, alpha, reach) + (len(curves) + 4) * UNIT * (1 + alpha * L) * B
            )
            away = abs(direction(problem, float(w[0]), alpha))
            return lhs, of_rounding(
                a * away + rest, a * direction_error(curves, alpha, reach) + moved + 8 * UNIT * (a * away + rest)
            )

        points_of(instance)
        return worst_point(instance, at)

    return sides


def transcribed_sides(instance: Instance) -> Sides:
    """The largest ||grad F||^2 over the points against alpha^2 L^2 B^2."""
    curves, alpha, points = curves_of(instance), instance.alpha, points_of(instance)
    L, B, reach = bound(instance, "L"), bound(instance, "B"), float(np.abs(points).max())
    slope = max(abs(float(instance.problem.meta_gradient(np.array([w]), alpha).mean())) for w in points)
    error = meta_gradient_error(curves, alpha, reach) + (len(curves) + 4) * UNIT * (1 + alpha * L) * B
    lhs = of_rounding(slope**2, 2 * slope * error + error**2 + 4 * UNIT * slope**2)
    root, moved = alpha * L * B, alpha * L * gradient_error(curves)
    return Sides(lhs, Interval.with_error(root**2, 2 * root * moved + moved**2 + 16 * UNIT * root**2), "points")


def _at_rest(instance: Instance) -> str | None:
    """G = 0 at every point, up to the rounding of G and of the point itself."""
    curves, alpha = curves_of(instance), instance.alpha
    L, B = bound(instance, "L"), bound(instance, "B")
    for w in points_of(instance):
        away = abs(direction(instance.problem, float(w), alpha))
        # G has Lipschitz constant (1 + alpha L) L: a fixed point between two floating-point numbers leaves that much;
        # the slope of a user rounds too
        allowed = direction_error(curves, alpha, abs(float(w))) + (1 + alpha * L) * UNIT * (2 * L * abs(float(w)) + B)
        if not away <= allowed:
            where = f"its direction at w = {float(w):.6g} is {away:.6g}"
            return f"FO must stand still: {where}, rounding explains {allowed:.3g}."
    return None


# --- witnesses ---


def _users(curves: Sequence[Curve], alpha: float, name: str, w: float = 0.0) -> Instance:
    return Instance(Problem.from_curves(Piecewise(curves)), alpha, np.array([[w]]), name)


def witness(
    alpha: float = 1.0, L: float = 1.0, gamma_G: float = 0.1, gamma_H: float = 0.5, eps: float = 1e-4
) -> Instance:
    """Two users of curvature -L, one with a spike of 2 gamma_H at 0, where FO stands still: alpha gamma_H (1 + alpha L)
    gamma_G, nearly.
    """
    p, q = _slopes(alpha, L, gamma_G, gamma_H, eps)
    wide, ends = 2 * alpha * gamma_G + 2 * eps, 1e-3 * gamma_G
    plain = Curve(np.array([-wide - ends, -wide, wide, wide + ends]), np.array([0.0, -L, -L, 0.0]), 0.0, p)
    nodes, heights = (
        [-wide - ends, -wide, -eps, 0.0, eps, wide, wide + ends],
        [0.0, -L, -L, -L + 2 * gamma_H, -L, -L, 0.0],
    )
    return _users([plain, Curve(np.array(nodes), np.array(heights), 0.0, -p - q)], alpha, "two users, one with a spike")


def _slopes(alpha: float, L: float, gamma_G: float, gamma_H: float, eps: float) -> tuple[float, float]:
    """f_1'(0), and how much steeper f_2 falls at 0, so that G(0) = 0 in spite of the spike's area."""
    return gamma_G - gamma_H * eps / 2 * (1 + 1 / (1 + alpha * L)), gamma_H * eps / (1 + alpha * L)


def still_witness(alpha: float = 1.0, L: float = 1.0, B: float = 1.0, eps: float = 1e-3) -> Instance:
    """Two users of slopes about B and -B with spikes L and -L at 0, and FO at rest on both sides of it: ||grad F(0)|| =
    alpha L (B - L eps).
    """
    spike = np.array([-eps, 0.0, eps])
    up = Curve(spike, np.array([0.0, L, 0.0]), eps, B)
    down = Curve(spike, np.array([0.0, -L, 0.0]), eps, -(B - L * eps))
    return _users([up, down], alpha, "opposite slopes, opposite spikes")


def convex_witness(alpha: float = 1.0, L: float = 1.0, B: float = 1.0, eps: float = 1e-3) -> Instance:
    """Slopes about B and -B, a spike L at 0 in the first user only: both convex, FO at rest, ||grad F(0)|| = alpha L (B
    - L eps) / 2.
    """
    up = Curve(np.array([-eps, 0.0, eps]), np.array([0.0, L, 0.0]), eps, B)
    far = np.array([-9.0, -8.0, -7.0]) * B * (1 + alpha)  # a bump on the left takes f_2' up to its slope from -B
    down = Curve(far, np.array([0.0, L * eps / (B * (1 + alpha)), 0.0]), 0.0, -(B - L * eps))
    return _users([up, down], alpha, "opposite slopes, one spike")


def attracting(
    m: float = 0.002, h: float | None = None, alpha: float = 1.0, eps: float = 1e-3, wide: float = 1.2
) -> Instance:
    """FO is drawn to 0, where ||grad F|| = alpha h (1 - alpha m): slopes 1 and -1, spikes -h and h at 0 with their
    areas given back beside them.

    Around the spikes the curvature is m. Where h is not given it is 1 - m, so that L = 1. Needs alpha > 3 eps: users
    adapt to beyond the spikes.
    """
    h = 1 - m if h is None else h
    nodes = np.array([-wide - eps, -wide, -3 * eps, -2 * eps, -eps, 0.0, eps, 2 * eps, 3 * eps, wide, wide + eps])
    spike = np.array([0.0, 0.0, 0.0, -0.5, 0.0, 1.0, 0.0, -0.5, 0.0, 0.0, 0.0])
    around = np.array([0.0, *[m] * 9, 0.0])
    users = [Curve(nodes, around + side * h * spike, 0.0, -side) for side in (-1.0, 1.0)]
    return _users(users, alpha, f"FO drawn to 0, m = {m:g}")


def attracting_ratio(m: float = 0.002, eps: float = 1e-3, wide: float = 1.2) -> float:
    """||grad F(0)|| of :func:`attracting` over its floor gamma_H B: h (1 - m) over h B, for gamma_H = h and B = 1 + m
    (wide + eps / 2).
    """
    return (1 - m) / (1 + m * (wide + eps / 2))


def _alike(alpha: float, slopes: Sequence[float], name: str) -> Instance:
    """Users with the same curvature -1 around 0."""
    return _users(
        [Curve(np.array([-9.0, -8.0, 8.0, 9.0]), np.array([0.0, -1.0, -1.0, 0.0]), 0.0, s) for s in slopes], alpha, name
    )


def _moving() -> Instance:
    at = witness()
    return Instance(at.problem, at.alpha, np.array([[0.05]]), "witness, away from the fixed point")


def _large_alpha_convex() -> Instance:
    return Instance(convex_witness().problem, 1.25, np.zeros((1, 1)), "convex witness, alpha = 1.25/L")


# --- random instances ---


def random_at_rest(rng: np.random.Generator, *, convex: bool = False) -> Instance:
    """Random users, and a point at which FO stands still: the last user's slope is chosen for it."""
    base = random_curves(rng, convex=convex)
    curves, alpha, w = list(curves_of(base)), base.alpha, np.array([rng.choice(points_of(base))])
    others = sum(float(c.gradient(w - alpha * c.gradient(w))[0]) for c in curves[:-1])
    last, g = curves[-1], curves[-1].gradient(w)

    def excess(shift: float) -> float:
        # nondecreasing in the shift for alpha L <= 1, and off the shift by at most the gradients that there are
        return others + float(last.gradient(w - alpha * (g + shift))[0]) + shift

    low, high = -others - last.steepest - 1, -others + last.steepest + 1
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    curves[-1] = Curve(last.x, last.h, float(w[0]), float(g[0]) + high)
    problem = Problem.from_curves(Piecewise(curves))
    return Instance(problem, alpha, w[:, None], "random piecewise users, FO at rest")


def random_instance(rng: np.random.Generator, *, convex: bool = False) -> Instance:
    """Random users, every other time with FO at rest."""
    if rng.random() < 0.5:
        return random_at_rest(rng, convex=convex)
    base = random_curves(rng, convex=convex)
    return Instance(base.problem, base.alpha, points_of(base)[::2, None], base.name)


def _random_convex(rng: np.random.Generator) -> Instance:
    return random_instance(rng, convex=True)


P = _slopes(1.0, 1.0, 0.1, 0.5, 1e-4)[0]
CONSTANTS = has_constants("L", "B")

CLAIMS = (
    Claim(
        name="first-order-floor",
        version="paper",
        form="",
        title="Floor of the first-order variant, its constant left open",
        short="O(1) alpha^2 L^2 B^2",
        statement="where FO stands still, ||grad F||^2 <= O(1) alpha^2 L^2 B^2",
        source=SOURCE,
        tight=True,
        known_ratio=(1 - 0.001) ** 2,
        hypotheses=(ON_CURVES, CONSTANTS, SMALL_STEP, Hypothesis("FO stands still", _at_rest)),
        sides=transcribed_sides,
        witness=lambda: still_witness(0.7, 1.0, 2.0, 0.002),
        random_instance=random_at_rest,
        cases=(
            Case("attracting", attracting, "INCONCLUSIVE", ratio=(0.998 * attracting_ratio()) ** 2),
            Case("convex", convex_witness, "INCONCLUSIVE", ratio=(0.999 / 2) ** 2),
            Case("moving", _moving, "NOT_APPLICABLE"),
        ),
        expected="INCONCLUSIVE",
        open_constant="O(1)",
    ),
    Claim(
        name="first-order-floor",
        version="sharp",
        form="",
        title="Floor of the first-order variant",
        short="alpha min(gamma_H, L) min(B, (1 + alpha L) gamma_G)",
        statement="at every w, ||grad F(w)|| <= (1 + alpha L) ||G(w)|| + alpha min(gamma_H, L) min(B, (1 + alpha "
        "L) gamma_G), G the direction of FO",
        source="docs/theory/first-order.md#9-4-floor",
        tight=True,
        known_ratio=P / 0.1,
        hypotheses=(ON_CURVES, CONSTANTS),
        sides=_sides(floor, convex=False),
        witness=witness,
        random_instance=random_instance,
        cases=(
            Case("opposite", still_witness, "HOLDS", ratio=0.999),
            Case("attracting", attracting, "HOLDS", ratio=attracting_ratio()),
            Case("attracting-wider", lambda: attracting(0.02), "HOLDS", ratio=attracting_ratio(0.02)),
            Case("one-user", lambda: _alike(0.5, [0.4], "one user"), "HOLDS", ratio=1.0),
            Case("equal-hessians", lambda: _alike(0.5, [0.4, -0.1, 0.3], "equal Hessians"), "HOLDS", ratio=1.0),
            Case("equal-gradients", lambda: _alike(0.5, [0.4, 0.4], "equal gradients"), "HOLDS", ratio=1.0),
            Case("moving", _moving, "HOLDS"),
        ),
    ),
    Claim(
        name="first-order-floor",
        version="sharp",
        form="convex",
        title="Floor of the first-order variant for convex users",
        short="convex: L/2 for L",
        statement="for f_i convex and alpha <= 1/L, ||grad F(w)|| <= ||G(w)|| + alpha min(gamma_H, L/2) min(B, (1 "
        "+ alpha L) gamma_G) at every w",
        source="docs/theory/first-order.md#9-4-floor",
        tight=True,
        known_ratio=0.999,
        hypotheses=(ON_CURVES, CONSTANTS, CONVEX, SMALL_STEP),
        sides=_sides(convex_floor, convex=True),
        witness=convex_witness,
        random_instance=_random_convex,
        cases=(
            Case("not-convex", witness, "NOT_APPLICABLE"),
            Case("large-alpha", _large_alpha_convex, "NOT_APPLICABLE"),
        ),
    ),
)
