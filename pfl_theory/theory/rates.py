"""Right sides of Corollary 4.6: its parameters, rates, least numbers of rounds, and a recipe for steps and rounds.

Proofs: docs/theory/corollary-4-6.md#9-5-8.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from ..rigour.balls import Ball
from ..rigour.rounding import UNIT
from .master import BIAS_AT_FULL, CERTIFIED, MOST_S, Terms

ROUNDINGS = 64  # of A geo + P sigma: what a computed X^2 can be off (derivation: docs/theory/corollary-4-6.md#9-5-8)


def exactly(epsilon: float) -> Fraction:
    """The accuracy as a rational number: the shortest decimal that names the float, so that 1e-6 is 10^-6 (the binary
    number itself is a little less, and its inverse root a little more than 1000).

    Examples
    --------
    >>> exactly(1e-6), Fraction(1e-6) < exactly(1e-6)
    (Fraction(1, 1000000), True)
    """
    return Fraction(repr(float(epsilon)))


def _ceil_root(square: Fraction) -> int:
    """Least whole t >= 0 with t^2 >= square."""
    whole = math.ceil(square)
    return math.isqrt(whole - 1) + 1 if whole > 0 else 0


def parameters(epsilon: float) -> tuple[int, int, float]:
    """tau = ceil(eps^(-1/2)), K = ceil(eps^(-3/2)), beta = eps, in whole numbers from :func:`exactly`.

    Examples
    --------
    >>> parameters(1e-6), parameters(9.9999999999e-7)[0]
    ((1000, 1000000000, 1e-06), 1001)
    """
    one = 1 / exactly(epsilon)
    return _ceil_root(one), _ceil_root(one**3), epsilon


def rate_at_full(epsilon: Ball, terms: Terms, L_F: Ball, delta: Ball) -> Ball:
    """eps (2 Delta + L_F v^2 + L_F^2 gamma^2 (1 + sqrt(eps))) + 1.961 b^2: tau is rounded up, so eps^2 tau (tau - 1) <=
    eps (1 + sqrt(eps)).
    """
    linear = 2.0 * delta + L_F * terms.v2 + L_F * L_F * terms.gamma2 * (1.0 + epsilon.sqrt())
    return epsilon * linear + Ball.relative(BIAS_AT_FULL, UNIT) * terms.b2


def rate_at_part(epsilon: Ball, terms: Terms, L_F: Ball, delta: Ball) -> Ball:
    """c3 L_F p gamma^2 (sqrt(eps) + eps) + eps (c0 Delta + c1 L_F v^2/m + c2v L_F^2 v^2 eps^(1/2) + c2g L_F^2 gamma^2
    (1 + eps^(1/2))) + c4 b^2.
    """
    c0, c1, c2v, c2g, c3, c4 = (Ball.relative(c, UNIT) for c in CERTIFIED[1.0, "ii"])
    root = epsilon.sqrt()
    square = L_F * L_F
    linear = (
        c0 * delta
        + c1 * L_F * terms.v2 / terms.m
        + c2v * square * terms.v2 * root
        + c2g * square * terms.gamma2 * (1.0 + root)
    )
    return c3 * L_F * terms.p * terms.gamma2 * (root + epsilon) + epsilon * linear + c4 * terms.b2


def average_square(u: np.ndarray, K: float, A: float, P: float) -> np.ndarray:
    """X^2 = A geo + P (1-q)/(1+q) (1-geo) on instance I, A = 2 L Delta, P = p gamma^2, q = 1 - u the factor of a
    round.
    """
    log_q = np.log1p(-u)
    geo = np.expm1(2 * K * log_q) / (K * u * (u - 2))
    return A * geo + P * u / (2 - u) * (1 - geo)


def least_rounds(epsilon: float, A: float = 1.0, P: float = 1.0) -> tuple[int, int]:
    """Least K for which some factor q in [0, 1) gives X^2 <= eps: a lower and an upper end.

    The upper end comes with a q that does it. Below the lower end no q does: on a cell of sigma = u/(2 - u) the first
    term of X^2 is least at its upper end and the second at its lower end, and no sigma beyond eps/P can do it
    (docs/theory/corollary-4-6.md#9-5-8). Every comparison that decides leaves room for `ROUNDINGS` of what is compared,
    in which epsilon, A and P may be rounded once each.

    Examples
    --------
    >>> low, high = least_rounds(0.01)
    >>> low <= high, round(high * 0.01**2, 4)
    (True, 1.005)
    """
    if epsilon >= A:
        return 1, 1  # X^2 = A at K = 1
    guess = A * P / epsilon**2
    cells = int(min(max(40 * P / epsilon, 20_000), 400_000))  # their width is what the lower end loses

    def room(geo: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        return ROUNDINGS * UNIT * (A * geo + P * sigma + epsilon)

    def works(K: float) -> bool:
        scale = math.sqrt(A / (4 * P * K))
        sigma = np.geomspace(min(0.05 * scale, 0.5), min(20 * scale, 1 - 1e-12), 801)
        u = 2 * sigma / (1 + sigma)
        k = int(np.argmin(average_square(u, K, A, P)))
        fine = np.linspace(u[max(k - 1, 0)], u[min(k + 1, len(u) - 1)], 2001)
        allowed = room(average_square(fine, K, 1.0, 0.0), fine / (2 - fine))
        return bool((average_square(fine, K, A, P) + allowed <= epsilon).any())

    low, high = max(1, math.floor(guess / 2)), math.ceil(guess * 4)
    while not works(high):  # guess is no guide where epsilon is large against P
        high *= 2
    while high - low > max(1, high * 1e-9):
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    upper = high

    def fails(K: float) -> bool:
        scale, most = math.sqrt(A / (4 * P * K)), epsilon / P * (1 + 8 * UNIT)
        near = np.geomspace(scale / 3, min(scale * 3, most), cells + 1)
        below, above = (
            np.geomspace(1e-6 * scale, scale / 3, 20_001),
            np.geomspace(scale * 3, max(most, scale * 3), 2001),
        )
        for sigma in (near, below, above):
            u = 2 * sigma / (1 + sigma)
            geo = np.expm1(2 * K * np.log1p(-np.minimum(u, 1 - 1e-16))) / (K * u * (u - 2))
            least = A * geo[1:] + P * sigma[:-1] * (1 - geo[:-1])
            if bool((least <= epsilon + room(geo[1:], sigma[:-1])).any()):
                return False
        # u of the smallest sigma looked at; below it geo alone is too large, for it grows as sigma falls
        u0 = 2e-6 * scale / (1 + 1e-6 * scale)
        geo0 = math.expm1(2 * K * math.log1p(-u0)) / (K * u0 * (u0 - 2))
        return A * geo0 * (1 - ROUNDINGS * UNIT) > epsilon * (1 + ROUNDINGS * UNIT)

    low, top = 1, upper
    while top - low > max(1, top * 1e-7):
        middle = (low + top) // 2
        low, top = (middle, top) if fails(middle) else (low, middle)
    return low + 1, upper


class Recipe(NamedTuple):
    """Parameters that reach an accuracy, up to c4 b^2, by the linear form: beta = s/(tau L_F)."""

    s: float
    tau: int
    rounds: int


def recipe(
    epsilon: float, *, n: int, m: int, delta: float, L_F: float = 1.0, gamma2: float = 1.0, v2: float = 1.0
) -> Recipe:
    """Theorem 2 with its five terms at eps/5 each.

    Parameters
    ----------
    epsilon : float
        Wanted (1/(tau K)) sum E||grad F||^2, besides 4.87 b^2.
    n, m : int
        Users, users a round.
    delta, L_F, gamma2, v2 : float
        F(w_0) - F*, smoothness of F, gamma_F^2 and v^2.

    Notes
    -----
    For r < 1 and small epsilon both s and x = s/tau are of order epsilon, so tau does not grow: local steps replace the
    averaging of noise within a batch, they do not save rounds (docs/theory/corollary-4-6.md#9-5-8).

    Examples
    --------
    >>> recipe(0.01, n=50, m=10, delta=1.0).tau, recipe(1e-4, n=50, m=50, delta=1.0).tau
    (2, 8)
    """
    c0, c1, c2v, c2g, c3, _ = CERTIFIED[1.0, "ii"]
    p, share = ((n - m) / (m * (n - 1)) if n > 1 else 0.0), epsilon / 5
    limits = [MOST_S]
    if gamma2 > 0:
        limits.append(math.sqrt(share / (c2g * gamma2)))
        if p > 0:
            limits.append(share / (c3 * p * gamma2))
    s = min(limits)
    x = min(m * share / (c1 * v2), share / (c2v * s * v2)) if v2 > 0 else math.inf
    return Recipe(s, max(1, math.ceil(s / x)), max(1, math.ceil(c0 * L_F * delta / (s * share))))
