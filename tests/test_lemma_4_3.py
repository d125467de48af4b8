"""Lemma 4.3: tables, enumeration against slow references and against the algorithm itself, mutants, sampling."""

from __future__ import annotations

import dataclasses
import itertools
import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

import pfl_theory as pfl
from pfl_theory import claims
from pfl_theory.algorithms.local_steps import local_steps
from pfl_theory.claims import hessian_batch_norm, lemma_4_3_bias, lemma_4_3_error
from pfl_theory.claims.lemma_4_3_bias import one_against_all, signs, skew, witness
from pfl_theory.errors import InputError
from pfl_theory.expectations.batches import (
    BLOCK,
    CurveData,
    Sizes,
    batches,
    data_of,
    enumerated,
    sampled,
    support_sizes,
)
from pfl_theory.expectations.quadratics import batch_factor
from pfl_theory.judging import instances_with_batches
from pfl_theory.judging.on_batches import moments_of, sizes_of
from pfl_theory.losses.noise import Bump, FiniteNoise, Flat, Sine
from pfl_theory.losses.piecewise import Curve, Piecewise, random_piecewise
from pfl_theory.problems.problem import Problem
from pfl_theory.rigour.interval import Interval
from pfl_theory.rigour.sampling import (
    LEVEL,
    TOGETHER,
    Summary,
    empirical_bernstein,
    merged,
    norm_of_mean,
    note,
    summary,
)
from pfl_theory.seeds import generator
from pfl_theory.theory import lemmas
from pfl_theory.theory.lemmas import Numbers, huber

BIAS = {(c.version, c.form): c for c in lemma_4_3_bias.CLAIMS}
ERROR = {(c.version, c.form): c for c in lemma_4_3_error.CLAIMS}
PAPER, SHARP, CONVEX = ("paper", ""), ("sharp", ""), ("sharp", "convex")


def lopsided(w, *, uniform=True):
    """A bent curve and four data with two kinds of noise."""
    rng = generator(3, "lopsided")
    p = np.full(4, 0.25) if uniform else np.array([0.1, 0.2, 0.3, 0.4])
    c = rng.normal(size=(4, 2))
    noise = FiniteNoise(c - p @ c, [Flat(), Bump(w + 0.2, 1.5)], p)
    return Curve(np.array([-2.0, -0.5, 0.3, 1.0, 3.0]), np.array([0.0, 1.5, -1.0, 0.5, 0.0]), 0.0, 0.7), noise


# --- tables and formulas ---


@pytest.mark.parametrize(
    ("instance", "bias", "paper", "sharp"),
    [
        (witness(), 1.75, 0.875, 1.0),
        (witness(rho=100.0), 1.99, 0.995, 1.0),
        (witness(0.5, 1.0, 1.0), 0.1875, 0.1875, 1.0),
        (witness(1.0, 1.0, 1.0, signs(0.5), 4), 0.0625, 0.125, 1.0),
        (witness(1.0, 1.0, 0.25, skew(1.0, 3), 3), 0.083333333, 0.072169, 1.0),
        (witness(1.0, 1.0, 1e4, skew(1.0, 2), 2), 1.298938106, 0.918488, 0.918553),
        (witness(1.0, 1.0, 1e4, one_against_all(1.0, 4), 2, replace=False), 1.154600538, 0.816426, 1.0),
    ],
)
def test_table_of_biases(instance, bias, paper, sharp):
    found = {version: BIAS[version].judge(instance) for version in (PAPER, SHARP)}
    assert found[SHARP].lhs.middle == pytest.approx(bias, abs=5e-10)
    assert found[PAPER].ratio == pytest.approx(paper, abs=5e-7)
    assert found[SHARP].ratio == pytest.approx(sharp, abs=5e-7)


@pytest.mark.parametrize(
    ("alpha", "sigma_g", "sigma_h", "sizes", "error", "sharp", "paper"),
    [
        (1.0, 0.1, 0.0, (1, 1, 1), 8.0000000e-2, 1.000000, 0.333333),
        (1.0, 0.001, 0.002, (1, 1, 1), 1.2000008e-5, 0.999334, 0.333111),
        (1.0, 0.01, 0.01, (2, 2, 2), 4.5000500e-4, 0.997777, 0.332591),
        (0.5, 0.01, 0.02, (1, 2, 2), 2.1875375e-4, 0.997720, 0.208037),
        (1.0, 0.1, 0.1, (1, 1, 1), 9.0200000e-2, 0.978308, 0.325749),
    ],
)
def test_table_of_errors(alpha, sigma_g, sigma_h, sizes, error, sharp, paper):
    instance = lemma_4_3_error.witness(alpha, 1.0, 1.0, sigma_g, sigma_h, sizes)
    found = {version: ERROR[version].judge(instance) for version in (PAPER, SHARP)}
    assert found[SHARP].lhs.middle == pytest.approx(error, rel=5e-8)
    assert found[SHARP].ratio == pytest.approx(sharp, abs=5.1e-7)
    assert found[PAPER].ratio == pytest.approx(paper, abs=5e-7)


def test_values_of_the_formulas():
    n = Numbers(1.0, 1.0, 1.0, 0.1, 0.1, 1 / 4, 1 / 5, 1 / 2)
    assert lemmas.error_sharp(n) == pytest.approx(0.02301, rel=1e-14)
    assert lemmas.error_paper(n) == pytest.approx(0.0690675, rel=1e-14)
    without = n._replace(
        **{k: batch_factor(s, 20, replace=False) for k, s in {"c_inner": 4, "c_outer": 5, "c_hessian": 2}.items()}
    )
    assert lemmas.error_sharp(without) == pytest.approx(0.0194811634, rel=5e-9)


def random_numbers(rng):
    L, B, sigma_g, sigma_h = 10 ** rng.uniform(-2, 2, 4)
    sizes = rng.integers(1, 20, 3)
    return Numbers(rng.uniform(0, 1) / L, L, B, sigma_g, sigma_h, *(1 / sizes))


def test_the_transcribed_error_is_three_times_the_sharp_one_at_least():
    rng = generator(0, "formulas of lemma 4.3")
    for _ in range(500):
        n = random_numbers(rng)
        literal = (
            12
            * (n.B**2 + n.sigma_G**2 * (n.c_outer + (n.alpha * n.L) ** 2 * n.c_inner))
            * (1 + (n.sigma_H * n.alpha) ** 2 * n.c_hessian / 4)
        )
        paper = lemmas.error_paper(n)
        assert paper == pytest.approx(literal - 12 * n.B**2, abs=1e-13 * literal)
        assert paper >= 3 * lemmas.error_sharp(n) * (1 - 1e-14)
        assert lemmas.error_convex(n) <= lemmas.error_sharp(n)
    whole = Numbers(1.0, 1.0, 1.0, 0.3, 0.0, 0.5, 0.25, 1.0)
    assert lemmas.error_paper(whole) == pytest.approx(3 * lemmas.error_sharp(whole))


def test_huber_function():
    s = np.linspace(0, 5, 2001)
    for L, rho in ((1.0, 1.0), (2.0, 0.7), (0.3, 50.0)):
        phi = np.array([huber(v, L, rho) for v in s])
        assert (np.diff(phi) >= 0).all()
        assert (np.diff(phi) <= L * np.diff(s) * (1 + 1e-9)).all()  # continuous, slope at most L
        assert (phi <= np.minimum(L * s, rho * s**2 / 2) * (1 + 1e-14)).all()
        corner = L / rho
        assert huber(corner, L, rho) == pytest.approx(huber(corner * (1 + 1e-12), L, rho), rel=1e-11)
        assert huber(2 * L / rho, L, rho) == pytest.approx(0.75 * 2 * L**2 / rho)  # where L s and rho s^2 / 2 meet
        half = np.array([huber(v, L / 2, rho) for v in s])
        assert (half <= phi * (1 + 1e-14)).all()
    assert huber(1.0, 1.0, 0.0) == 0 == huber(1.0, 0.0, 0.0)
    assert huber(1.0, 1.0, 1e300) == pytest.approx(1.0)


def test_the_sharp_bias_is_below_the_transcribed_one():
    rng = generator(1, "formulas of lemma 4.3")
    for _ in range(300):
        n, rho = random_numbers(rng), 10 ** rng.uniform(-3, 3)
        where = (n.alpha, n.L, rho, n.sigma_G, n.c_inner)
        assert lemmas.bias_convex(*where) <= lemmas.bias_sharp(*where) <= lemmas.bias_paper(*where) * (1 + 1e-14)


# --- enumeration ---


def ordered(size, m, p, *, replace):
    """Every ordered batch with its probability."""
    if size is None:
        return [(1.0, p)]
    out = []
    for rows in itertools.product(range(m), repeat=size) if replace else itertools.permutations(range(m), size):
        share = np.bincount(rows, minlength=m) / size
        out.append((math.prod(p[list(rows)]) if replace else 1 / math.perm(m, size), share))
    return out


def slow(gradient, hessian, p, w, alpha, sizes):
    """G~ one triple of ordered batches at a time; gradient(w) (m, d), hessian(w) (m, d, d)."""
    m = len(p)
    after = w - alpha * p @ gradient(w)
    target = (np.eye(len(w)) - alpha * np.tensordot(p, hessian(w), 1)) @ (p @ gradient(after))
    mean, square = np.zeros(len(w), target.dtype), 0.0
    for q1, inner in ordered(sizes.inner, m, p, replace=sizes.replace):
        at = gradient(w - alpha * inner @ gradient(w))
        for q2, outer in ordered(sizes.outer, m, p, replace=sizes.replace):
            v = outer @ at
            for q3, share in ordered(sizes.hessian, m, p, replace=sizes.replace):
                off = v - alpha * np.tensordot(share, hessian(w), 1) @ v - target
                mean += q1 * q2 * q3 * off
                square += q1 * q2 * q3 * off @ off
    return target, float(np.linalg.norm(mean.astype(float))), float(square)


SIZES = [
    Sizes(2, 1, 3, True),
    Sizes(1, 3, 2, True),
    Sizes(None, 2, 1, True),
    Sizes(2, None, None, True),
    Sizes(2, 1, 3, False),
    Sizes(4, 2, 1, False),
]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("uniform", [True, False])
def test_enumeration_against_ordered_batches_of_a_curve(sizes, uniform):
    if not uniform and not sizes.replace:
        return
    w, alpha = np.array([0.4]), 0.6
    curve, noise = lopsided(0.4, uniform=uniform)
    found = enumerated(CurveData(curve, noise), w, alpha, sizes)
    target, bias, error = slow(
        lambda u: (curve.gradient(u) + noise.gradients(u)[0])[:, None],
        lambda u: (curve.hessian(u) + noise.hessians(u)[0])[:, None, None],
        np.asarray(noise.weights),
        w,
        alpha,
        sizes,
    )
    check(found, target, bias, error)


def check(found, target, bias, error):
    assert found.gradient == pytest.approx(target, abs=1e-13)
    assert np.linalg.norm(found.mean - found.gradient) == pytest.approx(bias, abs=1e-13)
    assert found.error.middle == pytest.approx(error, rel=1e-11, abs=1e-20)
    assert found.bias.lower - 1e-15 <= bias <= found.bias.upper + 1e-15
    assert found.error.lower * (1 - 1e-14) <= error <= found.error.upper * (1 + 1e-14)


@pytest.mark.parametrize("sizes", SIZES)
def test_enumeration_against_ordered_batches_of_rows(sizes):
    rng = generator(4, "rows")
    m, alpha, w = 4, 0.8, rng.normal(size=2)
    x, y = 2 * rng.normal(size=(m, 2)), np.array([0, 1, 1, 0])
    p = np.full(m, 0.25) if not sizes.replace else np.array([0.4, 0.3, 0.2, 0.1])
    fed = pfl.Federation.from_arrays([x[:2], x], [y[:2], y], sample_weight=[np.full(2, 0.5), p])
    problem = Problem(pfl.losses.Logistic(), fed)

    def sigma(u):
        return 1 / (1 + np.exp(-(x @ u)))

    target, bias, error = slow(
        lambda u: (sigma(u) - y)[:, None] * x,
        lambda u: (sigma(u) * (1 - sigma(u)))[:, None, None] * x[:, :, None] * x[:, None, :],
        p,
        w,
        alpha,
        sizes,
    )
    found = enumerated(data_of(problem, 1), w, alpha, sizes)
    check(found, target, bias, error)
    assert found.gradient == pytest.approx(problem.meta_gradient(w, alpha)[1], abs=1e-14)


def fraction_gradient(curve, x):
    """f'(x) of a curve in fractions."""

    def integral(to):  # of f'' from the first node
        total = Fraction(0)
        for k in range(len(nodes) - 1):
            if to <= nodes[k]:
                break
            end = min(to, nodes[k + 1])
            rise = (heights[k + 1] - heights[k]) / (nodes[k + 1] - nodes[k])
            total += (end - nodes[k]) * (heights[k] + rise * (end - nodes[k]) / 2)
        return total

    nodes, heights = [Fraction(float(v)) for v in curve.x], [Fraction(float(v)) for v in curve.h]
    return Fraction(curve.slope) + integral(x) - integral(Fraction(curve.anchor))


def fraction_hessian(curve, x):
    nodes, heights = [Fraction(float(v)) for v in curve.x], [Fraction(float(v)) for v in curve.h]
    for k in range(len(nodes) - 1):
        if nodes[k] <= x <= nodes[k + 1]:
            return heights[k] + (heights[k + 1] - heights[k]) * (x - nodes[k]) / (nodes[k + 1] - nodes[k])
    return Fraction(0)


@pytest.mark.parametrize("seed", range(6))
def test_rounding_bound_against_fractions(seed):
    """Everything about a curve with flat noise is rational."""
    rng = generator(seed, "fractions")
    curve = random_piecewise(rng, n_users=1).curves[0]
    xi = np.array([0.75, -0.5, -0.25]) * 2.0 ** rng.integers(-3, 4)  # of mean zero exactly
    w, alpha, sizes = float(rng.uniform(curve.x[0], curve.x[-1])), float(rng.uniform(0.1, 2)), Sizes(2, 1, None, True)
    found = enumerated(CurveData(curve, FiniteNoise(xi[:, None], [Flat()])), np.array([w]), alpha, sizes)
    at, step, noise = Fraction(w), Fraction(alpha), [Fraction(float(v)) for v in xi]
    slope = fraction_gradient(curve, at)
    shrink = 1 - step * fraction_hessian(curve, at)
    target = shrink * fraction_gradient(curve, at - step * slope)
    bias = square = Fraction(0)
    for a, b, c in itertools.product(noise, repeat=3):
        off = shrink * (fraction_gradient(curve, at - step * (slope + (a + b) / 2)) + c) - target
        bias, square = bias + off / 27, square + off**2 / 27
    for side, exact in ((found.bias, abs(bias)), (found.error, square)):
        assert Fraction(side.lower) <= exact <= Fraction(side.upper)
        assert side.width <= 1e-9 * (1 + side.upper)


@pytest.mark.parametrize("seed", range(4))
def test_rounding_bound_against_long_doubles(seed):
    rng = generator(seed, "long doubles")
    x, w, alpha = rng.normal(size=(4, 2)) * 10 ** rng.uniform(-0.5, 1), rng.normal(size=2), float(rng.uniform(0.1, 2))
    z = rng.normal(size=4)
    problem = Problem(pfl.losses.LogCosh("regression"), pfl.Federation.from_arrays([x], [z]))
    far, sizes, p = x.astype(np.longdouble), Sizes(2, 2, 1, True), np.full(4, 0.25, np.longdouble)

    def slope(u):
        return np.tanh(far @ u - z)

    _, bias, error = slow(
        lambda u: slope(u)[:, None] * far,
        lambda u: (1 - slope(u) ** 2)[:, None, None] * far[:, :, None] * far[:, None, :],
        p,
        w,
        alpha,
        sizes,
    )
    found = enumerated(data_of(problem, 0), w, alpha, sizes)
    for side, exact in ((found.bias, bias), (found.error, error)):
        assert side.lower <= exact <= side.upper
        assert abs(side.middle - exact) < side.width / 20 or side.lower == 0  # a worst case, not an estimate


def test_rows_of_weight_zero_are_no_data():
    fed = pfl.Federation.from_arrays([[[1.0], [5.0], [-2.0]]], sample_weight=[[0.5, 0.0, 0.5]])
    less = pfl.Federation.from_arrays([[[1.0], [-2.0]]])
    sizes, w = Sizes(1, 2, 1, True), np.array([0.3])
    a, b = (enumerated(data_of(Problem(pfl.losses.LogCosh(), f), 0), w, 0.7, sizes) for f in (fed, less))
    assert a.outcomes == b.outcomes
    assert a.error.middle == pytest.approx(b.error.middle, rel=1e-14)


def test_softmax_users_are_enumerated():
    rng = generator(6, "rows")
    fed = pfl.Federation.from_arrays([rng.normal(size=(3, 4))], [[0, 1, 2]])
    problem = Problem(pfl.losses.Softmax(3), fed)
    w = rng.normal(size=problem.dim)
    found = enumerated(data_of(problem, 0), w, 0.5, Sizes(3, 3, 3, False))  # full batches
    assert found.outcomes == 1
    assert found.gradient == pytest.approx(problem.meta_gradient(w, 0.5)[0], abs=1e-14)
    assert found.bias.upper < 1e-9
    assert found.error.upper < 1e-18
    assert enumerated(data_of(problem, 0), w, 0.5, Sizes(2, 2, 2, True)).error.middle > 0.01


@pytest.mark.parametrize(("size", "replace"), [(1, True), (3, True), (7, True), (1, False), (3, False), (5, False)])
def test_batches_have_the_right_law(size, replace):
    p = np.full(5, 0.2) if not replace else np.array([0.1, 0.15, 0.2, 0.25, 0.3])
    parts = list(batches(size, p, replace=replace, rows=4))
    q, share = np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts])
    assert q.sum() == pytest.approx(1, abs=1e-14)
    assert q @ share == pytest.approx(p, abs=1e-14)
    assert len(np.unique(share, axis=0)) == len(share)
    # the variance of a mean, which enumeration does not use
    values = np.array([3.0, -1.0, 4.0, 1.0, -5.0])
    variance = p @ (values - p @ values) ** 2
    assert q @ (share @ values - p @ values) ** 2 == pytest.approx(
        variance * batch_factor(size, 5, replace=replace), abs=1e-13
    )


def test_a_large_enumeration_stays_small_in_memory():
    curve, noise = lopsided(0.4)
    data, w = CurveData(curve, noise), np.array([0.4])
    tracemalloc.start()
    found = enumerated(data, w, 0.6, Sizes(7, 7, 7, True))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.outcomes == 120**3  # 1.7 million
    assert peak < 16 * BLOCK * 8
    # in D alone: a table of 3 million batches would not be small
    tracemalloc.start()
    noise = FiniteNoise(np.linspace(-1, 1, 64)[:, None], [Flat()])
    found = enumerated(CurveData(curve, noise), w, 0.6, Sizes(None, None, 3, True))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.outcomes == math.comb(66, 3)
    assert peak < 16 * BLOCK * 8


def test_full_batches_have_no_bias_and_no_error():
    instance = witness(1.0, 1.0, 4.0, one_against_all(1.0, 4), 4, replace=False)
    assert BIAS[SHARP].judge(instance).attained
    for claim in (BIAS[SHARP], ERROR[SHARP]):
        rng = generator(2, "full", claim.name)
        for _ in range(20):
            drawn = claim.random_instance(rng)
            m = int(support_sizes(drawn.problem).min())
            if len(set(support_sizes(drawn.problem).tolist())) > 1:
                continue
            algorithm = pfl.PerFedAvg(
                alpha=drawn.alpha, beta=0.1, batch_inner=m, batch_outer=m, batch_hessian=m, replace=False
            )
            verdict = claim.judge(dataclasses.replace(drawn, algorithm=algorithm))
            assert verdict.attained
            assert verdict.rhs.upper == 0


def test_a_quadratic_has_no_bias():
    """rho = 0 on the points that are used: f'' = 1 on a wide interval."""
    curve = Curve(np.array([-20.0, -19.0, 19.0, 20.0]), np.array([0.0, 1.0, 1.0, 0.0]), 0.0, 0.5)
    found = enumerated(CurveData(curve, signs(0.5)), np.array([1.0]), 0.3, Sizes(2, 1, 1, True))
    assert found.bias.lower == 0
    assert found.bias.upper < 1e-11
    assert found.error.middle == pytest.approx(0.7**2 * 0.25 * (1 + 0.3**2 / 2), rel=1e-12)


# --- against the algorithm itself ---


def one_step(problem, algorithm, w, rounds):
    """Samples of G~ from one local step: w - beta G~ is where a user ends."""
    users = np.arange(problem.n_users)
    ends = [local_steps(problem, users, w[None], algorithm.plan, seed=1, round_=k, keep=True)[1] for k in range(rounds)]
    return (w - np.concatenate(ends)) / algorithm.beta


def agrees(samples, found):
    off = samples - found.gradient
    square = (off**2).sum(1)
    n = len(samples)
    assert abs(square.mean() - found.error.middle) < 5 * square.std() / math.sqrt(n)
    assert np.abs(samples.mean(0) - found.mean).max() < 5 * off.std(0).max() / math.sqrt(n)


def test_enumeration_against_local_steps_on_functions():
    w = np.array([0.4])
    curve, noise = lopsided(0.4)
    problem = Problem.from_curves(Piecewise([curve] * 500, noise))
    algorithm = pfl.PerFedAvg(alpha=0.6, beta=0.5, batch_inner=2, batch_outer=1, batch_hessian=3)
    agrees(one_step(problem, algorithm, w, 30), enumerated(CurveData(curve, noise), w, 0.6, Sizes(2, 1, 3, True)))


@pytest.mark.parametrize("replace", [True, False])
def test_enumeration_against_local_steps_on_rows(replace):
    rng = generator(8, "rows")
    x, w = 2 * rng.normal(size=(4, 2)), np.array([0.5, -1.0])
    problem = Problem(pfl.losses.LogCosh(), pfl.Federation.from_arrays([x] * 20_000))
    algorithm = pfl.PerFedAvg(alpha=0.9, beta=0.5, batch_inner=1, batch_outer=2, batch_hessian=2, replace=replace)
    found = enumerated(
        data_of(Problem(pfl.losses.LogCosh(), pfl.Federation.from_arrays([x])), 0), w, 0.9, Sizes(1, 2, 2, replace)
    )
    agrees(one_step(problem, algorithm, w, 5), found)
    run = pfl.run(dataclasses.replace(algorithm, local_steps=1), problem, rounds=1, w0=w, seed=1)
    assert (w - run.w) / algorithm.beta == pytest.approx(
        found.mean, abs=5 * math.sqrt(found.error.middle / problem.n_users)
    )


# --- mutants ---


def mutated(claim, module, formula):
    return dataclasses.replace(claim, sides=module._sides(formula))


def test_a_bias_bound_without_a_factor_is_violated():
    def without_a(alpha, L, rho, sigma_G, c):
        return huber(alpha * sigma_G * math.sqrt(c), L, rho)

    def quarter(alpha, L, rho, sigma_G, c):
        return huber(alpha * sigma_G * math.sqrt(c), L / 4, rho)

    def inverse(alpha, L, rho, sigma_G, c):
        return lemmas.bias_sharp(alpha, L, rho, sigma_G, c * c)

    assert mutated(BIAS[SHARP], lemma_4_3_bias, without_a).judge().outcome == "VIOLATED"
    assert mutated(BIAS[CONVEX], lemma_4_3_bias, quarter).judge().outcome == "VIOLATED"
    assert (
        mutated(BIAS[SHARP], lemma_4_3_bias, inverse).judge(BIAS[SHARP].case("four-of-signs").make()).outcome
        == "VIOLATED"
    )
    for name in ("lemma-4.3-bias", "lemma-4.3-error"):  # the convex forms are no bounds for others
        convex = claims.get(name, "sharp", "convex")
        anyone = dataclasses.replace(convex, hypotheses=claims.get(name, "sharp").hypotheses)
        assert anyone.judge(claims.get(name, "sharp").witness()).outcome == "VIOLATED"


def test_an_error_bound_with_the_wrong_batch_is_violated():
    def swapped(n):  # 1/D' for 1/D
        return lemmas.error_sharp(n._replace(c_inner=n.c_outer))

    def swapped_hessian(n):  # 1/D' for 1/D''
        return lemmas.error_sharp(n._replace(c_hessian=n.c_outer))

    one = lemma_4_3_error.witness(sizes=(1, 3, 1))
    assert ERROR[SHARP].judge(one).outcome == "HOLDS"
    for formula in (swapped, swapped_hessian, lemmas.error_convex):
        assert mutated(ERROR[SHARP], lemma_4_3_error, formula).judge(one).outcome == "VIOLATED"


def test_random_instances_are_varied():
    rng = generator(0, "variety")
    drawn = [instances_with_batches.random_with_batches(rng) for _ in range(60)]
    sizes = [sizes_of(d) for d in drawn]
    assert {s.replace for s in sizes} == {True, False}
    assert {s.inner for s in sizes} >= {1, 2, 3}
    assert 5 <= sum(d.name == "random rows" for d in drawn) <= 30
    assert {d.problem.dim for d in drawn} == {1, 2, 3}


# --- operator norm ---


def test_hessians_average_at_a_fixed_vector_but_not_in_norm():
    fixed, norm = hessian_batch_norm.CLAIMS
    assert fixed.judge().lhs.middle == pytest.approx(0.5, abs=1e-12)
    assert fixed.judge().attained
    assert norm.judge().lhs.middle == pytest.approx(0.75, abs=1e-12)
    assert "not a statement of the paper" in norm.title
    diagonal = np.array([np.diag(s) for s in itertools.product([-1.0, 1.0], repeat=4)])
    verdict = norm.judge(hessian_batch_norm.with_hessians(diagonal, 2, "signs on the diagonal, d = 4"))
    assert verdict.lhs.middle == pytest.approx(
        1 - 2**-4
    )  # the maximum of four means of two signs: 0 with probability 1/16
    assert fixed.judge(hessian_batch_norm.with_hessians(diagonal, 16, "all", replace=False)).rhs.middle == 0
    assert fixed.judge(witness()).outcome == "NOT_APPLICABLE"
    assert (
        fixed.judge(hessian_batch_norm.with_hessians(diagonal, 17, "too many", replace=False)).outcome
        == "NOT_APPLICABLE"
    )
    with pytest.raises(InputError, match="symmetric"):
        hessian_batch_norm.QuadraticData(np.array([[[0.0, 1.0], [0.0, 0.0]]]))


# --- sampling ---


def test_sampled_intervals_contain_what_is_enumerated():
    rng = generator(9, "sampled against enumerated")
    for _ in range(12):
        drawn = instances_with_batches.random_with_batches(rng)
        exact, samples = moments_of(drawn), moments_of(dataclasses.replace(drawn, runs=4000))
        for (_, e), (_, s) in zip(exact, samples, strict=True):
            assert s.bias.lower <= e.bias.upper
            assert e.bias.lower <= s.bias.upper
            assert s.error.lower <= e.error.upper
            assert e.error.lower <= s.error.upper
            assert not s.error.is_rounding


def test_samples_have_the_moments():
    curve, noise = lopsided(0.4, uniform=False)
    data, w, sizes = CurveData(curve, noise), np.array([0.4]), Sizes(2, 1, 3, True)
    exact, found = enumerated(data, w, 0.6, sizes), sampled(data, w, 0.6, sizes, draws=400_000)
    assert found.mean == pytest.approx(exact.mean, abs=5 * math.sqrt(exact.error.middle / 400_000))
    assert found.error.middle == pytest.approx(exact.error.middle, rel=0.02)
    again = sampled(data, w, 0.6, sizes, draws=400_000)
    assert again.bias == found.bias
    uniform_curve, uniform_noise = lopsided(0.4)
    without = Sizes(2, 3, 1, False)
    exact, found = (
        f(CurveData(uniform_curve, uniform_noise), w, 0.6, without, **k)
        for f, k in ((enumerated, {}), (sampled, {"draws": 400_000}))
    )
    assert found.mean == pytest.approx(exact.mean, abs=5 * math.sqrt(exact.error.middle / 400_000))
    assert found.error.middle == pytest.approx(exact.error.middle, rel=0.02)


def test_a_sampled_verdict_says_its_level():
    instance = instances_with_batches.many_rows()
    for claim in (BIAS[SHARP], ERROR[SHARP]):
        verdict = claim.judge(instance)
        assert verdict.outcome == "HOLDS"
        assert verdict.level == LEVEL == 1 - 1e-3 / TOGETHER
        assert "N = 60000" in verdict.reason
        assert f"at most {TOGETHER} judged" in verdict.reason
        close = claim.judge(instance, factor=verdict.lhs.middle / verdict.rhs.middle)
        assert close.outcome == "INCONCLUSIVE"
        assert not close.attained


def test_an_undecided_verdict_says_how_many_samples_would_do():
    assert "About 4.8e+04 samples would settle it." in note(10_000, Interval(0.0, 2.0), Interval(1.5, 1.5))
    assert "too close" in note(10_000, Interval(0.0, 2.0), Interval(1.0, 1.0))
    assert "settle" not in note(10_000, Interval(0.0, 1.0), Interval(2.0, 2.0))
    few = dataclasses.replace(instances_with_batches.many_rows(), runs=100)
    verdict = BIAS[CONVEX].judge(few)
    assert verdict.outcome == "INCONCLUSIVE"
    assert "would settle" in verdict.reason


def test_intervals_cover_at_their_level():
    """Two hundred samples of a skew law, two thousand times: misses are rarer than stated."""
    rng = generator(11, "coverage")
    x = (rng.random((2000, 200)) < 0.05).astype(float)
    misses = sum(abs(row.mean() - 0.05) > empirical_bernstein(summary(row), 1.0, 0.05) for row in x)
    assert misses <= 0.05 * 2000
    v = rng.choice([-1.0, 1.0], size=(2000, 50, 3)) / math.sqrt(3)
    off = np.linalg.norm(v.mean(1), axis=1)
    assert (off > norm_of_mean(50, 1.0, 1.0, 0.05)).mean() <= 0.05
    values = rng.normal(size=1000)
    parts = merged(summary(values[:300]), summary(values[300:]))
    assert parts.mean == pytest.approx(values.mean())
    assert parts.deviations == pytest.approx(((values - values.mean()) ** 2).sum())
    with pytest.raises(InputError, match="at least 2"):
        empirical_bernstein(Summary(1, 0.0, 0.0), 1.0, 0.1)


# --- bad input ---


def test_bad_input_gets_one_line():
    good = witness()
    bare = dataclasses.replace(good, algorithm=None)
    for claim in (BIAS[SHARP], ERROR[PAPER]):
        assert claim.judge(bare).outcome == "NOT_APPLICABLE"
        verdict = claim.judge(instances_with_batches.unequal_weights())
        assert verdict.outcome == "NOT_APPLICABLE"
        assert "equal weight" in verdict.reason
    with pytest.raises(InputError, match="no batches to speak of"):
        sizes_of(bare)
    with pytest.raises(InputError, match="equal weight"):
        moments_of(instances_with_batches.unequal_weights())
    with pytest.raises(InputError, match="no points"):
        moments_of(dataclasses.replace(good, points=None))

    noise = FiniteNoise(np.linspace(-1, 1, 30)[:, None], [Flat()])
    many = pfl.PerFedAvg(alpha=1.0, beta=0.1, batch_inner=10, batch_outer=10, batch_hessian=10)
    problem = Problem.from_curves(Piecewise([lopsided(0.4)[0]], noise))
    with pytest.raises(InputError, match="use runs= to sample"):
        BIAS[SHARP].judge(claims.Instance(problem, 1.0, np.zeros((1, 1)), algorithm=many))
    with pytest.raises(InputError, match="at most 170"):
        enumerated(CurveData(lopsided(0.4)[0], signs(1.0)), np.zeros(1), 0.5, Sizes(171, 1, 1, True))
    with pytest.raises(InputError, match="not known"):
        data_of(Problem.from_functions(lambda w: w[:, 0], lambda w: w, n_users=1, dim=1), 0)
    with pytest.raises(InputError, match="float64"):
        data_of(Problem(pfl.losses.LogCosh(), pfl.Federation.from_arrays([[1.0, 2.0]]), dtype="float32"), 0)

    other = pfl.PerFedAvg(alpha=0.5, beta=0.1, batch_inner=1)
    assert "is not the instance's" in BIAS[SHARP].judge(dataclasses.replace(good, algorithm=other)).reason
    first_order = pfl.PerFedAvg(alpha=1.0, beta=0.1, batch_inner=1, variant="first-order")
    assert BIAS[SHARP].judge(dataclasses.replace(good, algorithm=first_order)).outcome == "NOT_APPLICABLE"
    assert "on a ball" in BIAS[SHARP].judge(dataclasses.replace(good, ball=(100.0, None))).reason
    three = pfl.PerFedAvg(alpha=1.0, beta=0.1, batch_inner=3, replace=False)
    assert "a batch of 3" in BIAS[SHARP].judge(dataclasses.replace(good, algorithm=three)).reason
    assert "2/L" in BIAS[CONVEX].judge(witness(2.5, convex=True)).reason
    quadratic = Problem(pfl.losses.Quadratic(), pfl.Federation.from_arrays([[0.0, 1.0]]))
    at = claims.Instance(quadratic, 0.5, np.zeros((1, 1)), algorithm=pfl.PerFedAvg(alpha=0.5, beta=0.1, batch_inner=1))
    assert ERROR[SHARP].judge(at).outcome == "NOT_APPLICABLE"


# --- finite noise ---

SHAPES = [Flat(), Sine(0.3, 0.2), Bump(-0.4, 1.3)]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: type(s).__name__)
def test_curvature_of_noise_is_the_derivative_of_its_slope(shape):
    w, h = np.linspace(-3, 3, 4001), 1e-6
    difference = (shape.slope(w + h) - shape.slope(w - h)) / (2 * h)
    assert shape.curvature(w) == pytest.approx(difference, abs=1e-8 * (1 + shape.suprema[1]))
    for which, values in enumerate((shape.slope(w), shape.curvature(w))):
        largest = np.abs(values).max()
        assert largest <= shape.suprema[which]
        assert largest >= 0.999 * shape.suprema[which]


def test_deviations_of_finite_noise():
    rng = generator(12, "noise")
    w = np.linspace(-2, 2, 20_001)
    for shape in SHAPES:
        c = rng.normal(size=(5, 1))
        noise = FiniteNoise(c - c.mean(), [shape])
        for values, sigma in ((noise.gradients(w), noise.sigma_G), (noise.hessians(w), noise.sigma_H)):
            largest = np.sqrt((values**2).mean(1).max())
            assert largest <= sigma * (1 + 1e-12)
            assert largest >= 0.999 * sigma  # one shape: exact
            assert values.mean(1) == pytest.approx(0, abs=1e-13)
    p = np.array([0.1, 0.2, 0.3, 0.4])
    c = rng.normal(size=(4, 3))
    noise = FiniteNoise(c - p @ c, SHAPES, p)
    assert np.sqrt((noise.gradients(w) ** 2 @ p).max()) <= noise.sigma_G
    assert np.sqrt((noise.hessians(w) ** 2 @ p).max()) <= noise.sigma_H
    assert not noise.is_uniform
    assert FiniteNoise([[1.0], [-1.0]], [Flat()]).is_uniform


def test_the_sampler_draws_data_by_their_weights():
    p = np.array([0.1, 0.2, 0.7])
    c = np.array([[1.0, 0.0], [2.0, 1.0], [0.0, 3.0]])
    noise = FiniteNoise(c - p @ c, [Flat(), Sine(0.0, 1.0)], p)
    draw, w = noise.sampler(), np.full((50_000, 1), 0.4)
    for got, values in (
        (draw.gradient(np.random.default_rng(0), w), noise.gradients(np.array([0.4]))[0]),
        (draw.hvp(np.random.default_rng(0), w, 2 * np.ones_like(w)), 2 * noise.hessians(np.array([0.4]))[0]),
    ):
        for value, weight in zip(values, p, strict=True):
            assert np.isclose(got[:, 0], value).mean() == pytest.approx(weight, abs=5 * math.sqrt(weight / 50_000))


def test_finite_noise_refuses_what_is_no_noise():
    with pytest.raises(InputError, match="must be zero"):
        FiniteNoise([[1.0], [0.5]], [Flat()])
    with pytest.raises(InputError, match="give \\(m, k\\)"):
        FiniteNoise([[1.0], [-1.0]], [Flat(), Flat()])
    with pytest.raises(InputError, match="sum to 1"):
        FiniteNoise([[1.0], [-1.0]], [Flat()], [0.5, 0.6])
    with pytest.raises(InputError, match="NaN"):
        FiniteNoise([[np.nan], [-1.0]], [Flat()])


def same_run(a, b):
    assert (a.alpha, a.name, a.rounds, a.runs, a.algorithm) == (b.alpha, b.name, b.rounds, b.runs, b.algorithm)
    assert np.array_equal(a.points, b.points)
    assert np.array_equal(a.w0, b.w0)


def test_an_instance_of_rows_with_batches_comes_back(tmp_path):
    fed = pfl.Federation.from_arrays([[[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]]], [[0, 1, 1]])
    algorithm = pfl.PerFedAvg(alpha=0.5, beta=0.1, batch_inner=2, batch_hessian=1, replace=False)
    problem = Problem(pfl.losses.Logistic(nonconvex=0.1), fed)
    instance = claims.Instance(
        problem, 0.5, np.ones((2, 2)), "rows", algorithm, rounds=7, w0=np.array([1.0, 2.0]), runs=50
    )
    back = claims.Instance.load(instance.save(tmp_path / "rows.json"))
    same_run(instance, back)
    a, b = (dataclasses.replace(i, runs=None) for i in (instance, back))
    assert BIAS[SHARP].judge(a).lhs == BIAS[SHARP].judge(b).lhs


def test_an_instance_with_finite_noise_comes_back(tmp_path):
    curve, noise = lopsided(0.4, uniform=False)
    problem = Problem.from_curves(Piecewise([curve], noise))
    algorithm = pfl.PerFedAvg(alpha=0.5, beta=0.1, batch_inner=2, batch_hessian=1)
    instance = claims.Instance(
        problem, 0.5, np.array([[0.4]]), "noise", algorithm, rounds=3, w0=np.array([1.5]), runs=9
    )
    back = claims.Instance.load(instance.save(tmp_path / "noise.json"))
    same_run(instance, back)
    a, b = (dataclasses.replace(i, runs=None) for i in (instance, back))
    assert ERROR[SHARP].judge(a).lhs == ERROR[SHARP].judge(b).lhs


def test_finite_noise_as_plain_data_comes_back():
    _, noise = lopsided(0.4, uniform=False)
    back = FiniteNoise.from_data(noise.as_data())
    assert np.array_equal(back.coefficients, noise.coefficients)
    assert np.array_equal(back.weights, noise.weights)
    assert list(back.shapes) == list(noise.shapes)
