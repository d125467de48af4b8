"""Theorem 4.5: steps of its proofs, in fractions; nothing of the library is run."""

from __future__ import annotations

import itertools
from fractions import Fraction as Fr

import pytest


def test_kinked_noise_in_fractions():
    """F' = a + |w|, tau = 2, noise +-1, a = -x/2, from 0: a user's mean displacement over both steps is 0, whatever x
    <= 2.
    """
    for x in (Fr(1, 20), Fr(1, 2000), Fr(1, 3)):
        a, beta, total = -x / 2, x, Fr(0)
        for one, two in itertools.product((-1, 1), repeat=2):
            w = -beta * (a + one)
            w -= beta * (a + abs(w) + two)
            total += w
        assert total == 0


def test_where_the_usual_proof_breaks():
    """E<F'(wbar_t), mean over A of F_i'(wbar_t) - F'(wbar_t)> = -lam^2 (1 - q_t) V: the mean direction of A's users is
    biased for t >= 1.
    """
    c, lam, beta, w = (Fr(-1), Fr(1, 3), Fr(1, 6), Fr(1, 2)), Fr(9, 16), Fr(1, 5), Fr(2, 7)
    p = Fr(2, 2 * 3)  # n = 4, m = 2
    V = p * sum(v * v for v in c) / 4
    for t in range(6):
        q, total = (1 - beta * lam) ** t, Fr(0)
        for users in itertools.combinations(range(4), 2):
            models = [w, w]
            for _ in range(t):
                models = [v - beta * lam * (v - c[i]) for v, i in zip(models, users, strict=True)]
            mean = sum(models) / 2
            total += lam * mean * (sum(lam * (mean - c[i]) for i in users) / 2 - lam * mean)
        assert total / 6 == -(lam**2) * (1 - q) * V


def test_users_redrawn_at_every_step():
    """Reading (a): the left side is V x/(2 - x), ratios 0.457232 and 0.454707; second moments by all sequences of
    users, then their limit.
    """
    x, points = Fr(1, 8), [Fr(0)]
    for step in range(7):
        assert sum(w * w for w in points) / len(points) == x / (2 - x) * (1 - (1 - x) ** (2 * step))
        points = [w - x * (w - c) for w in points for c in (-1, 1)]
    for tau, value in ((16, 0.457232), (256, 0.454707)):
        x = Fr(1, 10 * tau**2)
        assert float(1 / ((2 - x) * (1 + x * tau * (tau - 1)))) == pytest.approx(value, abs=0.51e-6)
