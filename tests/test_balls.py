"""Ball arithmetic encloses the exact result, whatever the order of operations."""

from __future__ import annotations

from fractions import Fraction as Fr

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfl_theory.rigour.balls import Ball

NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False).filter(lambda v: v == 0 or abs(v) > 1e-6)


def encloses(ball, exact):
    return Fr(float(ball.lower)) <= exact <= Fr(float(ball.upper))


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_arithmetic_of_numbers_encloses_fractions(a, b, c, d):
    x, y = Ball(a) * b + c, Ball(d) - Ball(a) * c
    exact_x, exact_y = Fr(a) * Fr(b) + Fr(c), Fr(d) - Fr(a) * Fr(c)
    assert encloses(x, exact_x)
    assert encloses(y, exact_y)
    assert encloses(x * y - x, exact_x * exact_y - exact_x)
    if float(y.lower) > 0 or float(y.upper) < 0:
        assert encloses(x / y, exact_x / exact_y)
    assert encloses(-x, -exact_x)
    root = (x * x).sqrt()
    assert Fr(float(root.lower)) ** 2 <= exact_x**2 <= Fr(float(root.upper)) ** 2 or float(root.lower) < 0


@given(st.integers(0, 2**32 - 1))
def test_products_of_matrices_enclose_fractions(seed):
    rng = np.random.default_rng(seed)
    a, b, c = (rng.normal(size=(3, 3)) * 10.0 ** rng.integers(-8, 8) for _ in range(3))
    found = (Ball(a) @ b + c) @ Ball(a)
    exact = [
        [
            sum((sum(Fr(a[i, k]) * Fr(b[k, j]) for k in range(3)) + Fr(c[i, j])) * Fr(a[j, m]) for j in range(3))
            for m in range(3)
        ]
        for i in range(3)
    ]
    for i in range(3):
        for m in range(3):
            assert encloses(found[i, m], exact[i][m])
    assert encloses(found.sum(), sum(sum(row) for row in exact))
    assert encloses(found.sum(0)[1], sum(row[1] for row in exact))


def test_intervals_are_carried_and_not_lost():
    one = Ball.between(1.0, 2.0)
    square = one * one
    assert square.lower <= 1.0
    assert square.upper >= 4.0
    assert not np.isfinite((1.0 / Ball.between(-1.0, 1.0)).rad)  # a divisor that may be zero
    assert float(Ball.between(-1e-20, 4.0).sqrt().lower) <= 0.0
    assert float(Ball.between(-1.0, 3.0).nonnegative().lower) == pytest.approx(0.0, abs=1e-13)
    assert float(Ball.of(2**60 + 1).rad) > 0
    assert float((np.ones((2, 2)) @ Ball(np.ones(2))).mid[0]) == 2.0  # an array on the left hands over
    assert Ball([1.0, 2.0]).reshape(2, 1).swapaxes(0, 1).shape == (1, 2)
    assert float(Ball([1.0, 3.0], [0.5, 0.0]).max().upper) >= 3.0
