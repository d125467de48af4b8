"""Lemma 4.3, first part: the bias of the stochastic meta-gradient G~ = (I - alpha H_i(w; D'')) g_i(w - alpha g_i(w; D);
D').

=============  ========================================================================  ================================================
version, form  ||E G~ - grad F_i|| is at most                                            tight
=============  ========================================================================  ================================================
paper          2 alpha L sigma_G / sqrt(D), alpha <= 1/L                                 at alpha L = D = 1 as rho sigma_G / L grows
sharp          (1 + alpha L) Phi(s), s = alpha sigma_G sqrt(c_D), every alpha            exact for D = 1
sharp, convex  Phi with L/2 in place of L, convex users, alpha <= 2/L                    exact for D = 1
=============  ========================================================================  ================================================

Phi(s) = rho s^2 / 2 up to s = L / rho, then L s - L^2 / (2 rho). c_D = 1/D with replacement, (m - D) / (D (m - 1)) for
D of m data without. Proofs: docs/theory.md, section 9.1. Judged at points w of users whose data are known one by one:
batches are enumerated, or sampled.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from ..algorithms.per_fedavg import PerFedAvg
from ..expectations.quadratics import batch_factor
from ..federations.federation import Federation
from ..judging.claim import Case, Claim, Hypothesis, Sides, alpha_at_most_one_over_curvature, bound, has_constants
from ..judging.instance import Instance
from ..judging.on_batches import (
    Moments,
    constants_of,
    has_data,
    moments_of,
    sizes_of,
    support_sizes,
    without_replacement_failure,
)
from ..losses.log_cosh import LogCosh
from ..losses.logistic import Logistic
from ..losses.noise import Bump, FiniteNoise, Flat, Sine
from ..losses.piecewise import Curve, Piecewise, random_piecewise
from ..problems.problem import Problem
from ..rigour.interval import UNIT, Interval
from ..rigour.sampling import LEVEL, note
from ..seeds import generator
from .lemma_4_2 import roundings_of_constants

SOURCE = "Fallah, Mokhtari and Ozdaglar (2020), arXiv 2002.07948v4, Lemma 4.3, as transcribed"


def huber(s: float, L: float, rho: float) -> float:
    """Phi(s) = rho s^2 / 2 where s <= L / rho, else L s - L^2 / (2 rho).

    Examples
    --------
    >>> huber(0.5, 1.0, 1.0), huber(1.0, 1.0, 1.0), huber(2.0, 1.0, 1.0), huber(1.0, 0.0, 0.0)
    (0.125, 0.5, 1.5, 0.0)
    """
    return rho * s * s / 2 if rho * s <= L else L * s - L * L / (2 * rho)


def paper_bound(alpha: float, L: float, rho: float, sigma_G: float, c: float) -> float:
    """2 alpha L sigma_G / sqrt(D); c = 1/D."""
    return 2 * alpha * L * sigma_G * math.sqrt(c)


def sharp_bound(alpha: float, L: float, rho: float, sigma_G: float, c: float) -> float:
    """(1 + alpha L) Phi(alpha sigma_G sqrt(c))."""
    return (1 + alpha * L) * huber(alpha * sigma_G * math.sqrt(c), L, rho)


def convex_bound(alpha: float, L: float, rho: float, sigma_G: float, c: float) -> float:
    """Phi(alpha sigma_G sqrt(c)) with L/2 in place of L: a linear term changes no bias, and Hess f - L/2 has norm at
    most L/2.
    """
    return huber(alpha * sigma_G * math.sqrt(c), L / 2, rho)


# --- what both parts of the lemma share ---


def roundings(instance: Instance) -> int:
    """Relative error of the computed constants, sigma_G and sigma_H included, in units of 2^-53 (docs/theory.md,
    section 9.1).
    """
    oracle = instance.problem.oracle
    if hasattr(oracle, "fed"):
        sums = np.add.reduceat(oracle.fed.weights, oracle.fed.offsets[:-1])
        return roundings_of_constants(instance) + math.ceil(2 * float(np.abs(sums - 1).max()) / UNIT) + 8
    noise = oracle.origin.noise  # type: ignore[union-attr]
    return roundings_of_constants(instance) + (
        0 if noise is None else (len(noise.coefficients) + 8) * len(noise.shapes)
    )


def worst_of(instance: Instance, left: Callable[[Moments], Interval], right: Callable[[int], Interval]) -> Sides:
    """The user and point where the left side comes closest to the right; right(m) is the bound for a user with m
    data.
    """
    m = support_sizes(instance.problem)
    rights = {int(k): right(int(k)) for k in set(m.tolist())}
    found = [(left(moments), rights[int(m[user])]) for user, moments in moments_of(instance)]

    def closeness(pair: tuple[Interval, Interval]) -> tuple[bool, float]:
        lhs, rhs = pair
        return lhs.lower > rhs.upper, lhs.middle / rhs.middle if rhs.middle > 0 else float(lhs.middle > 0)

    lhs, rhs = max(found, key=closeness)
    if instance.runs is None:
        return Sides(lhs, rhs, "points")
    return Sides(lhs, rhs, "points", LEVEL, note(instance.runs, lhs, rhs))


def _known(instance: Instance) -> str | None:
    return (
        None
        if has_data(instance.problem)
        else "the users must be rows with a loss (float64), or piecewise functions with finite noise."
    )


def _batches(instance: Instance) -> str | None:
    algorithm = instance.algorithm
    if not isinstance(algorithm, PerFedAvg) or algorithm.variant != "exact":
        return "the algorithm must be exact Per-FedAvg: its batches are what is judged."
    if algorithm.alpha != instance.alpha:
        return f"the algorithm's alpha = {algorithm.alpha:.6g} is not the instance's {instance.alpha:.6g}."
    return without_replacement_failure(instance.problem, sizes_of(instance))


def _whole_space(instance: Instance) -> str | None:
    return (
        None
        if instance.ball is None
        else "the assumptions must hold on the whole space, not on a ball: a batch may adapt to a point outside."
    )


def _convex(instance: Instance) -> str | None:
    oracle = instance.problem.oracle
    if hasattr(oracle, "fed"):
        loss = instance.problem.loss
        curved = getattr(loss, "nonconvex", 0.0)
        return None if loss.convex and not curved else f"the users must be convex: {loss.name} need not be."
    lowest = min(float(c.h.min()) for c in oracle.origin.curves)  # type: ignore[union-attr]
    return None if lowest >= 0 else f"the users must be convex: f'' reaches {lowest:.6g}."


def _twice_small(instance: Instance) -> str | None:
    product = instance.alpha * bound(instance, "L")
    if product <= 2 * (1 + 8 * UNIT):
        return None
    return f"alpha must be at most 2/L: alpha = {instance.alpha:.6g} is {product / 2:.6g} times 2/L."


KNOWN = Hypothesis("the users' data are known one by one", _known)
BATCHES = Hypothesis("three independent batches of exact Per-FedAvg that the data allow", _batches)
WHOLE_SPACE = Hypothesis("assumptions on the whole space", _whole_space)
SMALL_STEP = Hypothesis("alpha <= 1/L", alpha_at_most_one_over_curvature)
CONVEX = (Hypothesis("f_i convex", _convex), Hypothesis("alpha <= 2/L", _twice_small))


def with_batches(
    curve: Curve,
    noise: FiniteNoise,
    alpha: float,
    w: float,
    sizes: tuple[int | None, int | None, int | None],
    name: str,
    *,
    replace: bool = True,
) -> Instance:
    """One piecewise user with finite noise, looked at from w, with batches of these sizes."""
    problem = Problem.from_functions(**Piecewise([curve], noise).functions())
    return Instance(problem, alpha, np.array([[w]]), name, _algorithm(alpha, sizes, replace))


def _algorithm(alpha: float, sizes: tuple[int | None, int | None, int | None], replace: bool) -> PerFedAvg:
    inner, outer, hessian = sizes
    return PerFedAvg(
        alpha=alpha, beta=0.1, batch_inner=inner, batch_outer=outer, batch_hessian=hessian, replace=replace
    )


def random_instance(rng: np.random.Generator, *, convex: bool = False, largest: float = 3.0) -> Instance:
    """Random users with random data, batches of 1 to 3, with and without replacement; alpha up to `largest` / L.

    Three of four are piecewise users with finite noise, the others rows of a loss with bounded gradients.
    """
    made = _random_rows if rng.random() < 0.25 else _random_curves
    problem, smallest, points = made(rng, convex)
    replace = bool(rng.random() < 0.6)
    top = 3 if replace else min(3, smallest)
    sizes = [None if rng.random() < 0.1 else int(rng.integers(1, top + 1)) for _ in range(3)]
    alpha = float(rng.uniform(0, largest)) / constants_of(problem)["L"].max()
    name = "random rows" if made is _random_rows else "random piecewise users with data"
    return Instance(problem, alpha, points, name, _algorithm(alpha, (sizes[0], sizes[1], sizes[2]), replace))


def _random_curves(rng: np.random.Generator, convex: bool) -> tuple[Problem, int, np.ndarray]:
    family = random_piecewise(rng, n_users=int(rng.integers(1, 3)))
    curves = [Curve(c.x, np.abs(c.h), c.anchor, c.slope) for c in family.curves] if convex else list(family.curves)
    m = int(rng.integers(2, 6))
    nodes = np.concatenate([c.x for c in curves])
    center = float(rng.uniform(nodes.min(), nodes.max()))
    shapes: list[Flat | Sine | Bump] = [
        Flat(),
        Sine(center, float(10 ** rng.uniform(-3, 0.5))),
        Bump(center, float(10 ** rng.uniform(-1, 1))),
    ]
    chosen = [shapes[k] for k in rng.choice(3, int(rng.integers(1, 3)), replace=False)]
    coefficients = rng.normal(size=(m, len(chosen))) * 10 ** rng.uniform(-1.5, 1.0)
    noise = FiniteNoise(coefficients - coefficients.mean(0), chosen)
    points = np.array([[rng.choice(nodes)], [rng.uniform(nodes.min() - 1, nodes.max() + 1)]])
    return Problem.from_functions(**Piecewise(curves, noise).functions()), m, points


def _random_rows(rng: np.random.Generator, convex: bool) -> tuple[Problem, int, np.ndarray]:
    d, n = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    sizes = rng.integers(2, 5, size=n)
    x = [rng.normal(size=(int(m), d)) * 10 ** rng.uniform(-0.5, 0.7) for m in sizes]
    kind = int(rng.integers(3))
    if kind == 0:
        problem = Problem(LogCosh(c=float(10 ** rng.uniform(-1, 0.5))), Federation.from_arrays(x))
    elif kind == 1:
        problem = Problem(LogCosh("regression"), Federation.from_arrays(x, [rng.normal(size=int(m)) for m in sizes]))
    else:
        bend = 0.0 if convex else float(rng.choice([0.0, 0.1]))
        problem = Problem(
            Logistic(nonconvex=bend), Federation.from_arrays(x, [rng.integers(0, 2, int(m)) for m in sizes])
        )
    return problem, int(sizes.min()), rng.normal(size=(1, d))


@functools.cache
def many_rows() -> Instance:
    """Three hundred rows, batches of 20 of each kind: sampled."""
    rng = generator(5, "rows of lemma 4.3")
    x = rng.normal(size=(300, 2))
    x *= 3.0 / np.linalg.norm(x, axis=1, keepdims=True)
    y = (x @ np.array([1.0, -0.5]) + rng.normal(size=300) > 0).astype(np.int64)
    problem = Problem(Logistic(), Federation.from_arrays([x], [y], name="300 rows"))
    alpha = 1.0 / problem.constants()["L"].max()
    algorithm = _algorithm(alpha, (20, 20, 20), True)
    return Instance(problem, alpha, np.array([[0.3, 0.1]]), "logistic, 300 rows, batches of 20", algorithm, runs=60_000)


@functools.cache
def unequal_weights() -> Instance:
    """Data of unequal weight: no batches without replacement."""
    noise = FiniteNoise(np.array([[-0.5], [1.5]]), [Flat()], np.array([0.75, 0.25]))
    return with_batches(
        _bend(1.0, 1.0, 1.0, 2.0), noise, 1.0, 1.0, (1, 1, 1), "unequal weights, without replacement", replace=False
    )


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

        return worst_of(instance, lambda moments: moments.bias, right)

    return sides


def _bend(alpha: float, L: float, rho: float, S: float) -> Curve:
    """f'' = clip(rho x, -L, L) on [-S, S], then down to -L at the node w from which w~ = 0."""
    top = min(rho * S, L)
    w = S + (top + L) / rho
    inside = [(-L / rho, -L), (L / rho, L)] if rho * S > L else []
    nodes = [(-S - top / rho, 0.0), (-S, -top), *inside, (S, top), (w, -L), (w + L / rho, 0.0)]
    x, h = np.array(nodes).T
    return Curve(x, h, w, w / alpha)


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
    return bias / sharp_bound(alpha, L, rho, sigma_G, c)


def _paper_ratio(bias: float, alpha: float, L: float, rho: float, sigma_G: float, c: float) -> float:
    statement = 1 / 2 if rho == 1e4 else c  # two of four without replacement: the statement has 1/D
    return bias / paper_bound(alpha, L, rho, sigma_G, statement)


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


PLAIN = (Case("unequal-weights", unequal_weights, "NOT_APPLICABLE"), Case("many-rows", many_rows, "HOLDS"))


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
        sides=_sides(paper_bound, statement=True),
        witness=lambda: witness(rho=100.0),
        draw=lambda rng: random_instance(rng, largest=1.0),
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
        source="docs/theory.md, section 9.1",
        tight=True,
        known_ratio=1.0,
        hypotheses=HYPOTHESES,
        sides=_sides(sharp_bound),
        witness=witness,
        draw=random_instance,
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
        source="docs/theory.md, section 9.1",
        tight=True,
        known_ratio=1.0,
        hypotheses=(*HYPOTHESES, *CONVEX),
        sides=_sides(convex_bound),
        witness=lambda: witness(convex=True, name="convex Huber bend"),
        draw=lambda rng: random_instance(rng, convex=True, largest=2.0),
        cases=(
            Case("gentle", _gentle_convex, "HOLDS", ratio=1.0),
            Case(
                "steep-skew",
                _steep_convex,
                "HOLDS",
                ratio=(SKEW_2 * math.sqrt(0.5) / 2 - 1 / 8e4) / convex_bound(1.0, 1.0, 1e4, 1.0, 0.5),
            ),
            Case("not-convex", witness, "NOT_APPLICABLE"),
            Case("full-batch", lambda: _full_batch(convex=True), "HOLDS"),
            *PLAIN,
        ),
    ),
)
