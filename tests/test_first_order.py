"""Hessian-free and first-order: the error of the difference, the mean square error of HF, the floor of FO."""

from __future__ import annotations

import dataclasses
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

import pfl_theory as pfl
from pfl_theory import claims
from pfl_theory.algorithms.per_fedavg import PerFedAvg
from pfl_theory.claims import first_order_floor as claim
from pfl_theory.claims import hessian_free_error as hessian_free
from pfl_theory.judging.on_curves import gammas
from pfl_theory.losses.piecewise import Curve, Piecewise, random_piecewise

SHARP = claims.get("first-order-floor", "sharp")
CONVEX = claims.get("first-order-floor", "sharp", "convex")
OPEN = claims.get("first-order-floor")


# --- Hessian-free ---


def product_error(gradient, w, v, delta, hessian):
    return abs((gradient(w + delta * v) - gradient(w - delta * v)) / (2 * delta) - hessian * v)


def test_values_of_the_two_bounds():
    curve = Curve([-8.0, -4.0, 0.0, 4.0, 8.0], [0.0, 8.0, 0.0, 8.0, 0.0])  # f'' = 2 |x|
    found = product_error(lambda w: curve.gradient(np.array([w]))[0], 0.0, 1.5, 0.1, 0.0)
    assert found == pytest.approx(0.225)
    assert found == pytest.approx(hessian_free.sharp_bound(8.0, 2.0, 0.1, 1.5))
    assert product_error(lambda w: w**3, 0.0, 1.5, 0.1, 0.0) == pytest.approx(0.03375)  # f = rho_3 x^4 / 24, rho_3 = 6


def test_fourth_derivatives():
    """rho_3 against the third differences of D^3 f along random directions."""
    u = np.linspace(-20, 20, 200_001)
    q = 1 / (1 + np.exp(-u))
    q = q * (1 - q)
    assert np.abs(q * (1 - 6 * q)).max() == pytest.approx(hessian_free.SUP_D4_SOFTPLUS)
    rng = np.random.default_rng(5)
    for loss in (pfl.losses.Logistic(), pfl.losses.Cosine(0.7)):
        labels = [rng.integers(0, 2, 6)] if loss.classifies else None
        problem = pfl.Problem(loss, pfl.Federation.from_arrays([rng.normal(size=(6, 2))], labels))
        rho_3 = hessian_free.fourth(problem)
        assert rho_3 is not None
        step = 1e-2
        for _ in range(200):
            w, v = rng.normal(size=2), rng.normal(size=2)
            v /= np.linalg.norm(v)
            second = (
                problem.hvp(w + step * v, v[None]) - 2 * problem.hvp(w, v[None]) + problem.hvp(w - step * v, v[None])
            ) / step**2
            assert np.linalg.norm(second) <= rho_3[0] * (1 + 1e-3)
    assert (
        hessian_free.fourth(
            pfl.Problem(pfl.losses.Logistic(nonconvex=0.1), pfl.Federation.from_arrays([[[1.0]]], [[0]]))
        )
        is None
    )


def test_a_smaller_third_order_bound_is_violated():
    found = claims.get("hessian-free-error", "sharp", "third-order")
    assert found.judge(factor=0.999).outcome == "VIOLATED"


def cancelling_rows(small):
    """Rows whose gradients cancel at 0 but for a row of weight `small`: v is about -`small`."""
    fed = pfl.Federation.from_arrays([[-1.0, 1.0, 2.0]], sample_weight=[[0.5, 0.5, small]])
    return pfl.Problem(pfl.losses.Cosine(), fed)


@pytest.mark.parametrize("delta", [0.1, 1e30, "0.1/v"])
@pytest.mark.parametrize("small", [1e-305, 1e-301, 1e-200, 1e-110, 1e-50])
def test_a_vanishing_direction_is_no_zero(small, delta):
    """v squared or cubed vanishes in floats: not [0, 0] on both sides, nor a bound that something exceeds."""
    problem = cancelling_rows(small)
    v = abs(problem.gradient(problem.adapted(np.zeros(1), 0.5))[0, 0])
    assert 0 < v < 2 * small
    step = 0.1 / v if isinstance(delta, str) else delta
    algorithm = PerFedAvg(alpha=0.5, beta=0.1, variant="hessian-free", delta=step)
    found = claims.get("hessian-free-error", "sharp", "third-order").judge(
        pfl.Instance(problem, 0.5, np.zeros((1, 1)), "cancelling", algorithm)
    )
    assert found.outcome == "INCONCLUSIVE"
    assert "||v|| = " in found.reason
    assert "beyond what floats can judge" in found.reason
    assert found.lhs is None


@pytest.mark.parametrize("small", [1e-30, 1e-12, 0.0])
def test_a_small_direction_is_judged_between_ends_that_hold_the_truth(small):
    problem = cancelling_rows(small)
    v = Fraction(float(problem.gradient(problem.adapted(np.zeros(1), 0.5))[0, 0]))
    algorithm = PerFedAvg(alpha=0.5, beta=0.1, variant="hessian-free", delta=0.1)
    found = claims.get("hessian-free-error", "sharp", "third-order").judge(
        pfl.Instance(problem, 0.5, np.zeros((1, 1)), "cancelling", algorithm)
    )
    rho_3 = Fraction(float(hessian_free.fourth(problem)[0]))
    right = rho_3 * Fraction(0.1) ** 2 * abs(v) ** 3 / 12
    assert Fraction(found.rhs.lower) <= right <= Fraction(found.rhs.upper)
    assert found.lhs.lower <= 0 <= found.lhs.upper
    assert (found.rhs.upper == 0) == (v == 0)


@pytest.mark.parametrize("version", ["paper", "sharp"])
def test_curves_with_a_vanishing_direction(version):
    """A slope whose square leaves the floats; or a delta that does."""
    curve = Curve([0.0, 2.0, 4.0], [0.0, 2.0, 0.0], 0.0, 1e-200)
    problem = pfl.Problem.from_curves(Piecewise([curve]))
    algorithm = PerFedAvg(alpha=0.25, beta=0.1, variant="hessian-free", delta=1e3)
    found = claims.get("hessian-free-error", version).judge(
        pfl.Instance(problem, 0.25, np.zeros((1, 1)), "bottom", algorithm)
    )
    assert (found.outcome, found.lhs) == ("INCONCLUSIVE", None)
    assert "||v|| = " in found.reason
    large = dataclasses.replace(algorithm, delta=1e100)
    found = claims.get("hessian-free-error", version).judge(
        dataclasses.replace(hessian_free.witness(), algorithm=large)
    )
    assert "delta = 1e+100 is beyond" in found.reason


def huber(s, L, rho):
    return rho * s**2 / 2 if s <= L / rho else L * s - L**2 / (2 * rho)


def test_mean_square_error_of_the_hessian_free_direction():
    """All outcomes of three batches of one datum, l = f + xi w + zeta s_H sin(w), normalised step: exact mean and mean
    square against the bounds.
    """
    rng = np.random.default_rng(1)
    closest = [0.0, 0.0]
    for _ in range(150):
        curve = random_piecewise(rng, n_users=1).curves[0]
        L, rho, B = curve.curvature, curve.third, curve.steepest
        alpha, delta_0 = rng.uniform(0, 1) / L, 10 ** rng.uniform(-2, 0.5)
        s_g, s_h = B * rng.uniform(0, 1), L * rng.choice([0.0, rng.uniform(0, 1)])
        sigma_g2, sigma_h = s_g**2 + s_h**2, s_h  # s_H sin' has sizes at most s_H
        w = float(rng.choice(curve.x))

        def gradient(x, xi, zeta, curve=curve, s_h=s_h):
            return float(curve.gradient(np.array([x]))[0]) + xi + zeta * s_h * math.sin(x)

        data = list(itertools.product((-s_g, s_g), (-1.0, 1.0)))
        h = float(curve.hessian(np.array([w]))[0])
        clean = (1 - alpha * h) * gradient(w - alpha * gradient(w, 0, 0), 0, 0)
        errors = []
        for inner, outer, last in itertools.product(data, repeat=3):
            v = gradient(w - alpha * gradient(w, *inner), *outer)
            delta = delta_0 / abs(v)
            product = (gradient(w + delta * v, *last) - gradient(w - delta * v, *last)) / (2 * delta)
            errors.append(v - alpha * product - clean)
        s1 = math.sqrt(sigma_g2 * (1 + (alpha * L) ** 2))
        s2 = math.sqrt(B**2 + sigma_g2)
        a = 1 + alpha * L
        square = (a * s1 + alpha * rho * delta_0 * s2 / 2) ** 2 + (alpha * sigma_h * s2) ** 2
        bias = a * huber(alpha * math.sqrt(sigma_g2), L, rho) + alpha * rho * delta_0 * s2 / 2
        assert np.mean(np.square(errors)) <= square * (1 + 1e-9)
        assert abs(np.mean(errors)) <= bias * (1 + 1e-9) + 1e-12
        closest = [max(closest[0], np.mean(np.square(errors)) / square), max(closest[1], abs(np.mean(errors)) / bias)]
    assert min(closest) > 0.2


# --- first-order ---


def test_spike_witness():
    instance = claim.witness()
    assert instance.constants["L"].max() == 1.0
    assert gammas(instance.problem) == pytest.approx((0.1, 0.5), rel=1e-9)
    assert claim.direction(instance.problem, 0.0, 1.0) == pytest.approx(0.0, abs=1e-16)
    assert abs(instance.problem.meta_gradient([0.0], 1.0).mean()) == pytest.approx(0.0999625, rel=1e-9)
    assert SHARP.judge(instance).ratio == pytest.approx(0.999625, rel=1e-9)


@pytest.mark.parametrize(("m", "slope", "worst"), [(0.02, 0.9604, 0.937891), (0.002, 0.996004, 0.993619)])
def test_first_order_comes_to_rest_where_the_gradient_is_large(m, slope, worst):
    """FO runs into the attracting fixed point and stays; the full algorithm goes on."""
    instance = claim.attracting(m, eps=1e-6)
    run = pfl.run(
        pfl.PerFedAvg(alpha=1.0, beta=0.4 / m, variant="first-order"),
        instance.problem,
        rounds=100,
        w0=np.array([0.15]),
        record=(),
        every=100,
    )
    assert abs(float(run.w[0])) < 1e-12
    found = abs(float(instance.problem.meta_gradient(run.w, 1.0).mean()))
    L, B = (instance.constants[name].max() for name in ("L", "B"))
    assert found == pytest.approx(slope, rel=1e-6)
    assert found / (L * B) == pytest.approx(worst, abs=2e-6)
    exact = pfl.run(
        pfl.PerFedAvg(alpha=1.0, beta=0.1), instance.problem, rounds=300, w0=np.array([0.15]), record=(), every=300
    )
    assert (
        abs(float(instance.problem.meta_gradient(exact.w, 1.0).mean())) < found / 2
    )  # the full algorithm does not stop there


def test_clipped_pair():
    """Slopes B and -(B - L eps), FO at rest: the square is 0.998001 of alpha^2 L^2 B^2 at L eps / B = 0.001."""
    verdict = OPEN.judge(claim.still_witness(0.7, 1.0, 2.0, 0.002))
    assert verdict.ratio == pytest.approx(0.998001, rel=1e-9)
    assert "O(1) = 0.998001" in verdict.reason


@pytest.mark.parametrize("name", ["one-user", "equal-hessians", "equal-gradients"])
def test_floor_is_zero_without_heterogeneity(name):
    instance = SHARP.case(name).make()
    L, B = (instance.constants[key].max() for key in ("L", "B"))
    assert claim.floor(instance.alpha, L, B, *gammas(instance.problem)) == pytest.approx(0.0, abs=1e-14)
    # where FO stands still, so does the full gradient
    slopes = [c.slope for c in instance.problem.family.curves]
    at = np.array([np.mean(slopes)])  # f_i' = slope - w
    assert claim.direction(instance.problem, float(at[0]), instance.alpha) == pytest.approx(0.0, abs=1e-14)
    assert instance.problem.meta_gradient(at, instance.alpha).mean() == pytest.approx(0.0, abs=1e-14)


def mutant(original, formula, *, convex):
    return dataclasses.replace(original, sides=claim._sides(formula, convex=convex))


def test_smaller_floors_are_violated():
    quarter = mutant(CONVEX, lambda a, L, B, g, h: a * min(h, L / 4) * min(B, (1 + a * L) * g), convex=True)
    assert quarter.judge().outcome == "VIOLATED"
    without_a = mutant(SHARP, claim.floor, convex=True)
    for name in ("one-user", "equal-hessians", "equal-gradients"):
        assert without_a.judge(SHARP.case(name).make()).outcome == "VIOLATED"
    plain_gamma = mutant(SHARP, lambda a, L, B, g, h: a * min(h, L) * min(B, g), convex=False)
    assert plain_gamma.judge().outcome == "VIOLATED"
    halved = mutant(SHARP, lambda a, L, B, g, h: a * min(h, L / 2) * min(B, (1 + a * L) * g), convex=False)
    assert halved.judge(claim.still_witness()).outcome == "VIOLATED"  # L / 2 is for convex users only


def test_open_constant_is_refuted_where_it_is_too_small():
    assert OPEN.judge(factor=0.9).outcome == "VIOLATED"
    assert OPEN.judge(SHARP.case("moving").make()).outcome == "NOT_APPLICABLE"


def test_random_points_at_rest():
    rng = np.random.default_rng(0)
    for convex in (False, True):
        for _ in range(40):
            instance = claim.random_at_rest(rng, convex=convex)
            assert claim._at_rest(instance) is None
            assert (CONVEX if convex else SHARP).judge(instance).outcome == "HOLDS"


def test_floor_in_three_dimensions():
    """The proof's two steps on quadratics: norms of operators, gamma_G at w and at the adapted average only."""
    rng = np.random.default_rng(7)
    for _ in range(300):
        n, d, convex = 4, 3, bool(rng.random() < 0.5)
        A = rng.normal(size=(n, d, d))
        A = A @ A.transpose(0, 2, 1) if convex else A + A.transpose(0, 2, 1)
        c = rng.normal(size=(n, d))
        problem = pfl.Problem(pfl.losses.Quadratic(A), pfl.Federation.from_arrays(list(c[:, None, :])))
        L = np.abs(np.linalg.eigvalsh(A)).max()
        alpha, w = rng.uniform(0, 1) / L, rng.normal(size=d)
        adapted = problem.gradient(problem.adapted(w, alpha))
        direction = adapted.mean(0)
        hat = w - alpha * problem.gradient(w).mean(0)
        gamma_g = max(problem.gamma_G(w), problem.gamma_G(hat))
        gamma_h = math.sqrt((np.abs(np.linalg.eigvalsh(A - A.mean(0))).max(1) ** 2).mean())
        rms = min(math.sqrt((adapted**2).sum(1).mean()), (1 + alpha * L) * gamma_g)
        a, cut = (1.0, L / 2) if convex else (1 + alpha * L, L)
        left = np.linalg.norm(problem.meta_gradient(w, alpha).mean(0))
        assert left <= (a * np.linalg.norm(direction) + alpha * min(gamma_h, cut) * rms) * (1 + 1e-12)
