"""Many runs at once: against exact moments, against loops, and the same bits however the runs are cut."""

from __future__ import annotations

import numpy as np
import pytest

import pfl_theory as pfl
from pfl_theory.errors import InputError
from pfl_theory.expectations import monte_carlo
from pfl_theory.expectations.monte_carlo import SIDE, quadratic_monte_carlo
from pfl_theory.kernels.philox import stream_key
from tests.reference.draws import key_of, philox

VARIANTS = ("exact", "first-order", "hessian-free")


def words(purpose, *counter):
    return philox(counter, key_of(0, purpose))


def three_normals(round_, user, step, run):
    """Box-Muller, from the pure-Python generator."""
    a, b, c, d = ((w + 0.5) / 2**32 for w in words("monte carlo noise", round_, user, step, run))
    r = np.sqrt(-2 * np.log(a))
    return r * np.sin(2 * np.pi * b), r * np.cos(2 * np.pi * b), np.sqrt(-2 * np.log(c)) * np.cos(2 * np.pi * d)


def loops(algorithm, a, c, run, rounds, noise, w):
    """One run of Algorithm 1 by its pseudocode."""
    n, m = len(a), round(algorithm.participation * len(a))
    first_order, plain = getattr(algorithm, "variant", "") == "first-order", isinstance(algorithm, pfl.FedAvg)
    for k in range(rounds):
        order = list(range(n))
        for j in range(m if m < n else 0):
            word = words("monte carlo users", k, j // 4, 0, run)[j % 4]
            other = j + (word * (n - j) >> 32)
            order[j], order[other] = order[other], order[j]
        ends = []
        for user in order[:m]:
            v = w
            for t in range(algorithm.local_steps):
                inner, outer, hessian = (s * z for s, z in zip(noise, three_normals(k, user, t, run), strict=True))
                if plain:
                    v = v - algorithm.beta * (a[user] * (v - c[user]) + outer)
                    continue
                adapted = v - algorithm.alpha * (a[user] * (v - c[user]) + inner)
                g = a[user] * (adapted - c[user]) + outer
                v = v - algorithm.beta * (g if first_order else (1 - algorithm.alpha * (a[user] + hessian)) * g)
            ends.append(v)
        w = np.mean(ends)
    return w


@pytest.mark.parametrize(
    "algorithm",
    [
        *(pfl.PerFedAvg(0.3, 0.2, 3, 0.5, variant=v) for v in VARIANTS),
        pfl.FedAvg(0.2, 3, 0.5),
        pfl.PerFedAvg(0.3, 0.2, 2),
    ],
)
def test_equals_loops(algorithm):
    a, c = np.array([1.0, 0.5, 2.0, 1.5, 0.7, 1.1]), np.array([0.0, 1.0, -0.5, 2.0, -1.0, 0.3])
    noise = (0.4, 0.3, 0.2)
    found = quadratic_monte_carlo(algorithm, a, c, runs=SIDE + 3, rounds=4, noise=noise, w0=0.7)
    for run in (0, 1, SIDE - 1, SIDE, SIDE + 2):
        assert found.w[run] == pytest.approx(loops(algorithm, a, c, run, 4, noise, 0.7), rel=1e-12)


def test_equals_the_exact_moments_for_equal_curvatures():
    """All A_i = 1: mean and variance of w_k follow a scalar recursion, written out below."""
    n, m, tau, alpha, beta, rounds = 6, 3, 4, 0.25, 0.3, 12
    c = np.array([-1.0, 0.5, 0.25, 2.0, -2.0, 0.25])
    s_in, s_out = 0.5, 0.4
    found = quadratic_monte_carlo(
        pfl.PerFedAvg(alpha, beta, tau, m / n),
        np.ones(n),
        c,
        runs=40_000,
        rounds=rounds,
        noise=(s_in, s_out, 0.0),
        w0=3.0,
    )
    lam, p = (1 - alpha) ** 2, (n - m) / (m * (n - 1))
    q, q1 = (1 - beta * lam) ** tau, 1 - beta * lam
    noise = (1 - alpha) ** 2 * (s_out**2 + alpha**2 * s_in**2)
    mean, variance = 3.0, 0.0
    for k in range(rounds + 1):
        exact = lam**2 * ((mean - c.mean()) ** 2 + variance)
        assert abs(found.gradient_norm2[k] - exact) <= 5 * found.standard_error[k] + 1e-12
        mean = q * mean + (1 - q) * c.mean()
        variance = q**2 * variance + (1 - q) ** 2 * p * c.var() + noise * beta**2 / m * (1 - q**2) / (1 - q1**2)


def test_same_bits_for_any_threads(monkeypatch):
    a, c = np.linspace(0.5, 1.5, 8), np.linspace(-1, 1, 8)

    def result(threads):
        monkeypatch.setenv("PFL_THEORY_THREADS", str(threads))
        return quadratic_monte_carlo(pfl.PerFedAvg(0.1, 0.1, 2, 0.5), a, c, runs=300, rounds=60, noise=(0.1, 0.1, 0.1))

    one, two = result(1), result(2)
    assert all(np.array_equal(x, y) for x, y in zip(one, two, strict=True))


def test_normals_are_normal_and_uncorrelated():
    z = np.empty(3 * SIDE)
    who = np.arange(SIDE) + (np.arange(SIDE) << 32)
    drawn = []
    for k in range(2000):
        monte_carlo.normals(stream_key(1, "test"), k, 0, who, z)
        drawn.append(z.reshape(3, SIDE).copy())
    x = np.concatenate(drawn, axis=1)
    count = x.shape[1]
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert np.abs((x**power).mean(1) - moment).max() < 5 * np.sqrt(spread / count)
    assert np.abs(np.corrcoef(x) - np.eye(3)).max() < 5 / np.sqrt(count)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"runs": 0}, "runs"),
        ({"rounds": 0}, "rounds"),
        ({"noise": (1, 1)}, "noise"),
        ({"centre": [1.0]}, "shape"),
        ({"curvature": [np.nan, 1.0]}, "NaN"),
    ],
)
def test_bad_input(given, says):
    good = {"curvature": [1.0, 1.0], "centre": [0.0, 1.0], "runs": 4, "rounds": 2} | given
    with pytest.raises(InputError, match=says):
        quadratic_monte_carlo(pfl.FedAvg(0.1), good.pop("curvature"), good.pop("centre"), **good)
