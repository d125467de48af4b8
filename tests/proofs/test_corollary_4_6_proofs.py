"""Corollary 4.6: steps of its proof, in fractions; nothing of the library is run."""

from __future__ import annotations

import math
from decimal import Decimal as De
from decimal import localcontext
from fractions import Fraction as Fr

import numpy as np
import pytest
from reference.corollary_4_6 import PRINTED, TABLE


def by_steps(epsilon, V, w0=1):
    """M^2 at the corollary's parameters by K steps of E w^2 in 40 digits, L = 1."""
    tau, K = round(epsilon ** (-1 / 2)), round(epsilon ** (-3 / 2))
    with localcontext() as context:
        context.prec = 40
        x, V = De(repr(epsilon)), De(V.numerator) / De(V.denominator)
        factors = [(1 - x) ** t for t in range(tau + 1)]
        kept, new = sum(f * f for f in factors[:tau]), V * sum((1 - f) ** 2 for f in factors[:tau])
        square, noise = factors[tau] ** 2, V * (1 - factors[tau]) ** 2
        second, total = De(w0) ** 2, De(0)
        for _ in range(K):
            total += second
            second = square * second + noise
        return float((kept * total + new * K) / (tau * K))


def test_left_sides_step_by_step():
    for k in (2, 4):
        assert by_steps(10.0**-k, Fr(1)) == pytest.approx(TABLE[k // 2 - 1][1], rel=PRINTED)
        assert by_steps(10.0**-k, Fr(0)) / 10.0**-k == pytest.approx(TABLE[k // 2 - 1][2], abs=0.6e-9)
    assert by_steps(1e-2, Fr(4, 49)) / 1e-2 == pytest.approx(0.897397, abs=0.51e-6)


@pytest.mark.parametrize(
    ("A", "P", "epsilon"), [(Fr(1), Fr(1), Fr(1, 10)), (Fr(2), Fr(1, 3), Fr(1, 12)), (Fr(1), Fr(1, 4), Fr(1, 20))]
)
def test_enough_rounds_in_fractions(A, P, epsilon):
    """tau = 1, beta L = eps/(eps + P), ceil(A (P + eps)/eps^2) rounds: X^2 <= eps exactly; and the master inequality
    gives that very number.
    """
    u = epsilon / (epsilon + P)
    rounds = math.ceil(A * (P + epsilon) / epsilon**2)
    q = 1 - u
    geo = (1 - q ** (2 * rounds)) / (rounds * (1 - q * q))
    assert A * geo + P * (1 - q) / (1 + q) * (1 - geo) <= epsilon
    # (1 - s/2) X^2 <= A/(2 s K) + s P/2 at s = u: equal to eps at K = A (P + eps)/eps^2
    K = A * (P + epsilon) / epsilon**2
    assert (A / (2 * u * K) + u * P / 2) / (1 - u / 2) == epsilon


@pytest.mark.parametrize(("epsilon", "rounds"), [(1e-2, 191), (1e-3, 2559)])
def test_the_last_iterate_needs_fewer_rounds(epsilon, rounds):
    """E||grad F(w_K)||^2 <= eps: O(eps^-1 log(1/eps)) rounds are enough at L = p gamma^2 = 1, Delta = 1/2."""
    u = np.geomspace(1e-6, 0.5, 200_001)

    def smallest(K):
        power = np.exp(2 * K * np.log1p(-u))
        return float((power + u / (2 - u) * (1 - power)).min())

    assert smallest(rounds) <= epsilon < smallest(rounds - 1)
