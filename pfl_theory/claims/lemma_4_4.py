"""Lemma 4.4: gradients of the F_i are close where gradients and Hessians of the f_i are.

(1/n) sum ||grad F_i - grad F||^2 is at most:

- paper: 3 B^2 alpha^2 gamma_H^2 + 192 gamma_G^2, alpha <= 1/L (tight: no: at most 5/12 of it is reached)
- sharp: ((1 + alpha L)^2 gamma_G + alpha B gamma_H)^2, every alpha (tight: as gamma_G / B -> 0, for every alpha L
  <= 1)
- sharp, convex: min{(1 + alpha L) gamma_G + alpha B gamma_H, gamma_G + 2 alpha B gamma_H}^2, f_i convex, alpha <=
  1/L (tight: first: as gamma_G / B -> 0, gamma_G << gamma_H; second: gamma_H = 0; not known in between)

gamma_G, gamma_H over the whole line, exact. Proofs: docs/theory/meta-gradients.md#9-3. Judged at points w of piecewise
users.
"""

from __future__ import annotations

import numpy as np

from ..errors import require
from ..judging.claim import Case, Claim, Sides, transcribed
from ..judging.hypotheses import CONVEX, SMALL_STEP, bound, has_constants
from ..judging.instance import Instance
from ..judging.on_curves import ON_CURVES, curves_of, gammas, points_of, random_convex_curves, random_curves
from ..judging.on_data import of_rounding, squared_spread
from ..losses.piecewise import Curve, Piecewise
from ..problems.curves import gradient_error, hessian_error, meta_gradient_error
from ..problems.problem import Problem
from ..rigour.rounding import UNIT
from ..theory.lemmas import spread_convex, spread_paper, spread_sharp

SOURCE = transcribed("Lemma 4.4")


def _sides(formula):  # type: ignore[no-untyped-def]
    def sides(instance: Instance) -> Sides:
        curves, alpha = curves_of(instance), instance.alpha
        points = points_of(instance)
        gradients = np.array([instance.problem.meta_gradient(np.array([w]), alpha)[:, 0] for w in points])
        spread = ((gradients - gradients.mean(1, keepdims=True)) ** 2).mean(1)
        lhs = squared_spread(
            float(spread.max()), meta_gradient_error(curves, alpha, float(np.abs(points).max())), len(curves)
        )
        L, B = bound(instance, "L"), bound(instance, "B")
        gamma_g, gamma_h = gammas(instance.problem)
        value = formula(alpha, L, B, gamma_g, gamma_h)
        # the roots of 192 and of 3 bound how errors of gamma_G, gamma_H and B move the root of the right side
        moved = (
            14 * 2 * gradient_error(curves)
            + 2 * alpha * B * 2 * hessian_error(curves)
            + 2 * alpha * gamma_h * gradient_error(curves)
        )
        return Sides(lhs, of_rounding(value, 2 * moved * value**0.5 + moved**2 + 64 * UNIT * value), "points")

    return sides


def witness(
    alpha: float = 1.0, L: float = 1.0, B: float = 1.0, gamma_G: float = 0.001, gamma_H: float = 0.016
) -> Instance:
    """Two users of curvature -L whose gradients differ by 2 gamma_G; one has a spike of 2 gamma_H where both adapt
    from. Needs gamma_H <= L.
    """
    rho, eps = 1e8, 1e-4 * gamma_G
    middle = B - (1 + alpha * L) * gamma_G - L**2 / (2 * rho)
    w = alpha * (middle + gamma_H * eps / 2) / (1 + alpha * L)
    low, high = -alpha * gamma_G, max(w, alpha * gamma_G) + 2 * eps
    ends = L / rho
    plain = Curve(np.array([low - ends, low, high, high + ends]), np.array([0.0, -L, -L, 0.0]), 0.0, middle + gamma_G)
    spiked = Curve(
        np.array([low - ends, low, w - eps, w, w + eps, high, high + ends]),
        np.array([0.0, -L, -L, -L + 2 * gamma_H, -L, -L, 0.0]),
        0.0,
        middle - gamma_G,
    )
    problem = Problem.from_curves(Piecewise([plain, spiked]))
    return Instance(problem, alpha, np.array([[w]]), "two users, one with a spike")


def convex_witness(
    alpha: float = 1.0, L: float = 1.0, B: float = 1.0, gamma_G: float = 0.0001, gamma_H: float = 0.01
) -> Instance:
    """Two convex users: curvature L about 0, to where both adapt, and f_1' - f_2' = -2 gamma_G; it rises to 2 gamma_G
    at w, where f_1'' = 2 gamma_H.

    Needs 2 gamma_H <= L and room for the rise between 0 and w: gamma_G < alpha B gamma_H / 2, nearly.
    """
    half, ramp, plateau, middle, w = _convex_parts(alpha, L, B, gamma_G, gamma_H)
    require(
        w - plateau - ramp > half + ramp,
        f"the convex witness needs gamma_G < alpha B gamma_H / 2; given {gamma_G:g}, {alpha * B * gamma_H / 2:g}",
    )
    require(2 * gamma_H <= L, f"the convex witness needs 2 gamma_H <= L; given gamma_H = {gamma_H:g}, L = {L:g}")
    common = np.array([-half - ramp, -half, half, half + ramp]), np.array([0.0, L, L, 0.0])
    rising = np.array([w - plateau - ramp, w - plateau, w, w + ramp]), np.array([0.0, 2 * gamma_H, 2 * gamma_H, 0.0])
    first = Curve(np.concatenate([common[0], rising[0]]), np.concatenate([common[1], rising[1]]), 0.0, middle - gamma_G)
    second = Curve(*common, 0.0, middle + gamma_G)
    return Instance(
        Problem.from_curves(Piecewise([first, second])), alpha, np.array([[w]]), "two convex users, one curved at w"
    )


def _convex_parts(
    alpha: float, L: float, B: float, gamma_G: float, gamma_H: float
) -> tuple[float, float, float, float, float]:
    """Half width of the common curvature, width of ramps, length of the plateau of f_1'', f'(0), and w."""
    half, ramp = alpha * gamma_G, 1e-4 * gamma_G
    area = 4 * gamma_G - gamma_H * ramp  # of f_1'' - f_2'' up to w; the ramp behind w makes it 4 gamma_G
    common = L * (half + ramp / 2)
    middle = B - 3 * gamma_G - common  # f_1' ends at B
    return half, ramp, area / (2 * gamma_H) - ramp / 2, middle, alpha * (middle + common + area / 2)


def convex_reached(
    alpha: float = 1.0, L: float = 1.0, B: float = 1.0, gamma_G: float = 0.0001, gamma_H: float = 0.01
) -> float:
    """The left side of the convex witness in closed form."""
    _, ramp, _, middle, _ = _convex_parts(alpha, L, B, gamma_G, gamma_H)
    apart = gamma_G + alpha * L * (gamma_G - gamma_H * ramp / 2)
    return (apart + alpha * gamma_H * (middle - apart)) ** 2


def _linear() -> Instance:
    """Two users with one and the same bump of curvature, looked at where both are linear: the second member is
    attained.
    """
    bump = np.array([9.0, 10.0, 11.0]), np.array([0.0, 1.0, 0.0])
    users = [Curve(*bump, 0.0, slope) for slope in (0.5, -0.25)]
    return Instance(
        Problem.from_curves(Piecewise(users)), 1.0, np.zeros((1, 1)), "two users, linear where they are looked at"
    )


def _large_alpha_convex() -> Instance:
    return Instance(convex_witness().problem, 1.25, np.array([[0.4]]), "convex witness, alpha = 1.25/L")


def _large_alpha() -> Instance:
    return Instance(witness().problem, 1.25, np.array([[0.4]]), "witness, alpha = 1.25/L")


def reached(
    alpha: float = 1.0, L: float = 1.0, B: float = 1.0, gamma_G: float = 0.001, gamma_H: float = 0.016
) -> float:
    """The left side of the witness in closed form: both users' f' are linear where they are looked at, but for the area
    of half a spike.
    """
    eps = 1e-4 * gamma_G
    middle = B - (1 + alpha * L) * gamma_G - L**2 / 2e8
    w = alpha * (middle + gamma_H * eps / 2) / (1 + alpha * L)
    slopes = (middle + gamma_G - L * w, middle - gamma_G - L * w + gamma_H * eps)
    after = [
        start - L * (w - alpha * slope)
        for start, slope in zip((middle + gamma_G, middle - gamma_G), slopes, strict=True)
    ]
    return ((1 + alpha * L) * after[0] - (1 + alpha * L - 2 * alpha * gamma_H) * after[1]) ** 2 / 4


REACHED = {form: reached() / form(1.0, 1.0, 1.0, 0.001, 0.016) for form in (spread_paper, spread_sharp)}
CONSTANTS = has_constants("L", "B")

CLAIMS = (
    Claim(
        name="lemma-4.4",
        version="paper",
        form="",
        title="Heterogeneity of the meta-gradients",
        short="3 B^2 alpha^2 gamma_H^2 + 192 gamma_G^2",
        statement="(1/n) sum ||grad F_i - grad F||^2 <= gamma_F^2 = 3 B^2 alpha^2 gamma_H^2 + 192 gamma_G^2, for "
        "alpha in [0, 1/L]",
        source=SOURCE,
        tight=False,
        known_ratio=REACHED[spread_paper],
        hypotheses=(ON_CURVES, CONSTANTS, SMALL_STEP),
        sides=_sides(spread_paper),
        witness=witness,
        random_instance=random_curves,
        cases=(Case("large-alpha", _large_alpha, "NOT_APPLICABLE"),),
    ),
    Claim(
        name="lemma-4.4",
        version="sharp",
        form="",
        title="Heterogeneity of the meta-gradients, sharp",
        short="((1 + alpha L)^2 gamma_G + alpha B gamma_H)^2",
        statement="(1/n) sum ||grad F_i - grad F||^2 <= ((1 + alpha L)^2 gamma_G + alpha B gamma_H)^2, for every "
        "alpha >= 0",
        source="docs/theory/meta-gradients.md#9-3-sharp-form",
        tight=True,
        known_ratio=REACHED[spread_sharp],
        hypotheses=(ON_CURVES, CONSTANTS),
        sides=_sides(spread_sharp),
        witness=witness,
        random_instance=random_curves,
        cases=(Case("large-alpha", _large_alpha, "HOLDS"),),
    ),
    Claim(
        name="lemma-4.4",
        version="sharp",
        form="convex",
        title="Heterogeneity of the meta-gradients of convex users",
        short="convex: 1 + alpha L for its square",
        statement="for f_i convex and alpha <= 1/L, (1/n) sum ||grad F_i - grad F||^2 <= "
        "min{(1 + alpha L) gamma_G + alpha B gamma_H, gamma_G + 2 alpha B gamma_H}^2",
        source="docs/theory/meta-gradients.md#9-3-convex-form",
        tight=True,
        known_ratio=convex_reached() / spread_convex(1.0, 1.0, 1.0, 0.0001, 0.01),
        hypotheses=(ON_CURVES, CONSTANTS, CONVEX, SMALL_STEP),
        sides=_sides(spread_convex),
        witness=convex_witness,
        random_instance=random_convex_curves,
        cases=(
            Case("linear", _linear, "HOLDS", ratio=1.0),
            Case("not-convex", witness, "NOT_APPLICABLE"),
            Case("large-alpha", _large_alpha_convex, "NOT_APPLICABLE"),
        ),
    ),
)
