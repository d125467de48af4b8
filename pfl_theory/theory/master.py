"""The corrected Theorem 4.5 as formulas: the master inequalities (M-i), (M-ii), (M-r1) and the linear form with
explicit constants.

Proofs: docs/theory/theorem-4-5.md#9-5. All formulas take balls and give balls: what comes out encloses the exact right
side.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..rigour.balls import Ball
from ..rigour.rounding import UNIT

MOST_S = 0.1  # s = beta tau L_F of the linear form and of Proposition 3; the master inequalities themselves need s <= 1

# (theta, statement): c0, c1, c2v, c2g, c3, c4 for every s <= 1/10, p <= 1, m >= 1; certified in tests/test_master.py
# with balls over sqrt(s)
CERTIFIED = {
    (1.0, "i"): (2.04, 1.49, 3.20, 1.55, 1.34, 3.66),
    (1.0, "ii"): (2.46, 2.34, 4.20, 2.03, 1.94, 4.87),
    (0.5, "i"): (1.41, 1.03, 3.62, 1.75, 0.93, 3.93),
    (0.5, "ii"): (1.70, 1.78, 4.71, 2.27, 1.44, 5.20),
}
BIAS_AT_FULL = 1.961  # of b^2 in Proposition 3
SMALL = 1e-30  # of a root, against the square root of the largest term: 0 or rounding


class Terms(NamedTuple):
    """What the right sides are made of; every number a ball.

    Attributes
    ----------
    x : Ball
        beta L_F.
    tau, m : int
        Local steps, users a round.
    p : Ball
        (n - m)/(m (n - 1)), 0 for n = 1.
    Phi : Ball
        (F(w_0) - F*)/(beta tau K), or with E F(w_K) for F* (trajectory form).
    gamma2, v2, b2 : Ball
        gamma^2, v^2 and b^2 of hypotheses (B) and (D).
    """

    x: Ball
    tau: int
    m: int
    p: Ball
    Phi: Ball
    gamma2: Ball
    v2: Ball
    b2: Ball

    @property
    def s(self) -> Ball:
        """beta tau L_F."""
        return self.x * self.tau


class Growth(NamedTuple):
    """psi_t, nu_t and kap_t^2 for t = 1 .. tau, and P_t, N_t^2 for t = 0 .. tau - 1: all nondecreasing in t."""

    psi: Ball
    nu: Ball
    kap2: Ball
    P: Ball
    N2: Ball


def growth(x: Ball, tau: int) -> Growth:
    """How far local steps can carry: P_t = (1 + x)^t - 1, N_t^2 = x^2 sum_{j<t} (1 + x)^{2j}, and their averages over
    t.

    Running sums of nonnegative terms, so every value has a small relative error: at most 6 tau + 32 roundings, and 2 +
    3 x tau times that of x.
    """
    value = float(x.mid)
    if value == 0.0 and float(x.rad) == 0.0:  # straight functions: nothing grows
        one, none = Ball(np.ones(tau)), Ball(np.zeros(tau))
        return Growth(none, none, one, none, none)
    if value <= 4 * float(x.rad):  # 0 up to a rounding, say: everything grows with x, so it lies between the ends
        low, high = growth(Ball(0.0), tau), growth(Ball(max(float(x.upper), 2.0**-1000)), tau)
        return Growth(*(Ball.between(low[k].mid, high[k].upper) for k in range(len(low))))
    powers = np.cumprod(np.concatenate([[1.0], np.full(tau, 1 + value)]))  # (1 + x)^j, j = 0 .. tau
    error = (6 * tau + 32) * UNIT + (2 + 3 * value * tau) * float(x.rad) / value * 1.01
    t = np.arange(1, tau + 1)
    P = value * np.concatenate([[0.0], np.cumsum(powers[:-1])])  # t = 0 .. tau
    N2 = value**2 * np.concatenate([[0.0], np.cumsum(powers[:-1] ** 2)])
    psi, nu = np.cumsum(P[:-1]) / t, np.cumsum(np.sqrt(N2[:-1])) / t
    kap2 = np.cumsum(powers[:-1] ** 2) / t
    return Growth(*(Ball.relative(part, error) for part in (psi, nu, kap2, P[:-1], N2[:-1])))


def drift(g: Growth, X: Ball, terms: Terms) -> Ball:
    """Y_t(X) = psi_t sqrt(X^2 + gamma^2) + (1 + psi_t) b + nu_t v, for t = 1 .. tau."""
    return g.psi * (X * X + terms.gamma2).sqrt() + (1.0 + g.psi) * terms.b2.sqrt() + g.nu * terms.v2.sqrt()


def excess_i(X: Ball, terms: Terms, g: Growth) -> Ball:
    """Right side minus left side of (M-i) at X: nonnegative for the X of every run."""
    s, b = terms.s, terms.b2.sqrt()
    Y = drift(g, X, terms)[-1]
    spread = terms.gamma2.sqrt() + Y
    own = (g.kap2[-1] / terms.tau * terms.v2).sqrt() + (1.0 + g.psi[-1]) * b
    extra = terms.p * (spread * spread) + own * own / terms.m
    right = terms.Phi + (1.0 - s) * X * Y + s / 2.0 * (Y * Y) + s / 2.0 * extra
    return right - (1.0 - s / 2.0) * (X * X)


def excess_r1(M: Ball, terms: Terms, g: Growth, n: int) -> Ball:
    """Right side minus left side of (M-r1) at M: full participation, step by step."""
    Y = second_drift(terms, g, n)
    x = terms.x
    return terms.Phi + (1.0 - x) * M * Y + x / 2.0 * (Y * Y) + x / 2.0 * terms.v2 / n - (1.0 - x / 2.0) * (M * M)


def second_drift(terms: Terms, g: Growth, n: int) -> Ball:
    """Y2 = P_rms (gamma + b) + b + N_rms v sqrt(1 - 1/n)."""
    b = terms.b2.sqrt()
    p_rms, n_rms = ((g.P * g.P).sum() / terms.tau).sqrt(), (g.N2.sum() / terms.tau).sqrt()
    return p_rms * (terms.gamma2.sqrt() + b) + b + n_rms * (terms.v2 * (1.0 - Ball(1.0) / n)).sqrt()


def largest_root(excess, scale: float) -> Ball:  # type: ignore[no-untyped-def]
    """The largest X >= 0 at which `excess` is not negative, enclosed: excess is concave in X^2, so it is negative
    beyond.

    Parameters
    ----------
    excess : callable Ball -> Ball
    scale : float
        Some positive number of the size of X; 0 where all constants vanish.

    Returns
    -------
    Ball
        Radius infinite where excess does not become negative (s too large).
    """
    if scale == 0.0:
        return Ball(0.0)
    from scipy.optimize import brentq, minimize_scalar

    def middle(value: float) -> float:
        return float(excess(Ball(value)).mid)

    def beyond(value: float, smaller: float) -> bool:
        """Negative at `value` and lower than at `smaller`: as it is concave in X^2 it stays negative from `value`
        on.
        """
        top = float(excess(Ball(value)).upper)
        return top < 0 and top < float(excess(Ball(smaller)).lower)

    high = scale
    for _ in range(200):
        if beyond(high, high / 2):
            break
        high *= 2
    else:
        return Ball(high, math.inf)
    inner = 0.0
    if middle(0.0) < 0:  # trajectory form with Phi < 0: the admissible set is an interval about the maximiser, or empty
        inner = math.sqrt(
            float(
                minimize_scalar(
                    lambda z: -middle(math.sqrt(z)), bounds=(0.0, high**2), method="bounded", options={"xatol": 0.0}
                ).x
            )
        )
    empty = middle(inner) < 0  # at most within rounding
    root = inner if empty else float(brentq(middle, inner, high, xtol=SMALL * scale, rtol=16 * UNIT, maxiter=1000))
    # both ends move out until their signs are certain: first as far as the radius at the root and the slope there
    # suggest
    at, step = excess(Ball(root)), 1e-4 * root
    slope = (float(at.mid) - middle(root + step)) / step if step > 0 else 0.0
    likely = 1.5 * float(at.rad) / slope if slope > 0 else 0.0
    least = 4 * UNIT * root + SMALL * scale + (likely if likely < 1e-3 * root else 0.0)
    upper, width = root + least, least
    while not beyond(upper, inner):
        width *= 2
        upper = root + width
    lower, width = 0.0 if empty else max(root - least, 0.0), least
    while lower > 0 and float(excess(Ball(lower)).lower) < 0:
        width *= 2
        lower = max(root - width, 0.0)
    return Ball.between(lower, upper)


def _scale(terms: Terms) -> float:
    """Of the size of X: every number that can make it positive, rounding included."""
    return math.sqrt(max(float(v.size_bound) for v in (terms.Phi, terms.gamma2, terms.v2, terms.b2)))


def bound_i(terms: Terms) -> Ball:
    """X*^2: what (M-i) allows (1/K) sum_k E||grad F(w_k)||^2 to be."""
    X = _root_i(terms, growth(terms.x, terms.tau))
    return (X * X).nonnegative() if np.isfinite(X.rad) else X


def _root_i(terms: Terms, g: Growth) -> Ball:
    return largest_root(lambda X: excess_i(X, terms, g), _scale(terms))


def bound_ii(terms: Terms) -> Ball:
    """(M-ii): (1/tau) sum_t (X* + R_t)^2, what (1/(tau K)) sum E||grad F(wbar_{k+1,t})||^2 is allowed to be."""
    g = growth(terms.x, terms.tau)
    X = _root_i(terms, g)
    if not np.isfinite(X.rad):
        return X
    tau, b = terms.tau, terms.b2.sqrt()
    if tau == 1:
        return (X * X).nonnegative()
    t = np.arange(1, tau)
    part = Growth(g.psi[:-1], g.nu[:-1], g.kap2[:-1], g.P, g.N2)
    Y = drift(part, X, terms)
    spread, mean = terms.gamma2.sqrt() + Y, X + Y
    own = (part.kap2 * Ball(1.0 / t, UNIT / t) * terms.v2).sqrt() + (1.0 + part.psi) * b
    R = terms.x * t.astype(float) * (mean * mean + terms.p * (spread * spread) + own * own / terms.m).sqrt()
    each = X + R
    return (X * X + (each * each).sum()) / tau


def bound_r1(terms: Terms, n: int) -> Ball:
    """M*^2: what (M-r1) allows the left side of Theorem 4.5 to be at full participation."""
    g = growth(terms.x, terms.tau)
    M = largest_root(lambda X: excess_r1(X, terms, g, n), _scale(terms))
    return (M * M).nonnegative()


def linear_terms(terms: Terms, constants: tuple) -> tuple[Ball, ...]:  # type: ignore[type-arg]
    """c0 Phi, c1 (beta L/m) v^2, c2v (beta L)^2 (tau - 1) v^2, c2g (beta L)^2 tau (tau - 1) gamma^2, c3 beta tau L p
    gamma^2 and c4 b^2.

    Phi enters as max(Phi, 0): for Phi < 0 the linear form proves nothing better.
    """
    c0, c1, c2v, c2g, c3, c4 = constants
    x, tau = terms.x, float(terms.tau)
    phi = (
        Ball.between(max(float(terms.Phi.lower), 0.0), max(float(terms.Phi.upper), 0.0))
        if float(terms.Phi.lower) < 0
        else terms.Phi
    )
    return (
        c0 * phi,
        c1 * x / terms.m * terms.v2,
        c2v * (x * x) * (tau - 1) * terms.v2,
        c2g * (x * x) * (tau * (tau - 1)) * terms.gamma2,
        c3 * x * tau * terms.p * terms.gamma2,
        c4 * terms.b2,
    )


def linear(terms: Terms, constants: tuple) -> Ball:  # type: ignore[type-arg]
    """The sum of :func:`linear_terms`."""
    start, noise, noise_drift, drift, participation, bias = linear_terms(terms, constants)
    return start + (noise + noise_drift) + (drift + participation) + bias


def full_participation(terms: Terms) -> Ball:
    """Proposition 3: 2 Phi + beta L v^2 + (beta L)^2 tau (tau - 1) gamma^2 + 1.961 b^2, r = 1, s <= 1/10."""
    x, tau = terms.x, float(terms.tau)
    phi = (
        Ball.between(max(float(terms.Phi.lower), 0.0), max(float(terms.Phi.upper), 0.0))
        if float(terms.Phi.lower) < 0
        else terms.Phi
    )
    return (
        2.0 * phi
        + x * terms.v2
        + x * x * (tau * (tau - 1)) * terms.gamma2
        + Ball.relative(BIAS_AT_FULL, UNIT) * terms.b2
    )


def bracket(terms: Terms, bias: Ball) -> Ball:
    """What O(1) multiplies: x (1 + x tau(tau-1)) sigma_F^2 + x gamma_F^2 (p + x tau(tau-1)) + alpha^2 L^2
    sigma_G^2/D.
    """
    x, tau = terms.x, float(terms.tau)
    inner = x * (tau * (tau - 1))
    return x * (1.0 + inner) * terms.v2 + x * terms.gamma2 * (terms.p + inner) + bias
