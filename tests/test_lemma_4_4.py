"""The convex forms of Lemmas 4.2 and 4.4."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import pfl_theory as pfl
from pfl_theory import claims
from pfl_theory.claims import lemma_4_2, lemma_4_4
from pfl_theory.errors import InputError
from pfl_theory.judging.on_curves import gammas, made_convex, random_convex_curves
from pfl_theory.losses.piecewise import random_piecewise
from pfl_theory.theory import lemmas

SMOOTH = claims.get("lemma-4.2", "sharp", "convex")
APART = claims.get("lemma-4.4", "sharp", "convex")

# alpha, L, B, gamma_G, gamma_H, r.m.s. and its ratio: from the closed form of the witness, whose ramps have width 1e-4
# gamma_G
CONVEX_WITNESSES = [
    (1.0, 1.0, 1.0, 0.001, 0.05, 0.0517, 0.994231),
    (0.5, 1.0, 1.0, 0.001, 0.05, 0.026375, 0.995283),
    (1.0, 1.0, 1.0, 0.01, 0.25, 0.2550, 0.944444),
    (1.0, 1.0, 1.0, 1e-5, 0.01, 0.0100194, 0.999940),
]


@pytest.mark.parametrize(("alpha", "L", "B", "gamma_G", "gamma_H", "rms", "ratio"), CONVEX_WITNESSES)
def test_convex_witness_of_lemma_4_4(alpha, L, B, gamma_G, gamma_H, rms, ratio):
    instance = lemma_4_4.convex_witness(alpha, L, B, gamma_G, gamma_H)
    assert gammas(instance.problem) == pytest.approx((gamma_G, gamma_H), rel=1e-9)
    assert [instance.constants[name].max() for name in ("L", "B")] == pytest.approx([L, B], rel=1e-12)
    verdict = APART.judge(instance)
    assert math.sqrt(verdict.lhs.middle) == pytest.approx(rms, rel=1e-4)
    assert math.sqrt(verdict.ratio) == pytest.approx(ratio, abs=1e-5)
    assert verdict.lhs.middle == pytest.approx(lemma_4_4.convex_reached(alpha, L, B, gamma_G, gamma_H), rel=1e-9)


def test_convex_witness_of_lemma_4_4_needs_room():
    with pytest.raises(InputError, match="gamma_G"):
        lemma_4_4.convex_witness(gamma_G=0.02, gamma_H=0.03)
    with pytest.raises(InputError, match="2 gamma_H"):
        lemma_4_4.convex_witness(gamma_G=0.001, gamma_H=0.6)


@pytest.mark.parametrize(
    ("mutant", "case"),
    [
        (lambda a, L, B, g, h: (g + a * B * h) ** 2, "witness"),  # the second member without its factor 2
        (lambda a, L, B, g, h: (g / 2 + 2 * a * B * h) ** 2, "linear"),
        (lambda a, L, B, g, h: ((1 + a * L) * g + 0.9 * a * B * h) ** 2, "witness"),
    ],
)
def test_smaller_right_sides_of_lemma_4_4_are_violated(mutant, case):
    wrong = dataclasses.replace(APART, sides=lemma_4_4._sides(mutant))
    assert wrong.judge(APART.case(case).make()).outcome == "VIOLATED"


def test_convex_form_is_below_the_general_one():
    rng = np.random.default_rng(2)
    for _ in range(200):
        L, B, gamma_G, gamma_H = np.exp(rng.normal(size=4))
        alpha = rng.uniform(0, 1) / L
        assert lemmas.spread_convex(alpha, L, B, gamma_G, gamma_H) <= lemmas.spread_sharp(
            alpha, L, B, gamma_G, gamma_H
        ) * (1 + 1e-12)


def test_convex_users_on_a_grid():
    """Left side over a fine grid of w against the convex right side, in plain NumPy."""
    rng = np.random.default_rng(3)
    closest = 0.0
    for _ in range(60):
        instance = random_convex_curves(rng)
        curves, alpha = instance.problem.family.curves, instance.alpha
        w = np.linspace(min(c.x[0] for c in curves) - 2, max(c.x[-1] for c in curves) + 2, 4001)
        slopes = np.array([(1 - alpha * c.hessian(w)) * c.gradient(w - alpha * c.gradient(w)) for c in curves])
        L, B = (instance.constants[name].max() for name in ("L", "B"))
        right = lemmas.spread_convex(alpha, L, B, *gammas(instance.problem))
        assert slopes.var(0).max() <= right * (1 + 1e-9)
        closest = max(closest, slopes.var(0).max() / right)
    assert closest > 0.5  # the bound is no mere triviality on random users


# --- Lemma 4.2 ---


def test_sandwich_in_closed_form_against_a_grid():
    rng = np.random.default_rng(0)
    for _ in range(300):
        L, c = np.exp(2 * rng.normal(size=2))
        alpha = rng.uniform(0, 1) / L
        h = np.linspace(0, L, 20_001)
        values = (1 - alpha * h) ** 2 * (h + c)
        found = lemmas.sandwich(alpha, L, c)
        assert values.max() <= found * (1 + 1e-12)
        assert values.max() >= found * (1 - 1e-7)
    assert lemmas.sandwich(0.0, 2.0, 0.0) == 2.0


@pytest.mark.parametrize(("L", "alpha"), [(1.0, 1.0), (3.0, 1 / 3)])
def test_four_over_twenty_seven(L, alpha):
    """Without rho, at alpha = 1/L: 27 times below the transcribed 4 L."""
    assert lemmas.smoothness_convex(alpha, L, 0.0, 5.0) == pytest.approx(4 * L / 27)
    assert lemmas.smoothness_convex(alpha, L, 0.0, 5.0) == pytest.approx(
        lemmas.smoothness_paper(alpha, L, 0.0, 5.0) / 27
    )


# alpha, L, rho, B, tooth, sup |F''| in closed form: L + alpha rho B - alpha L^2/2 - alpha tooth^2
TEETH = [
    (1.0, 1.0, 1.0, 1.0, 0.0, 1.5),
    (1.0, 1.0, 4.0, 1.0, 0.01, 4.4999),
    (0.5, 2.0, 4.0, 1.0, 0.0, 3.0),
    (0.5, 1.0, 4.0, 2.0, 0.1, 4.745),
]


@pytest.mark.parametrize(("alpha", "L", "rho", "B", "tooth", "value"), TEETH)
def test_convex_witness_of_lemma_4_2(alpha, L, rho, B, tooth, value):
    instance = lemma_4_2.convex_witness(alpha, L, rho, B, tooth)
    found = {name: instance.constants[name].max() for name in ("L", "rho", "B")}
    assert found == pytest.approx({"L": L, "rho": rho, "B": B}, rel=1e-9)
    assert lemma_4_2.left_side(instance)[0].middle == pytest.approx(value, rel=1e-9)
    assert lemmas.smoothness_convex(alpha, L, rho, B, dim=1) == pytest.approx(value + alpha * tooth**2, rel=1e-9)


def test_convex_witness_of_lemma_4_2_needs_room():
    with pytest.raises(InputError, match="unless alpha rho B = L"):
        lemma_4_2.convex_witness(rho=4.0)
    with pytest.raises(InputError, match="2 \\* tooth"):
        lemma_4_2.convex_witness(rho=1.01, tooth=0.1)


def test_smaller_right_side_of_lemma_4_2_is_violated():
    def without_bend(alpha, L, rho, B):
        return L + alpha * rho * B - alpha * L**2

    wrong = dataclasses.replace(SMOOTH, sides=lemma_4_2._sides(without_bend))
    assert wrong.judge().outcome == "VIOLATED"


def test_convex_smoothness_on_a_grid():
    """Slopes of F' on a fine grid, over random convex users, for both members of the bound."""
    rng = np.random.default_rng(6)
    closest = {1: 0.0, 2: 0.0}
    for _ in range(60):
        curve = made_convex(random_piecewise(rng, n_users=1)).curves[0]
        alpha = rng.uniform(0, 1) / curve.curvature
        w = np.linspace(curve.x[0] - 3, curve.x[-1] + 3, 20_001)
        derivative = (1 - alpha * curve.hessian(w)) * curve.gradient(w - alpha * curve.gradient(w))
        top = np.abs(np.diff(derivative) / np.diff(w)).max()
        for dim in closest:
            right = lemmas.smoothness_convex(alpha, curve.curvature, curve.third, curve.steepest, dim)
            assert top <= right * (1 + 1e-7)
            closest[dim] = max(closest[dim], top / right)
    assert min(closest.values()) > 0.6


def test_one_dimensional_member_on_a_set():
    """On an interval that ends at w and at what w adapts to, constants read there: no Landau room outside, and the
    bound still holds.
    """
    rng = np.random.default_rng(9)
    for _ in range(300):
        curve = made_convex(random_piecewise(rng, n_users=1)).curves[0]
        w = float(rng.choice(curve.x)) + 1e-6 * rng.normal()
        g = float(curve.gradient(np.array([w]))[0])
        alpha = rng.uniform(0, 1) / curve.curvature
        ends = sorted((w, w - alpha * g))
        inside = np.sort(np.concatenate([ends, curve.x[(curve.x > ends[0]) & (curve.x < ends[1])]]))
        heights = curve.hessian(inside)
        L = heights.max()
        if L == 0 or ends[0] == ends[1]:
            continue
        third = np.abs(np.diff(heights) / np.diff(inside))
        adapted = w - alpha * g
        side = third[-1] if w == ends[1] else third[0]
        second = (1 - alpha * curve.hessian(np.array([w]))[0]) ** 2 * curve.hessian(np.array([adapted]))[0]
        value = second + alpha * side * abs(curve.gradient(np.array([adapted]))[0])
        B = np.abs(curve.gradient(inside)).max()
        assert value <= (L + alpha * third.max() * B - alpha * L**2 / 2) * (1 + 1e-9)


def test_convex_rows_in_more_dimensions():
    rng = np.random.default_rng(4)
    for _ in range(10):
        fed = pfl.Federation.from_arrays([rng.normal(size=(8, 2)) for _ in range(2)])
        problem = pfl.Problem(pfl.losses.LogCosh(), fed)
        points = np.cumsum(0.1 * rng.normal(size=(50, 2)), axis=0)
        assert SMOOTH.judge(pfl.Instance(problem, 1 / problem.constants()["L"].max(), points)).outcome == "HOLDS"


def test_convexity_is_asked_for():
    def given(A):
        problem = pfl.Problem(pfl.losses.Quadratic(A), pfl.Federation.from_arrays([[[0.0, 0.0]]]))
        return pfl.Instance(problem, 0.5, ball=(1.0, None))

    assert pfl.losses.Quadratic(2.0).convex
    assert pfl.losses.Quadratic([[[1.0, 0.0], [0.0, 0.0]]]).convex
    assert not pfl.losses.Quadratic([[1.0, 2.0], [2.0, 1.0]]).convex
    assert SMOOTH.judge(given(1.0)).outcome == "HOLDS"
    assert "not known to be" in SMOOTH.judge(given([[1.0, 0.0], [0.0, -0.5]])).reason
    constants = {name: pfl.Constant.exact([1.0], "given") for name in ("L", "rho", "B")}
    functions = pfl.Problem.from_functions(
        lambda w: w[:, 0], np.ones_like, lambda w, v: 0 * v, n_users=1, dim=1, constants=constants
    )
    assert "Python functions" in SMOOTH.judge(pfl.Instance(functions, 0.1, [[0.0], [1.0]])).reason
