"""exp, log, sine and cosine of the kernels against longer arithmetic."""

from __future__ import annotations

import math
from decimal import Decimal, getcontext

import numpy as np
import pytest

from pfl_theory.kernels.jit import kernel
from pfl_theory.kernels.vector_math import exp, log, sin_cos_turn


@kernel
def exp_all(x, out):
    for k in range(len(x)):
        out[k] = exp(x[k])


@kernel
def log_all(x, out):
    for k in range(len(x)):
        out[k] = log(x[k])


@kernel
def turn_all(x, sine, cosine):
    for k in range(len(x)):
        sine[k], cosine[k] = sin_cos_turn(x[k])


def over(compiled, x):
    out = np.empty_like(x)
    compiled(x, out)
    return out


def ulps(got, exact: list[Decimal]):
    """Distance in units of the last place of the exact value."""
    return max(
        abs(float((Decimal(float(g)) - e) / Decimal(math.ulp(float(e))))) for g, e in zip(got, exact, strict=True)
    )


@pytest.fixture(autouse=True)
def long_arithmetic():
    before, getcontext().prec = getcontext().prec, 60
    yield
    getcontext().prec = before


def test_exp_within_2_ulp(rng):
    x = np.concatenate(
        [
            rng.uniform(-700, 700, 1500),
            rng.uniform(-1, 1, 1500),
            rng.normal(size=200) * 1e-8,
            [0.0, -0.0, 0.5, math.log(2) / 2, -708.0, 709.0],
        ]
    )
    assert ulps(over(exp_all, x), [Decimal(float(v)).exp() for v in x]) <= 2


def test_exp_at_the_ends():
    at = over(exp_all, np.array([-np.inf, -1e300, -708.5, 710.0, np.inf]))
    low, high = over(exp_all, np.array([-708.0, 709.0]))
    assert at.tolist() == [low, low, low, high, high]
    assert 0 < low < 1e-307
    assert high > 8e307
    assert over(exp_all, np.array([0.0]))[0] == 1.0


def test_exp_keeps_nan():
    assert np.isnan(over(exp_all, np.array([np.nan, -np.nan]))).all()


def test_log_within_2_ulp(rng):
    x = np.concatenate(
        [
            np.exp(rng.uniform(-700, 700, 1500)),
            rng.uniform(0.4, 2.5, 1500),
            1 + rng.normal(size=300) * 1e-6,
            [1.0, 2.0, 0.5, 2.2250738585072014e-308, 1.7e308],
        ]
    )
    keep = x[x != 1.0]
    assert ulps(over(log_all, keep), [Decimal(float(v)).ln() for v in keep]) <= 2
    assert over(log_all, np.array([1.0]))[0] == 0.0


def turn(u):
    """sin(2 pi u), cos(2 pi u) with the whole turns taken off exactly and the rest in long arithmetic."""
    pi = Decimal("3.14159265358979323846264338327950288419716939937510582097494")
    r = Decimal(float(u)) % 1 * 2 * pi
    r = r - 2 * pi if r > pi else r
    sine, cosine, term, n = Decimal(0), Decimal(0), Decimal(1), 0
    while abs(term) > Decimal("1e-50") or n < 4:
        if n % 2:
            sine += term * (-1) ** (n // 2)
        else:
            cosine += term * (-1) ** (n // 2)
        n += 1
        term = term * r / n
    return sine, cosine


def test_sine_and_cosine_of_turns(rng):
    u = np.concatenate(
        [
            rng.uniform(0, 1, 600),
            rng.uniform(-3, 3, 300),
            rng.uniform(-(2.0**39), 2.0**39, 200),
            np.arange(-8, 9) / 8,
            [2.0**-60, 1 - 2.0**-53],
        ]
    )
    sine, cosine = np.empty_like(u), np.empty_like(u)
    turn_all(u, sine, cosine)
    exact = [turn(v) for v in u]
    assert max(abs(float(Decimal(float(s)) - e[0])) for s, e in zip(sine, exact, strict=True)) <= 2e-16
    assert max(abs(float(Decimal(float(c)) - e[1])) for c, e in zip(cosine, exact, strict=True)) <= 2e-16
