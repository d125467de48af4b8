"""Numbers a hostile referee asked for: ends that exclude the truth, and values called exact that are not."""

from __future__ import annotations

import itertools
from decimal import Decimal
from fractions import Fraction as Fr

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfl_theory.rigour.balls import Ball

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
