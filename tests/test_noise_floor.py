"""Sampling noise of W1: the floor, the permutation p-value, the interval for the laws, and lower bounds that cost
less.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfl_theory import Federation, Measure, wasserstein
from pfl_theory.distances import lower_bounds, mean_sliced_factor, noise_floor, population_interval
from pfl_theory.errors import InputError
from pfl_theory.federations import location


def users(rng, shifts, m=12, d=2, labels=False):
    x = [rng.normal(size=(m, d)) + s for s in shifts]
    return Federation.from_arrays(x, [np.arange(m) % 2 for _ in x] if labels else None, law="sample")


def test_statistic_is_the_average_over_pairs_of_exact_distances():
    rng = np.random.default_rng(0)
    fed = users(rng, (0, 1, 2), m=9)
    found = noise_floor(fed, m=9, permutations=3)
    exact = np.array([[wasserstein(p, q).upper for q in fed] for p in fed])
    np.testing.assert_allclose(found.observed, exact, atol=1e-12)
    assert found.statistic == pytest.approx((exact**2).mean() / 2, rel=1e-12)
    assert found.excess[0, 2] == pytest.approx(exact[0, 2] - found.floor)
    assert found.excess[1, 1] == 0


def test_p_value_is_valid_where_users_do_not_differ_and_small_where_they_do():
    """Under the null P(p <= a) <= a: judged on 150 federations, four standard errors allowed."""
    rng = np.random.default_rng(1)
    values = np.array(
        [noise_floor(users(rng, (0, 0, 0), m=6), m=6, permutations=19, seed=k).p_value for k in range(150)]
    )
    for a in (0.1, 0.25, 0.5):
        assert (values <= a).mean() <= a + 4 * math.sqrt(a * (1 - a) / len(values))
    assert values.std() > 0.2  # and it does not sit at one end
    assert noise_floor(users(rng, (0, 0, 1.5)), m=12, permutations=19).p_value == 0.05


def test_dealing_inside_labels_asks_another_question():
    """Users that differ by their labels' shares alone: far apart over all rows, not beyond their labels."""
    rng = np.random.default_rng(2)
    shares = (2, 10)
    y = [np.array([0] * s + [1] * (12 - s)) for s in shares]
    values = []
    for k in range(20):
        x = [rng.normal(size=(12, 2)) + 6 * labels[:, None] for labels in y]
        fed = Federation.from_arrays(x, y, law="sample")
        over_all = noise_floor(fed, m=12, permutations=19, seed=k)
        inside = noise_floor(fed, m=12, permutations=19, within_labels=True, seed=k)
        assert over_all.p_value <= 0.15
        values.append(inside.p_value)
    assert np.mean(values) > 0.3


def test_the_floor_falls_with_m_and_depends_on_nothing_else():
    fed = location(n_users=4, dim=2, size=60, heterogeneity=0.0)
    small, large = noise_floor(fed, m=10, permutations=19), noise_floor(fed, m=60, permutations=19)
    assert small.floor > 1.5 * large.floor
    again = noise_floor(fed, m=10, permutations=19)
    assert again.floor == small.floor
    assert (again.deals == small.deals).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: noise_floor(f, m=13), "fewer than m = 13"),
        (lambda f: noise_floor(f, m=1), "m = 1: must be a whole number >= 2"),
        (lambda f: noise_floor(f, m=2.5), "m = 2.5: must be a whole number"),
        (lambda f: noise_floor(f, m=5, permutations=0), "permutations = 0: must be a whole number >= 1"),
        (lambda f: noise_floor(f.select([0]), m=5), "at least two"),
        (lambda f: noise_floor(f, m=5, within_labels=True), "needs labels"),
        (
            lambda f: noise_floor(
                Federation.from_arrays([[0.0, 1.0], [2.0, 3.0]], sample_weight=[[0.4, 0.6], [0.5, 0.5]]), m=2
            ),
            "unequal weights",
        ),
        (lambda f: population_interval(f[0], f[1], diameter=-1.0), "diameter"),
        (lambda f: population_interval(f[0], f[1], diameter=0.1), "diameter = 0.1, and two of the points are"),
        (
            lambda f: population_interval(Measure([0.0, 1e16]), Measure([1.0, 2.0]), diameter=9.0),
            r"1e\+16 apart: give the diameter .*codes of missing values",
        ),
        (
            lambda f: population_interval(Measure([0, 1], weights=[1, 0]), Measure([0, 1]), diameter=9.0),
            "one point; give at least two",
        ),
        (lambda f: population_interval(f[0], f[1], diameter=9.0, level=1.0), "level"),
        (lambda f: lower_bounds(f[0], f[1], sweeps=0), "sweeps"),
        (lambda f: lower_bounds(f[0], Measure([0.0])), "features"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call(users(np.random.default_rng(3), (0, 1)))


def test_population_interval_covers():
    """Two uniform laws on [0, 1] and [0.3, 1.3]: W1 = 0.3. At 90 % the interval may miss one in ten; it is
    conservative.
    """
    rng = np.random.default_rng(4)
    misses = 0
    for k in range(60):
        p, q = Measure(rng.uniform(size=80)), Measure(rng.uniform(size=120) + 0.3)
        found = population_interval(p, q, diameter=1.3, level=0.9, seed=k)
        assert found.lower <= found.upper
        misses += not found.lower <= 0.3 <= found.upper
    assert misses <= 6 + 4 * math.sqrt(60 * 0.09)
    sharp = [Measure(rng.uniform(size=20000) + s) for s in (0.0, 0.3)]
    found = population_interval(*sharp, diameter=1.3)
    assert found.lower > 0.25
    assert found.upper < 0.35


def test_interval_widths_are_those_of_the_inequalities():
    p, q = Measure([0.0, 1.0, 2.0, 3.0]), Measure([0.5, 1.5])
    found = population_interval(p, q, diameter=4.0, level=0.9)
    width = 4.0 * math.sqrt((1 / 4 + 1 / 2) * math.log(1 / 0.05) / 2)
    assert found.upper == pytest.approx(min(found.empirical + width, 4.0))


def measures(rng, d, n, m):
    return Measure(rng.normal(size=(n, d)), weights=rng.dirichlet(np.ones(n))), Measure(
        rng.normal(size=(m, d)) + 0.5, weights=rng.dirichlet(np.ones(m))
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from([0.01, 0.1, 1.0, 10.0]), st.sampled_from([1, 3, 30]))
def test_every_lower_bound_is_one(seed, d, smoothing, sweeps):
    rng = np.random.default_rng(seed)
    p, q = measures(rng, d, int(rng.integers(1, 9)), int(rng.integers(1, 9)))
    exact = wasserstein(p, q).upper
    found = lower_bounds(p, q, directions=30, smoothing=smoothing, sweeps=sweeps)
    for name in ("means", "max sliced", "energy", "sinkhorn", "nearest neighbour"):
        assert found[name] <= exact * (1 + 1e-9) + 1e-12, name
    if d == 1:
        assert found["max sliced"] == pytest.approx(exact, rel=1e-9)
        assert found["sliced"] == pytest.approx(exact, rel=1e-9)


def test_the_mean_over_directions_is_close_to_its_bound():
    rng = np.random.default_rng(5)
    p, q = measures(rng, 3, 6, 7)
    found = lower_bounds(p, q, directions=20_000)
    assert found["sliced"] <= wasserstein(p, q).upper
    slices = []
    for theta in np.random.default_rng(6).normal(size=(4000, 3)):
        theta /= np.linalg.norm(theta)
        slices.append(
            wasserstein(
                Measure(p.points @ theta, weights=p.weights), Measure(q.points @ theta, weights=q.weights)
            ).upper
        )
    assert found["sliced"] == pytest.approx(np.mean(slices) / 0.5, rel=0.03)  # E|theta_1| = 1/2 in three dimensions


def test_two_points_attain_energy_and_means():
    found = lower_bounds(Measure([[1.0, 2.0]]), Measure([[4.0, 6.0]]))
    for name in ("means", "energy", "sinkhorn", "nearest neighbour"):
        assert found[name] == pytest.approx(5.0)
    same = lower_bounds(Measure([[1.0], [2.0]]), Measure([[2.0], [1.0]]))
    assert all(abs(value) < 1e-12 for value in same.values())


@pytest.mark.parametrize(("d", "value"), [(1, 1.0), (2, 2 / math.pi), (3, 0.5), (784, 0.028505)])
def test_mean_sliced_factor(d, value):
    assert mean_sliced_factor(d) == pytest.approx(value, rel=1e-4)
    if d == 3:
        theta = np.random.default_rng(0).normal(size=(100_000, d))
        assert (np.abs(theta[:, 0]) / np.linalg.norm(theta, axis=1)).mean() == pytest.approx(value, rel=0.01)


@pytest.mark.parametrize("size", [1e-140, 1e-80, 1e80, 1e140])
def test_the_floor_scales_with_the_points(size):
    rng = np.random.default_rng(7)
    x = [rng.normal(size=(9, 2)) + s for s in (0, 0, 2)]
    plain, scaled = (
        noise_floor(Federation.from_arrays([z * s for z in x], law="sample"), m=9, permutations=19) for s in (1.0, size)
    )
    assert plain.p_value == scaled.p_value == 0.05
    np.testing.assert_allclose(scaled.observed, size * plain.observed, rtol=1e-12)
    np.testing.assert_allclose(scaled.deals, size**2 * plain.deals, rtol=1e-12)
    assert scaled.floor == pytest.approx(size * plain.floor, rel=1e-12)


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e160, 1e300])
def test_squares_that_floats_do_not_hold_are_refused(size):
    """Not P = 0 and p = 1, not an error of the solver."""
    rng = np.random.default_rng(7)
    fed = Federation.from_arrays([size * rng.normal(size=(9, 2)) for _ in range(3)], law="sample")
    with pytest.raises(InputError, match="divide the points by a common number"):
        noise_floor(fed, m=9, permutations=19)


@pytest.mark.parametrize("far", [1e8, 1e16, 1e100])
def test_a_far_point_in_every_user_leaves_the_others_known(far):
    """A code for missing values: what is near is matched as without it."""
    rng = np.random.default_rng(8)
    for _ in range(10):
        x = [rng.normal(size=(30, 3)) + s for s in (0, 0.5)]
        for z in x:
            z[0] = [far, 0.0, 0.0]
        x[1][0, 1] = 1.0
        near = wasserstein(*(Measure(z[1:]) for z in x)).upper
        found = noise_floor(Federation.from_arrays(x, law="sample"), m=30, permutations=1)
        assert found.observed[0, 1] == pytest.approx((29 * near + 1.0) / 30, rel=1e-12)


def test_rows_that_are_all_equal_have_no_floor():
    fed = Federation.from_arrays([np.full((5, 2), 0.1)] * 3, law="sample")
    found = noise_floor(fed, m=5, permutations=9)
    assert (found.floor, found.statistic, found.p_value) == (0.0, 0.0, 1.0)


def test_points_without_weight_are_no_draws():
    p = Measure([0.0, 1.0, 2.0, 500.0], weights=[1 / 3, 1 / 3, 1 / 3, 0.0])
    q = Measure([0.5, 1.5])
    assert population_interval(p, q, diameter=3.0) == population_interval(
        Measure([0.0, 1.0, 2.0], weights=[1 / 3] * 3), q, diameter=3.0
    )


def test_floor_over_all_deals_by_enumeration():
    """Two users of two rows: the deals are uniform over all of them."""
    x = np.array([0.0, 1.0, 3.0, 7.0])
    fed = Federation.from_arrays([x[:2], x[2:]], law="sample")
    every = [
        wasserstein(Measure(x[list(s)]), Measure(x[[k for k in range(4) if k not in s]])).upper
        for s in itertools.combinations(range(4), 2)
    ]
    found = noise_floor(fed, m=2, permutations=999)
    assert found.floor == pytest.approx(np.mean(every), rel=0.05)
    assert set(np.round(found.deals, 9)) == set(np.round(np.array(every) ** 2 / 4, 9))
