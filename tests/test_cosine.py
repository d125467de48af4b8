"""The cosine loss: its closed-form constants against dense grids, and attained where they are said to be. Formulas:
docs/theory/constants.md#5-10.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfl_theory import Federation, Problem
from pfl_theory.errors import InputError
from pfl_theory.losses import Cosine

GRID = np.linspace(0.0, 2 * math.pi, 20_001)


def user(z, weights=None, c=1.0):
    return Problem(
        Cosine(c),
        Federation.from_arrays([np.asarray(z, dtype=float)], sample_weight=None if weights is None else [weights]),
    )


def per_coordinate(z, weights, c):
    """sup over w of |E sin|, |E cos|, Var sin, Var cos of (w - z_k)/c by a dense grid, straight from the definition;
    shape (4, d).
    """
    found = []
    for column in np.asarray(z, dtype=float).T:
        u = GRID[:, None] - column / c
        sine, cosine = np.sin(u), np.cos(u)
        mean_s, mean_c = sine @ weights, cosine @ weights
        variances = [((v - m[:, None]) ** 2 @ weights).max() for v, m in ((sine, mean_s), (cosine, mean_c))]
        found.append([np.abs(mean_s).max(), np.abs(mean_c).max(), *variances])
    return np.array(found).T


def law(seed, m, d, spread=1.0):
    rng = np.random.default_rng(seed)
    return spread * rng.normal(size=(m, d)), rng.dirichlet(np.ones(m))


CASES = [
    (law(0, 1, 1), 1.0),
    (law(1, 2, 1, 3.0), 1.0),
    (law(2, 5, 3), 0.4),
    (law(3, 30, 2, 0.05), 2.5),
    (law(4, 7, 4, 100.0), 1.3),
]


@pytest.mark.parametrize(("data", "c"), CASES)
def test_constants_against_dense_grids(data, c):
    z, weights = data
    constants = user(z, weights, c).constants()
    sine, cosine, var_s, var_c = per_coordinate(z, weights, c)
    step = 1e-7  # what a grid of 20,001 angles may miss of a trigonometric polynomial, relative to 1
    assert constants["B"].max() == pytest.approx(c * np.linalg.norm(sine), abs=c * step)
    assert constants["L"].max() == pytest.approx(cosine.max(), abs=step)
    assert constants["sigma_G"].max() ** 2 == pytest.approx(c**2 * var_s.sum(), abs=c * c * step)
    assert np.allclose(var_s, var_c, atol=step)
    assert constants["sigma_H"].max() ** 2 <= var_c.sum() + step
    assert {constants[name].how for name in ("B", "L", "rho", "sigma_G")} == {"exact"}
    assert constants["sigma_H"].how == ("exact" if z.shape[1] == 1 else "upper")


@pytest.mark.parametrize(("data", "c"), CASES)
def test_exact_constants_are_attained(data, c):
    """At the points that the proofs name, found from the characteristic functions alone."""
    z, weights = data
    problem, d = user(z, weights, c), z.shape[1]
    constants = problem.constants()
    phi = weights @ np.exp(1j * z / c)
    steepest = c * (np.angle(phi) + math.pi / 2)
    assert np.linalg.norm(problem.gradient(steepest)) == pytest.approx(constants["B"].max(), rel=1e-10)
    w = c * np.angle(phi)
    for sign, at in ((1, w), (-1, w + c * math.pi)):
        ends = np.linalg.eigvalsh(problem.hessian(at)[0])
        assert (sign * ends).max() == pytest.approx(constants["L"].max(), rel=1e-10)
    k, h = int(np.argmax(np.abs(phi))), 1e-4 * c
    step = h * np.eye(d)[k]
    quotient = np.linalg.norm(problem.hessian(steepest + step)[0] - problem.hessian(steepest - step)[0], 2) / (2 * h)
    assert (1 - 1e-7) * constants["rho"].max() <= quotient <= constants["rho"].max() * (1 + 1e-10)

    data = Problem(Cosine(c), Federation.from_arrays([row[None] for row in z]))
    second = weights @ np.exp(2j * z / c) - phi**2
    noisiest = c * (np.angle(second) + math.pi) / 2
    g = data.gradient(noisiest)
    assert weights @ ((g - weights @ g) ** 2).sum(1) == pytest.approx(
        constants["sigma_G"].max() ** 2, rel=1e-9, abs=1e-12
    )
    if d == 1:
        h = data.hessian(c * np.angle(second) / 2).ravel()
        assert weights @ (h - weights @ h) ** 2 == pytest.approx(constants["sigma_H"].max() ** 2, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("c", [0.5, 1.0, 3.0])
def test_a_datum_attains_its_bounds(c):
    problem = user([[0.3, -1.0, 5.0]], c=c)
    constants, z = problem.constants(), np.array([0.3, -1.0, 5.0])
    assert np.linalg.norm(problem.gradient(z + c * math.pi / 2)) == pytest.approx(constants["B_datum"].max(), rel=1e-12)
    assert constants["B_datum"].max() == constants["B"].max() == c * math.sqrt(3)
    assert np.diag(problem.hessian(z)[0]).min() == 1.0
    assert np.diag(problem.hessian(z + c * math.pi)[0]).max() == pytest.approx(
        -1.0, abs=1e-12
    )  # the whole of [-1, 1]: not convex
    assert not problem.loss.convex
    assert constants["sigma_G"].max() == constants["sigma_H"].max() == 0.0
    h = 1e-5 * c
    moved = Problem(Cosine(c), Federation.from_arrays([[[0.0]], [[h]]]))
    assert abs(np.subtract(*moved.gradient([h / 2]))) / h == pytest.approx(constants["lip_gradient_z"].max(), rel=1e-9)
    at = [c * math.pi / 2]
    assert abs(np.subtract(*moved.hessian(at)))[0, 0] / h == pytest.approx(constants["lip_hessian_z"].max(), rel=1e-6)


def test_two_opposite_angles_and_a_full_turn():
    """z = 0 and pi: phi_1 = 0 and phi_2 = 1, so f is constant while a datum still has gradient 1; four quarters kill
    phi_2 too.
    """
    for z, noise in (([[0.0], [math.pi]], 1.0), (math.pi / 2 * np.arange(4.0)[:, None], 0.5)):
        constants = user(z).constants()
        assert max(constants[name].max() for name in ("B", "L", "rho")) < 1e-15
        assert constants["sigma_G"].max() ** 2 == pytest.approx(noise, rel=1e-12)
        assert constants["B_datum"].max() == 1.0


def test_distances_between_users_are_attained():
    """[theory 8.3] A share s of users moves mass a to the angle pi/2 below w, the others to the angle above: gamma_G^2
    = 4 B^2 M = 4 a^2 s (1 - s).
    """
    n, s, a = 10, 0.3, 0.6
    z = np.array([[0.0], [-math.pi / 2], [math.pi / 2]])  # gradients at w = 0: 0, 1, -1
    laws = [[1 - a, a, 0.0] if i < s * n else [1 - a, 0.0, a] for i in range(n)]
    problem = Problem(Cosine(), Federation.from_arrays([z] * n, sample_weight=laws))
    total_variation = 0.5 * np.abs(np.array(laws) - np.mean(laws, axis=0)).sum(1)
    bound = 4 * problem.constants()["B_datum"].max() ** 2 * (total_variation**2).mean()
    assert bound == pytest.approx(0.3024, rel=1e-12)
    assert problem.gamma_G([0.0]) ** 2 == pytest.approx(bound, rel=1e-12)


def test_several_coordinates_bound_the_noise_of_the_hessian():
    """sigma_H is a bound that a search comes near to, and both of its forms are needed."""
    rng = np.random.default_rng(5)
    for z, form in ((np.array([[0.0, 0.0], [0.5, 0.0]]), "sum"), (rng.choice([0.0, math.pi], size=(40, 12)), "max")):
        weights = np.full(len(z), 1 / len(z))
        claimed = user(z).constants()["sigma_H"].max() ** 2
        summed = per_coordinate(z, weights, 1.0)[3].sum()
        phi = weights @ np.exp(1j * z)
        largest = weights @ (np.abs(np.exp(1j * z) - phi) ** 2).max(1)
        assert claimed == pytest.approx(min(summed, largest), abs=1e-7)
        assert (summed < largest) == (form == "sum")
        best = 0.0
        for w in np.concatenate([2 * math.pi * rng.random((2000, z.shape[1])), np.zeros((1, z.shape[1]))]):
            h = np.cos(w - z)
            best = max(best, weights @ np.abs(h - weights @ h).max(1) ** 2)
        assert 0.7 * claimed < best <= claimed * (1 + 1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 3), st.floats(0.1, 10.0), st.integers(0, 10_000))
def test_translation_scale_and_period(m, d, c, seed):
    """Moved data, whole turns and a common factor of data and c change constants as they must."""
    z, weights = law(seed, m, d, 2.0)
    rng = np.random.default_rng(seed)
    here, moved = user(z, weights).constants(), user(z + rng.normal(size=d), weights).constants()
    turned = user(z + 2 * math.pi * rng.integers(-3, 4, (m, d)), weights).constants()
    scaled = user(c * z, weights, c).constants()
    for name, degree in (
        ("B", 1),
        ("L", 0),
        ("rho", -1),
        ("sigma_G", 1),
        ("sigma_H", 0),
        ("B_datum", 1),
        ("lip_hessian_z", -1),
    ):
        value = here[name].max()
        assert moved[name].max() == pytest.approx(value, rel=1e-6, abs=1e-7)
        assert turned[name].max() == pytest.approx(value, rel=1e-6, abs=1e-7)
        assert scaled[name].max() == pytest.approx(value * c**degree, rel=1e-6, abs=1e-7 * c**degree)


def test_a_wrong_formula_would_be_noticed():
    """Negative control: without the second harmonic sigma_G would be 1 - |phi|^2 or half of it, both wrong on a
    grid.
    """
    z, weights = np.array([[0.0], [1.0], [2.0]]), np.array([0.3, 0.4, 0.3])
    phi = abs(weights @ np.exp(1j * z))[0]
    right = per_coordinate(z, weights, 1.0)[2, 0]
    assert user(z, weights).constants()["sigma_G"].max() ** 2 == pytest.approx(right, abs=1e-7)
    for wrong in (1 - phi**2, (1 - phi**2) / 2):
        assert abs(wrong - right) > 0.05


def test_value_keeps_its_digits_near_the_minimum():
    w = 1e-6
    assert user([[0.0]]).value([w])[0] == pytest.approx(w * w / 2, rel=1e-12)


def test_bad_scale_is_refused():
    with pytest.raises(InputError, match=r"Cosine: c = 0.0; must be a finite number > 0"):
        Cosine(0.0)
