"""Numbers a hostile referee asked for: ends that exclude the truth, and values called exact that are not."""

from __future__ import annotations

import itertools
from decimal import Decimal
from fractions import Fraction as Fr

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfl_theory.errors import InputError
from pfl_theory.rigour.balls import Ball
from pfl_theory.rigour.sampling import mean_interval

# every scale of float64, subnormal numbers and the neighbours of powers of two included
SIZES = st.one_of(
    st.floats(-1e300, 1e300),
    st.builds(lambda s, e: s * 10.0**e, st.floats(-10, 10), st.integers(-300, 299)),
    st.builds(lambda k: k * 5e-324, st.integers(-(2**20), 2**20)),
    st.builds(lambda e, n: float(np.nextafter(2.0**e, n)), st.integers(-1000, 990), st.sampled_from([0.0, 1e308])),
)
BALLS = st.builds(lambda m, r: Ball(m, abs(r)), SIZES, st.one_of(st.just(0.0), SIZES))


def corners(ball):
    return [Fr(float(ball.mid)) + s * Fr(float(ball.rad)) for s in (-1, 0, 1)]


def encloses(ball, exact):
    low, high = float(ball.lower), float(ball.upper)
    assert low == -np.inf or Fr(low) <= exact, (low, exact)
    assert high == np.inf or exact <= Fr(high), (high, exact)


# -- balls: ends rounded outwards --------------------------------------------------------------------------------------


@settings(max_examples=1000)
@given(BALLS)
def test_ends_of_a_ball_hold_mid_and_radius(ball):
    for exact in corners(ball):
        encloses(ball, exact)


@given(st.integers(-60, 60), st.floats(0.5, 1.0, exclude_min=True), st.sampled_from([1, -1]))
def test_ends_cross_a_power_of_two(e, share, sign):
    below = 2.0**e * (1 - share * 2.0**-20)  # mid below the power of two, mid + rad above it
    ball = Ball(sign * below, 2.0 ** (e - 20))
    for exact in corners(ball):
        encloses(ball, exact)


def test_the_ball_of_the_report():
    ball = Ball(7.999999513061069, 3.287304975201716e-06)
    for exact in corners(ball):
        encloses(ball, exact)


@settings(max_examples=1000, deadline=None)
@given(BALLS, BALLS, BALLS)
def test_every_operation_encloses_every_corner(x, y, z):
    total, difference, product, quotient = x + y, x - y, x * y, x / y
    apart = abs(Fr(float(y.mid))) > Fr(float(y.rad))
    for a, b in itertools.product(corners(x), corners(y)):
        encloses(total, a + b)
        encloses(difference, a - b)
        encloses(product, a * b)
        if apart:
            encloses(quotient, a / b)
    row = Ball([float(v.mid) for v in (x, y, z)], [float(v.rad) for v in (x, y, z)])
    for s in range(3):
        a, b, c = (corners(v)[s] for v in (x, y, z))
        encloses(row.sum(), a + b + c)
        encloses(row.max(), max(a, b, c))
        encloses(row @ row, a * a + b * b + c * c)
        encloses(row.nonnegative()[0], max(a, Fr(0)))
        if a >= 0:
            root = x.sqrt()
            low, high = float(root.lower), float(root.upper)
            assert low <= 0 or Fr(low) ** 2 <= a
            assert high == np.inf or (high >= 0 and a <= Fr(high) ** 2)


@settings(max_examples=1000, deadline=None)
@given(st.integers(1, 2**30), st.integers(1, 2**20), st.integers(0, 2**20), SIZES)
def test_division_by_subnormal_balls(k, room, r, top):
    divisor = Ball((r + room) * 5e-324, r * 5e-324)
    for numerator in (Ball(k * 5e-324), Ball(top), Ball(k * 5e-324, k // 3 * 5e-324)):
        quotient = numerator / divisor
        for a in corners(numerator):
            for b in corners(divisor):
                encloses(quotient, a / b)


@pytest.mark.parametrize(
    "value",
    [
        np.int64(2**53 + 1),
        np.uint64(2**64 - 1),
        2**53 + 1,
        -(2**53) - 1,
        np.int64(-(2**53) - 1),
        10**400,
        Fr(1, 3),
        Fr(1, 10**400),
        Decimal("0.1"),
        np.nextafter(np.longdouble(1), np.longdouble(2)),
        [2**53 + 1, 1.5],
        [Fr(1, 3), 2],
        np.array([2**53 + 1, 2**62 + 1]),
        np.array([[2**63 + 1]], dtype=np.uint64),
        np.array([Fr(1, 7), 2**60 + 1], dtype=object),
    ],
)
@pytest.mark.parametrize("make", [Ball.of, Ball, lambda v: Ball(0.0) + v], ids=["of", "ball", "sum"])
def test_numbers_that_no_float_holds_get_a_radius(make, value):
    numbers = np.ravel(np.array(value, dtype=object))
    exact = [Fr(*(int(v) if isinstance(v, np.integer) else v).as_integer_ratio()) for v in numbers]
    ball = make(value)
    for found, truth in zip(ball.reshape(-1), exact, strict=True):
        encloses(found, truth)
    assert float(np.max(ball.rad)) > 0


def test_numbers_that_floats_hold_stay_points():
    for value in (1.5, 7, np.int64(2**53 - 1), np.float32(0.1), np.array([1, 2]), [1.0, 2.0], True, Fr(1, 4)):
        assert not np.any(Ball.of(value).rad), value


# --- E5: sampled sides keep their level for every law and every number of runs ---

LAWS = {  # samplers in [0, 1] and their means: three skewed laws, a rare event, a constant
    "squares": (lambda rng, size: rng.random(size) ** 8, 1 / 9),
    "beta": (lambda rng, size: rng.beta(0.1, 2.0, size), 0.1 / 2.1),
    "two values": (lambda rng, size: np.where(rng.random(size) < 0.05, 1.0, 0.02), 0.05 + 0.95 * 0.02),
    "rare event": (lambda rng, size: np.where(rng.random(size) < 1e-3, 1.0, 0.25), 1e-3 + 0.999 * 0.25),
    "constant": (lambda rng, size: np.full(size, 0.3), 0.3),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("number", [2, 20, 80])
def test_the_interval_for_a_mean_covers(law, number):
    """At a level of 90 %, 2,000 times: more misses than 10 % and five standard deviations would refute it."""
    draw, mean = LAWS[law]
    rng, misses, repetitions = np.random.default_rng(0), 0, 2000
    for _ in range(repetitions):
        found = mean_interval(draw(rng, number), 1.0, 0.1)
        misses += not found.lower <= mean <= found.upper
    assert misses <= 0.1 * repetitions + 5 * np.sqrt(repetitions * 0.09)


def test_the_interval_moves_with_the_unit():
    x = np.random.default_rng(1).random(50)
    a, b = mean_interval(x, 1.0, 1e-3), mean_interval(x * 1e-30, 1e-30, 1e-3)
    assert b.lower == pytest.approx(a.lower * 1e-30, rel=1e-9)
    assert b.upper == pytest.approx(a.upper * 1e-30, rel=1e-9)


def test_the_lower_end_does_not_need_the_largest_value():
    x = 0.01 * (1 + 0.1 * np.random.default_rng(2).standard_normal(80))
    narrow, wide = mean_interval(x, 0.02, 1e-4), mean_interval(x, 1e6, 1e-4)
    assert wide.lower == pytest.approx(narrow.lower, rel=1e-6)
    assert wide.lower > 0.008


def test_eighty_runs_without_a_rare_datum_know_little():
    """A datum of probability 1e-3 that no run has met: Student's interval is a point, for a mean of .954378."""
    found = mean_interval(np.full(80, 0.953631), 4.0, 6.25e-5)
    assert found.lower < 0.954378 < found.upper
    assert found.width > 0.1


@pytest.mark.parametrize(
    ("values", "largest", "message"),
    [([0.5], 1.0, "at least 2"), ([0.5, 1.5], 1.0, "are not all between"), ([-0.1, 0.5], 1.0, "are not all between")],
)
def test_samples_outside_are_refused(values, largest, message):
    with pytest.raises(InputError, match=message):
        mean_interval(np.array(values), largest, 0.1)
