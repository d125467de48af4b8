"""Lemma 4.3, second part: the mean square error of the stochastic meta-gradient about grad F_i (bias included).

E||G~ - grad F_i||^2 is at most:

- paper: 12 [B^2 + sigma_G^2 (1/D' + (alpha L)^2/D)] [1 + sigma_H^2 alpha^2/(4 D'')] - 12 B^2, alpha <= 1/L (tight:
  no: at most 1/3 is reached)
- sharp: a^2 sigma_G^2 [c_D' + (alpha L)^2 c_D] + alpha^2 sigma_H^2 c_D'' (B^2 + sigma_G^2 c_D'), a = 1 + alpha L
  (tight: as sigma_G / B -> 0)
- sharp, convex: the same with a = 1, convex users, alpha <= 2/L (tight: as sigma_G / B -> 0)

Proofs: docs/theory/batches.md#9-2. Judged as the first part (`lemma_4_3_bias.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..expectations.quadratics import batch_factor
from ..judging.claim import Case, Claim, Sides, transcribed
from ..judging.hypotheses import SMALL_STEP, bound, has_constants
from ..judging.instance import Instance
from ..judging.instances_with_batches import PLAIN, random_with_batches, with_batches
from ..judging.on_batches import BATCHES, CONVEX_WITH_STEP, KNOWN, WHOLE_SPACE, roundings, sizes_of, worst_of
from ..losses.noise import FiniteNoise, Flat, Sine
from ..losses.piecewise import Curve
from ..rigour.interval import Interval
from ..theory.lemmas import Numbers, error_convex, error_paper, error_sharp

SOURCE = transcribed("Lemma 4.3")
STEEP = 1e7  # rho of the witnesses
FINE = 1e-7  # of their Hessian noise: its gradient is at most that


def _sides(formula: Callable[[Numbers], float], *, statement: bool = False) -> Callable[[Instance], Sides]:
    def sides(instance: Instance) -> Sides:
        sizes = sizes_of(instance)
        constants = [bound(instance, name) for name in ("L", "B", "sigma_G", "sigma_H")]
        operations = 64 + 6 * roundings(instance)  # degree at most 6 in the constants

        def right(m: int) -> Interval:
            factors = [batch_factor(size, m, replace=sizes.replace or statement) for size in sizes[:3]]
            return Interval.rounded(formula(Numbers(instance.alpha, *constants, *factors)), operations=operations)

        return worst_of(instance, lambda moments: moments.error, right)

    return sides


# --- witnesses ---


def _line(alpha: float, L: float, b: float, spread: float, *, convex: bool) -> tuple[Curve, float]:
    """f' = b - L x (convex: b + L x) on every point that is used but w, where f'' is -L (convex: 0), and w, from which
    w~ = 0.
    """
    low = -alpha * spread
    if convex:
        high, top = -low, b + L * alpha * spread + L**2 / (2 * STEEP)  # f' beyond both is the constant `top`
        return Curve(
            np.array([low - L / STEEP, low, high, high + L / STEEP]), np.array([0.0, L, L, 0.0]), 0.0, b
        ), alpha * top
    w = alpha * b / (1 + alpha * L)
    high = max(w, -low)
    return Curve(np.array([low - L / STEEP, low, high, high + L / STEEP]), np.array([0.0, -L, -L, 0.0]), 0.0, b), w


def witness(
    alpha: float = 1.0,
    L: float = 1.0,
    b: float = 1.0,
    sigma_G: float = 0.001,
    sigma_H: float = 0.002,
    sizes: tuple[int | None, int | None, int | None] = (1, 1, 1),
    *,
    replace: bool = True,
    convex: bool = False,
    name: str = "linear gradient",
) -> Instance:
    """One user whose gradient is linear where it is looked at; data with every sign of gradient and Hessian noise."""
    curve, w = _line(alpha, L, b, sigma_G, convex=convex)
    if sigma_H == 0:
        noise = FiniteNoise(np.array([[sigma_G], [-sigma_G]]), [Flat()])
    else:
        signs = np.array([[sigma_G, sigma_H], [sigma_G, -sigma_H], [-sigma_G, sigma_H], [-sigma_G, -sigma_H]])
        noise = FiniteNoise(signs, [Flat(), Sine(w, FINE)])
    return with_batches(curve, noise, alpha, w, sizes, name, replace=replace)


def reached(n: Numbers, b: float, *, convex: bool = False) -> float:
    """The left side of the witness in closed form: everything is linear but the gradient of the Hessian noise, which is
    below 1e-7 sigma_H.
    """
    a = 1.0 if convex else 1 + n.alpha * n.L
    spread = n.sigma_G**2 * (n.c_outer + (n.alpha * n.L) ** 2 * n.c_inner)
    return a**2 * spread + (n.alpha * n.sigma_H) ** 2 * n.c_hessian * (b**2 + spread)


def numbers(
    alpha: float = 1.0,
    L: float = 1.0,
    b: float = 1.0,
    sigma_G: float = 0.001,
    sigma_H: float = 0.002,
    factors: tuple[float, float, float] = (1, 1, 1),
) -> Numbers:
    """The witness's constants in closed form."""
    B = b + L * alpha * sigma_G + L**2 / (2 * STEEP)
    return Numbers(alpha, L, B, math.hypot(sigma_G, FINE * sigma_H), sigma_H, *factors)


def ratio(formula: Callable[[Numbers], float], n: Numbers, b: float = 1.0, *, convex: bool = False) -> float:
    """Left side over right side of a witness."""
    return reached(n, b, convex=convex) / formula(n)


def _without(n: Numbers, size: int, m: int) -> Numbers:
    c = batch_factor(size, m, replace=False)
    return n._replace(c_inner=c, c_outer=c, c_hessian=c)


TABLE: tuple[tuple[str, str, float, float, float, tuple[int, int, int]], ...] = (
    # name, what it is called, alpha, sigma_G, sigma_H, sizes
    ("gradient-noise", "no Hessian noise", 1.0, 0.1, 0.0, (1, 1, 1)),
    ("batches-of-two", "D = D' = D'' = 2", 1.0, 0.01, 0.01, (2, 2, 2)),
    ("half-step", "alpha = 1/(2 L)", 0.5, 0.01, 0.02, (1, 2, 2)),
    ("large-noise", "noise a tenth of b", 1.0, 0.1, 0.1, (1, 1, 1)),
)
PAIRS = numbers(1.0, 1.0, 1.0, 0.01, 0.01, (1 / 2, 1 / 2, 1 / 2))


def _table_cases(formula: Callable[[Numbers], float], *, convex: bool = False) -> tuple[Case, ...]:
    cases = []
    for name, called, alpha, sigma_g, sigma_h, sizes in TABLE:
        n = numbers(alpha, 1.0, 1.0, sigma_g, sigma_h, (1 / sizes[0], 1 / sizes[1], 1 / sizes[2]))

        def make(alpha=alpha, sigma_g=sigma_g, sigma_h=sigma_h, sizes=sizes, called=called) -> Instance:  # type: ignore[no-untyped-def]
            return witness(alpha, 1.0, 1.0, sigma_g, sigma_h, sizes, convex=convex, name=called)

        cases.append(Case(name, make, "HOLDS", ratio=ratio(formula, n, convex=convex)))
    return tuple(cases)


def _two_of_four(*, convex: bool = False) -> Instance:
    return witness(
        1.0,
        1.0,
        1.0,
        0.01,
        0.01,
        (2, 2, 2),
        replace=False,
        convex=convex,
        name="D = D' = D'' = 2 of 4, without replacement",
    )


def _full(which: tuple[int, int, int], name: str, *, convex: bool = False) -> Instance:
    return witness(1.0, 1.0, 1.0, 0.01, 0.01, which, replace=False, convex=convex, name=name)


def _full_cases(
    formula: Callable[[Numbers], float], *, convex: bool = False, statement: bool = False
) -> tuple[Case, ...]:
    """Two of four without replacement, and each batch full in turn."""
    pairs = PAIRS if statement else _without(PAIRS, 2, 4)
    kinds = {"full-inner": (4, 2, 2), "full-outer": (2, 4, 2), "full-hessian": (2, 2, 4)}
    if not statement:  # the transcribed right side has no factor that would vanish
        kinds["all-full"] = (4, 4, 4)
    two = reached(_without(PAIRS, 2, 4), 1.0, convex=convex) / formula(pairs)
    cases = [Case("two-of-four", lambda: _two_of_four(convex=convex), "HOLDS", ratio=two)]
    for name, which in kinds.items():
        exact = PAIRS._replace(
            **{
                f: batch_factor(s, 4, replace=False)
                for f, s in zip(("c_inner", "c_outer", "c_hessian"), which, strict=True)
            }
        )
        right = (
            exact
            if not statement
            else PAIRS._replace(c_inner=1 / which[0], c_outer=1 / which[1], c_hessian=1 / which[2])
        )
        known = None if name == "all-full" else reached(exact, 1.0, convex=convex) / formula(right)
        cases.append(Case(name, lambda which=which, name=name: _full(which, name, convex=convex), "HOLDS", ratio=known))  # type: ignore[misc]
    return tuple(cases)


def _large_alpha() -> Instance:
    return witness(1.25, name="alpha = 1.25/L")


HYPOTHESES = (KNOWN, BATCHES, WHOLE_SPACE, has_constants("L", "B", "sigma_G", "sigma_H"))
BASE = numbers()

CLAIMS = (
    Claim(
        name="lemma-4.3-error",
        version="paper",
        form="",
        title="Mean square error of the stochastic meta-gradient",
        short="12 [B^2 + ...] [1 + ...] - 12 B^2",
        statement=(
            "E||G~ - grad F_i||^2 <= 12 [B^2 + sigma_G^2 (1/D' + (alpha L)^2/D)] [1 + sigma_H^2 alpha^2/(4 D'')] - "
            "12 B^2, for alpha in [0, 1/L]"
        ),
        source=SOURCE,
        tight=False,
        known_ratio=ratio(error_paper, BASE),
        hypotheses=(*HYPOTHESES, SMALL_STEP),
        sides=_sides(error_paper, statement=True),
        witness=witness,
        random_instance=lambda rng: random_with_batches(rng, largest=1.0),
        cases=(
            *_table_cases(error_paper),
            Case("large-alpha", _large_alpha, "NOT_APPLICABLE"),
            *_full_cases(error_paper, statement=True),
            *PLAIN,
        ),
    ),
    Claim(
        name="lemma-4.3-error",
        version="sharp",
        form="",
        title="Mean square error of the stochastic meta-gradient, sharp",
        short="(1 + alpha L)^2 sigma_G^2 [...] + alpha^2 sigma_H^2 c_D'' (...)",
        statement=(
            "E||G~ - grad F_i||^2 <= (1 + alpha L)^2 sigma_G^2 [c_D' + (alpha L)^2 c_D] + alpha^2 sigma_H^2 c_D'' "
            "(B^2 + sigma_G^2 c_D'), "
            "for every alpha >= 0"
        ),
        source="docs/theory/batches.md#9-2-sharp-form",
        tight=True,
        known_ratio=ratio(error_sharp, BASE),
        hypotheses=HYPOTHESES,
        sides=_sides(error_sharp),
        witness=witness,
        random_instance=random_with_batches,
        cases=(
            *_table_cases(error_sharp),
            Case("large-alpha", _large_alpha, "HOLDS", ratio=ratio(error_sharp, numbers(1.25))),
            *_full_cases(error_sharp),
            *PLAIN,
        ),
    ),
    Claim(
        name="lemma-4.3-error",
        version="sharp",
        form="convex",
        title="Mean square error of the stochastic meta-gradient, convex users",
        short="convex: 1 for (1 + alpha L)^2",
        statement=(
            "for convex f_i and alpha <= 2/L, "
            "E||G~ - grad F_i||^2 <= sigma_G^2 [c_D' + (alpha L)^2 c_D] + alpha^2 sigma_H^2 c_D'' (B^2 + sigma_G^2 "
            "c_D')"
        ),
        source="docs/theory/batches.md#9-2-sharp-form",
        tight=True,
        known_ratio=ratio(error_convex, BASE, convex=True),
        hypotheses=(*HYPOTHESES, *CONVEX_WITH_STEP),
        sides=_sides(error_convex),
        witness=lambda: witness(convex=True, name="linear gradient, flat at w"),
        random_instance=lambda rng: random_with_batches(rng, convex=True, largest=2.0),
        cases=(
            *_table_cases(error_convex, convex=True),
            Case("not-convex", witness, "NOT_APPLICABLE"),
            *_full_cases(error_convex, convex=True),
            *PLAIN,
        ),
    ),
)
