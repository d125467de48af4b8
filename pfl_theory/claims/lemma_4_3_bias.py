"""Lemma 4.3, first part: the bias of the stochastic meta-gradient G~ = (I - alpha H_i(w; D'')) g_i(w - alpha g_i(w;
D); D').

||E G~ - grad F_i|| is at most:

- paper: 2 alpha L sigma_G / sqrt(D), alpha <= 1/L (tight: at alpha L = D = 1 as rho sigma_G / L grows)
- sharp: (1 + alpha L) Phi(s), s = alpha sigma_G sqrt(c_D), every alpha (tight: exact for D = 1)
- sharp, convex: Phi with L/2 in place of L, convex users, alpha <= 2/L (tight: exact for D = 1)

Phi(s) = rho s^2 / 2 up to s = L / rho, then L s - L^2 / (2 rho). c_D = 1/D with replacement, (m - D) / (D (m - 1))
for D of m data without. Proofs: docs/theory/batches.md#9-1. Judged at points w of users whose data are known one
by one: batches are enumerated, or sampled.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..expectations.quadratics import batch_factor
from ..judging.claim import Case, Claim, Sides, transcribed
from ..judging.hypotheses import SMALL_STEP, bound, has_constants
from ..judging.instance import Instance
from ..judging.instances_with_batches import PLAIN, _bend, random_with_batches, with_batches
from ..judging.on_batches import (
    BATCHES,
    CONVEX_WITH_STEP,
    KNOWN,
    WHOLE_SPACE,
    at_users,
    largest_direction,
    roundings,
    sizes_of,
)
from ..losses.noise import FiniteNoise, Flat
from ..losses.piecewise import Curve
from ..rigour.interval import Interval
from ..theory.lemmas import bias_convex, bias_paper, bias_sharp

SOURCE = transcribed("Lemma 4.3")


# --- the bias ---


def _sides(formula, *, statement: bool = False):  # type: ignore[no-untyped-def]
    def sides(instance: Instance) -> Sides:
        sizes = sizes_of(instance)
        L, rho, sigma_g = (bound(instance, name) for name in ("L", "rho", "sigma_G"))
        operations = 64 + 12 * roundings(
            instance
        )  # degree at most 6 in the constants; what Phi subtracts is at most half of what it is taken from

        def right(m: int) -> Interval:
            c = batch_factor(sizes.inner, m, replace=sizes.replace or statement)  # the statement speaks of 1/D only
            return Interval.rounded(formula(instance.alpha, L, rho, sigma_g, c), operations=operations)

        return at_users(instance, lambda moments: moments.bias, right, size=largest_direction(instance))

    return sides


def _convex_bend(alpha: float, L: float, rho: float, S: float) -> Curve:
    """f'' = L/2 + clip(rho x, -L/2, L/2) on [-S, S], then down to 0 at the node w from which w~ = 0."""
    half, bend = L / 2, min(S, L / (2 * rho))
    low = half - rho * bend if bend == S else 0.0
    w = S + (L - low) / rho
    nodes = [(-bend, low), (bend, L - low), *([(S, L)] if bend < S else []), (w, 0.0)]
    if low > 0:
        nodes.insert(0, (-S - low / rho, 0.0))
    x, h = np.array(nodes).T
    return Curve(x, h, w, w / alpha)


def signs(sigma_G: float) -> FiniteNoise:
    """Two data, +-sigma_G."""
    return FiniteNoise(np.array([[sigma_G], [-sigma_G]]), [Flat()])


def skew(sigma_G: float, D: int) -> FiniteNoise:
    """Two data of weights 1 / (2 D) and the rest: where rho is large, the law that makes E |mean of D| large."""
    p = 1 / (2 * D)
    c = np.array([[sigma_G * math.sqrt((1 - p) / p)], [-sigma_G * math.sqrt(p / (1 - p))]])
    return FiniteNoise(c, [Flat()], np.array([p, 1 - p]))


def one_against_all(sigma_G: float, m: int) -> FiniteNoise:
    """m equally likely data, m - 1 against the others' -1: the mean of every half of them has the same modulus."""
    c = np.full((m, 1), -1.0)
    c[0] = m - 1
    return FiniteNoise(c * sigma_G / math.sqrt(m - 1), [Flat()])


def witness(
    alpha: float = 1.0,
    L: float = 1.0,
    rho: float = 4.0,
    noise: FiniteNoise | None = None,
    D: int = 1,
    *,
    replace: bool = True,
    convex: bool = False,
    name: str = "Huber bend",
) -> Instance:
    """One user whose f'' grows from -L to L (convex: from 0 to L) around the adapted point, and is -L (convex: 0) at
    w.
    """
    data = signs(1.0) if noise is None else noise
    S = 1.25 * alpha * float(np.abs(data.coefficients).max())
    curve = (_convex_bend if convex else _bend)(alpha, L, rho, S)
    return with_batches(curve, data, alpha, float(curve.anchor), (D, None, None), name, replace=replace)


SKEW_2 = math.sqrt(2) * 0.75**1.5  # E |mean of two| over sigma_G / sqrt 2, for the skew law
HALF_OF_FOUR = math.sqrt(
    1 / 3
)  # |mean of two of four| of `one_against_all`, and sqrt(c_D): every pair's mean is +-sqrt(1/3)


def _table_cases(ratio: Callable[..., float]) -> tuple[Case, ...]:
    """Named instances with their biases in closed form; `ratio(bias, *constants)` divides by the version's right
    side.
    """
    steep, corner = 1e4, 1 / (2 * 1e4)  # what Phi loses against L s
    rows: list[tuple[str, Callable[[], Instance], float, tuple[float, float, float, float, float]]] = [
        ("half-step", lambda: witness(0.5, 1.0, 1.0, name="alpha = 1/(2 L)"), 3 / 16, (0.5, 1, 1, 1, 1)),
        (
            "four-of-signs",
            lambda: witness(1.0, 1.0, 1.0, signs(0.5), 4, name="D = 4, two signs"),
            1 / 16,
            (1, 1, 1, 0.5, 1 / 4),
        ),
        (
            "three-of-skew",
            lambda: witness(1.0, 1.0, 0.25, skew(1.0, 3), 3, name="D = 3, skew law"),
            1 / 12,
            (1, 1, 0.25, 1, 1 / 3),
        ),
        (
            "steep-skew",
            lambda: witness(1.0, 1.0, steep, skew(1.0, 2), 2, name="D = 2, skew law, rho = 1e4"),
            2 * (SKEW_2 * math.sqrt(1 / 2) - corner),
            (1, 1, steep, 1, 1 / 2),
        ),
        (
            "two-of-four",
            lambda: witness(
                1.0, 1.0, steep, one_against_all(1.0, 4), 2, replace=False, name="D = 2 of 4, without replacement"
            ),
            2 * (HALF_OF_FOUR - corner),
            (1, 1, steep, 1, 1 / 3),
        ),
    ]
    return tuple(Case(name, make, "HOLDS", ratio=ratio(bias, *constants)) for name, make, bias, constants in rows)


def _sharp_ratio(bias: float, alpha: float, L: float, rho: float, sigma_G: float, c: float) -> float:
    return bias / bias_sharp(alpha, L, rho, sigma_G, c)


def _paper_ratio(bias: float, alpha: float, L: float, rho: float, sigma_G: float, c: float) -> float:
    statement = 1 / 2 if rho == 1e4 else c  # two of four without replacement: the statement has 1/D
    return bias / bias_paper(alpha, L, rho, sigma_G, statement)


def _full_batch(*, convex: bool = False) -> Instance:
    return witness(
        1.0, 1.0, 4.0, one_against_all(1.0, 4), 4, replace=False, convex=convex, name="D = m, without replacement"
    )


def _large_alpha() -> Instance:
    return witness(1.25, name="alpha = 1.25/L")


def _steep_convex() -> Instance:
    return witness(1.0, 1.0, 1e4, skew(1.0, 2), 2, convex=True, name="convex, D = 2, skew law, rho = 1e4")


def _gentle_convex() -> Instance:
    return witness(1.0, 1.0, 0.25, signs(1.0), 2, convex=True, name="convex, D = 2, rho = 1/4")


HYPOTHESES = (KNOWN, BATCHES, WHOLE_SPACE, has_constants("L", "rho", "sigma_G"))

CLAIMS = (
    Claim(
        name="lemma-4.3-bias",
        version="paper",
        form="",
        title="Bias of the stochastic meta-gradient",
        short="2 alpha L sigma_G/sqrt(D)",
        statement="||E G~ - grad F_i|| <= 2 alpha L sigma_G / sqrt(D), for alpha in [0, 1/L]",
        source=SOURCE,
        tight=True,
        known_ratio=0.995,  # 1 - L^2 / (2 rho sigma_G) at alpha L = 1, rho = 100
        hypotheses=(KNOWN, BATCHES, WHOLE_SPACE, has_constants("L", "sigma_G"), SMALL_STEP),
        sides=_sides(bias_paper, statement=True),
        witness=lambda: witness(rho=100.0),
        random_instance=lambda rng: random_with_batches(rng, largest=1.0),
        cases=(*_table_cases(_paper_ratio), Case("large-alpha", _large_alpha, "NOT_APPLICABLE"), *PLAIN),
    ),
    Claim(
        name="lemma-4.3-bias",
        version="sharp",
        form="",
        title="Bias of the stochastic meta-gradient, with the Hessian's Lipschitz constant",
        short="(1 + alpha L) Phi(alpha sigma_G sqrt(c_D)), Phi of Huber",
        statement="||E G~ - grad F_i|| <= (1 + alpha L) Phi(alpha sigma_G sqrt(c_D)), Phi the Huber function of L "
        "and rho, for every alpha >= 0",
        source="docs/theory/batches.md#9-1-sharp-form",
        tight=True,
        known_ratio=1.0,
        hypotheses=HYPOTHESES,
        sides=_sides(bias_sharp),
        witness=witness,
        random_instance=random_with_batches,
        cases=(
            *_table_cases(_sharp_ratio),
            Case("large-alpha", _large_alpha, "HOLDS", ratio=1.0),
            Case("full-batch", _full_batch, "HOLDS"),
            *PLAIN,
        ),
    ),
    Claim(
        name="lemma-4.3-bias",
        version="sharp",
        form="convex",
        title="Bias of the stochastic meta-gradient, convex users",
        short="convex: Phi alone, with L/2",
        statement="for convex f_i and alpha <= 2/L, ||E G~ - grad F_i|| <= Phi(alpha sigma_G sqrt(c_D)), Phi the "
        "Huber function of L/2 and rho",
        source="docs/theory/batches.md#9-1-convex-users",
        tight=True,
        known_ratio=1.0,
        hypotheses=(*HYPOTHESES, *CONVEX_WITH_STEP),
        sides=_sides(bias_convex),
        witness=lambda: witness(convex=True, name="convex Huber bend"),
        random_instance=lambda rng: random_with_batches(rng, convex=True, largest=2.0),
        cases=(
            Case("gentle", _gentle_convex, "HOLDS", ratio=1.0),
            Case(
                "steep-skew",
                _steep_convex,
                "HOLDS",
                ratio=(SKEW_2 * math.sqrt(0.5) / 2 - 1 / 8e4) / bias_convex(1.0, 1.0, 1e4, 1.0, 0.5),
            ),
            Case("not-convex", witness, "NOT_APPLICABLE"),
            Case("full-batch", lambda: _full_batch(convex=True), "HOLDS"),
            *PLAIN,
        ),
    ),
)
