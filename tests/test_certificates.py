"""No certificate excludes the truth: W1 and TV against transport in fractions, at all scales and with all weights."""

from __future__ import annotations

import importlib
from fractions import Fraction

import numpy as np
import pytest
from reference.transport import least_cost, masses, w1_between
from scipy.optimize import linprog

from pfl_theory import Federation, Measure
from pfl_theory.distances import (
    SolverError,
    all_pairs,
    to_average,
    total_variation,
    total_variation_fraction,
    wasserstein,
)
from pfl_theory.errors import InputError

SCALES = (1e-300, 1e-160, 1e-30, 1e-8, 1.0, 1e8, 1e16, 1e150, 1e300)


def weights(rng, m):
    """Uniform, counts, floats, specks, an ulp off."""
    kind = rng.integers(5)
    if kind == 0:
        return np.full(m, 1 / m)
    if kind == 1:
        units = rng.integers(1, 9, m)
        return units / units.sum()
    if kind == 2:
        return rng.dirichlet(np.ones(m))
    if kind == 3:
        w = rng.dirichlet(np.ones(m)) ** 8
        return w / w.sum()
    w = np.full(m, 1 / m)
    if m > 1:
        w[0], w[1] = w[0] + 2.0**-52, w[1] - 2.0**-52
    return w


def points(rng, m, d, common):
    """Random, on a grid, or taken from `common`; sometimes one far outlier."""
    size = float(rng.choice(SCALES))
    x = rng.normal(size=(m, d)) if rng.random() < 0.5 else rng.integers(-2, 3, (m, d)).astype(float)
    x = x * size
    if common is not None and rng.random() < 0.6:
        k = int(rng.integers(1, min(m, len(common)) + 1))
        x[:k] = common[:k]
    if rng.random() < 0.2:
        x[-1, 0] = size * 1e16 if size < 1e200 else size
    return x


def check(seed):
    rng = np.random.default_rng(seed)
    d, m, n = rng.integers(1, 4), rng.integers(1, 6), rng.integers(1, 6)
    x = points(rng, m, d, None)
    y = points(rng, n, d, x)
    a, b = weights(rng, m), weights(rng, n)
    p, q = Measure(x, weights=a), Measure(y, weights=b)
    exact_a, exact_b = masses(a), masses(b)
    mass = {}
    for rows, shares, sign in ((x, exact_a, 1), (y, exact_b, -1)):
        for row, share in zip((rows + 0.0).tolist(), shares, strict=True):
            mass[tuple(row)] = mass.get(tuple(row), Fraction(0)) + sign * share
    tv = sum(map(abs, mass.values())) / 2
    found = total_variation(p, q)
    assert Fraction(found.lower) <= tv <= Fraction(found.upper), seed
    assert found.upper - found.lower <= 1e-15
    assert abs(total_variation_fraction(p, q) - tv) <= Fraction(1, 10**15)
    try:
        found = wasserstein(p, q)
    except (InputError, SolverError):
        return False
    low, high = w1_between(x, y, exact_a, exact_b)
    assert Fraction(found.lower) <= high, seed
    assert low <= Fraction(found.upper), seed
    assert found.gap <= 1e-9 * found.upper or found.method == "equal", seed
    return True


def test_the_reference_agrees_with_a_linear_program(rng):
    for _ in range(10):
        m, n = rng.integers(1, 6, 2)
        a, b, c = rng.dirichlet(np.ones(m)), rng.dirichlet(np.ones(n)), rng.uniform(size=(m, n))
        rows = np.zeros((m + n, m * n))
        for i in range(m):
            rows[i, i * n : (i + 1) * n] = 1
        for j in range(n):
            rows[m + j, j::n] = 1
        by_program = linprog(c.ravel(), A_eq=rows, b_eq=np.concatenate([a, b]), method="highs").fun
        exact = least_cost(masses(a), masses(b), [[Fraction(float(z)) for z in row] for row in c])
        assert float(exact) == pytest.approx(by_program, abs=1e-7)


def test_the_truth_lies_between_the_ends():
    solved = sum(check(seed) for seed in range(60))
    assert solved >= 50, "most are solved, not refused"


@pytest.mark.slow
def test_the_truth_lies_between_the_ends_of_two_thousand():
    solved = sum(check(seed) for seed in range(60, 2060))
    assert solved >= 1700


# --- single faults ---


def test_weights_an_ulp_apart_at_far_points():
    a = [0.5 + 2**-52, 0.5 - 2**-52]
    found = wasserstein(Measure([0, 1e16]), Measure([0, 1e16], None, a))
    exact = abs(Fraction(1, 2) - masses(a)[0]) * 10**16
    assert Fraction(found.lower) <= exact <= Fraction(found.upper)
    assert found.upper == pytest.approx(2.2204, abs=1e-4)


def test_float_weights_are_taken_as_they_are():
    a, b = [0.5, 0.5], [0.5 + 1e-10, 0.5 - 1e-10]
    exact = abs(masses(a)[0] - masses(b)[0])
    found = total_variation(Measure([0, 1], None, a), Measure([0, 1], None, b))
    assert float(found) == float(exact)
    assert total_variation_fraction(Measure([0, 1], None, a), Measure([0, 1], None, b)) == exact


def test_one_far_outlier_in_both_users():
    """A missing-value code: the others are known as well as without it."""
    x = [[2.3, 2.4], [2.8, 3.5], [0.9, 4.1], [0.5, 1e16]]
    y = [[5.7, 18.1], [3.7, 21.7], [14.9, 51.4], [2.8, 1e16]]
    found = wasserstein(Measure(x), Measure(y))
    low, high = w1_between(x, y, [Fraction(1, 4)] * 4, [Fraction(1, 4)] * 4)
    assert Fraction(found.lower) <= high
    assert low <= Fraction(found.upper)
    assert found.gap <= 1e-12 * found.upper
    assert found.upper == pytest.approx(21.39748, abs=1e-5)


@pytest.mark.parametrize("far", [1e8, 1e12, 1e16])
def test_an_outlier_among_many_features(far, rng, monkeypatch):
    """By products of matrices, with common mass far away."""
    from pfl_theory.distances import costs

    monkeypatch.setattr(costs, "DIRECT_WORK", 0)
    x, y = rng.normal(size=(12, 40)), rng.normal(size=(12, 40))
    plain = wasserstein(Measure(x), Measure(y), gap=1e-9)
    x, y = np.vstack([x, x[:1]]), np.vstack([y, x[:1]])
    x[-1, 3] = y[-1, 3] = far
    y[-1, 4] += 1.0
    found = wasserstein(Measure(x), Measure(y))
    assert found.gap <= 1e-9 * found.upper
    assert found.upper * 13 == pytest.approx(plain.upper * 12 + 1.0, rel=1e-9)


@pytest.mark.parametrize("size", [1e-9, 1e-6])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_nearly_equal_users_keep_the_gap(size, d, rng):
    x = rng.normal(size=(60, d))
    found = wasserstein(Measure(x), Measure(x + size * rng.normal(size=(60, d))))
    assert found.gap <= 1e-9 * found.upper


def two_far_points(rng):
    """Users with one or two far points each, whose masses are floats that no whole numbers stand for."""
    d, m, n = (int(k) for k in rng.integers((2, 2, 2), (4, 7, 7)))
    size, far = float(rng.choice((1e-300, 1e-8, 1.0, 1e8, 1e150, 1e280))), float(rng.choice((1e8, 1e12, 1e16)))
    x, y = size * rng.normal(size=(m, d)), size * rng.normal(size=(n, d))
    for k in range(1, 1 + min(2, m - 1, n - 1)):
        x[-k] = far * size * rng.normal(size=d)
        y[-k] = x[-k] + size * rng.normal(size=d) * rng.integers(0, 2)
    a, b = (np.full(k, 1 / k) + rng.normal(size=k) * 10.0 ** -rng.integers(6, 16) for k in (m, n))
    if m == n and rng.random() < 0.5:
        b = a.copy()
        b[rng.integers(m)] *= 1 + rng.normal() * 10.0 ** -rng.integers(3, 15)
    return x, y, a / a.sum(), b / b.sum()


def test_two_far_points_with_rounded_masses_keep_the_gap():
    """What rounding to 2^-46 leaves at two far points cancels far away, and floats lose what moves near."""
    methods = set()
    for seed in range(200):
        x, y, a, b = two_far_points(np.random.default_rng(seed))
        found = wasserstein(Measure(x, weights=a), Measure(y, weights=b))
        low, high = w1_between(x, y, masses(a), masses(b))
        assert Fraction(found.lower) <= high, seed
        assert low <= Fraction(found.upper), seed
        assert found.gap <= 1e-9 * found.upper or found.method == "equal", seed
        methods.add(found.method)
    assert "integers" in methods


@pytest.mark.parametrize("kind", ["euclidean", "labelled", "function"])
def test_whole_numbers_stand_in_for_floats(kind, monkeypatch):
    """Every certificate of floats fails: the same ends within the gap, a plan with the marginals, a potential."""
    from pfl_theory.distances.solvers import OpenGapError

    rng = np.random.default_rng(3)
    a, b = rng.dirichlet(np.ones(9)), rng.dirichlet(np.ones(7))
    p, q = (Measure(rng.normal(size=(len(w), 3)), rng.integers(0, 2, len(w)), weights=w) for w in (a, b))
    options = {
        "euclidean": {},
        "labelled": {"kappa": 0.7},
        "function": {"metric": lambda x, y: abs(x[:, None] - y).sum(-1)},
    }
    plain = wasserstein(p, q, **options[kind])

    def open_(*given):
        raise OpenGapError("open")

    module = importlib.import_module("pfl_theory.distances.wasserstein")
    monkeypatch.setattr(module, "solve_certified", open_)
    found = wasserstein(p, q, **options[kind])
    assert (plain.method, found.method) == ("dense", "integers")
    assert found.gap <= 1e-14 * found.upper
    assert found.closed
    assert found.lower <= plain.upper
    assert plain.lower <= found.upper
    np.testing.assert_allclose(found.plan.sum(1), p.weights, atol=1e-15)
    np.testing.assert_allclose(found.plan.sum(0), q.weights, atol=1e-15)
    phi = found.potential
    values = [z.weights @ (phi(z.points, z.labels) if kind == "labelled" else phi(z.points)) for z in (p, q)]
    assert values[0] - values[1] == pytest.approx(found.lower, rel=1e-12)


def test_too_many_points_for_whole_numbers_is_an_error_that_says_so(monkeypatch):
    from pfl_theory.distances import in_integers

    monkeypatch.setattr(in_integers, "MOST", 3)
    x, y = [[0.0, 0], [1, 0], [1e16, 0], [0, 1e16]], [[0.0, 1], [1, 2], [1e16, 4], [0, 3e16]]
    a, b = [0.25 + 1e-9, 0.25, 0.25, 0.25 - 1e-9], [0.25, 0.25 - 1e-11, 0.25 + 1e-11, 0.25]
    with pytest.raises(
        SolverError, match=r"4 x 4 points are too many for whole numbers \(at most 3 pairs\); ask for a"
    ):
        wasserstein(Measure(x, weights=a), Measure(y, weights=b), gap=1e-17)


def test_many_rows_in_one_dimension(rng):
    x, y = rng.normal(size=200_000), rng.normal(size=200_000)
    found = wasserstein(Measure(x), Measure(y))
    assert found.gap <= 1e-12 * found.upper
    assert found.closed
    assert found.upper == pytest.approx(float(np.abs(np.sort(x) - np.sort(y)).mean()), rel=1e-12)


def test_the_average_of_users_of_all_sizes(rng):
    """Weights 1/m over n are quotients of floats; the average is that of the users' laws."""
    users = [rng.integers(0, 4, (int(m), 1)).astype(float) for m in rng.integers(1, 9, 7)]
    found = to_average(Federation.from_arrays(users), tv=True)
    shares = [{v: Fraction(int((u == v).sum()), len(u)) for v in range(4)} for u in users]
    for i, share in enumerate(shares):
        tv = sum(abs(share[v] - sum(s[v] for s in shares) / 7) for v in range(4)) / 2
        assert Fraction(found.average_lower[i]) <= tv <= Fraction(found.average_upper[i])
        assert found.average_upper[i] - found.average_lower[i] <= 1e-15


def test_a_gap_that_cannot_be_kept_is_an_error(rng):
    with pytest.raises(SolverError, match="relative gap asked for 1e-16"):
        wasserstein(Measure(rng.normal(size=(9, 2))), Measure(rng.normal(size=(9, 2))), gap=1e-16)


def test_all_pairs_hold_the_truth(rng):
    users = [Measure(rng.integers(0, 3, (4, 2)).astype(float), weights=rng.dirichlet(np.ones(4))) for _ in range(3)]
    fed = Federation.from_arrays([u.points for u in users], sample_weight=[u.weights for u in users])
    found = all_pairs(fed)
    for i in range(3):
        for j in range(i):
            low, high = w1_between(users[i].points, users[j].points, masses(users[i].weights), masses(users[j].weights))
            assert Fraction(found.pairs_lower[i, j]) <= high
            assert low <= Fraction(found.pairs_upper[i, j])
