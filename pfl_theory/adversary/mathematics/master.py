"""The corrected Theorem 4.5 in 50 digits: (M-i), (M-ii), (M-r1), and the linear forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..real import ZERO, Real, average, mp, real


class Terms(NamedTuple):
    """x = beta L_F, tau, m, p, Phi, gamma^2, v^2, b^2, and n."""

    x: Real
    tau: int
    m: int
    p: Real
    Phi: Real
    gamma2: Real
    v2: Real
    b2: Real
    n: int

    @property
    def s(self) -> Real:
        """beta tau L_F."""
        return self.x * self.tau


class Growth(NamedTuple):
    """P_t and N_t^2 for t = 0 .. tau; psi_t, nu_t, kap_t for t = 1 .. tau (index 0 unused)."""

    P: list[Real]
    N2: list[Real]
    psi: list[Real]
    nu: list[Real]
    kap: list[Real]


def growth(x: Real, tau: int) -> Growth:
    """By their definitions."""
    P = [(1 + x) ** t - 1 for t in range(tau + 1)]
    squares = [(1 + x) ** (2 * j) for j in range(tau)]
    N2 = [x**2 * mp.fsum(squares[:t]) for t in range(tau + 1)]
    psi, nu, kap = [ZERO], [ZERO], [ZERO]
    for t in range(1, tau + 1):
        psi.append(mp.fsum(P[:t]) / t)
        nu.append(mp.fsum(mp.sqrt(v) for v in N2[:t]) / t)
        kap.append(mp.sqrt(mp.fsum(squares[:t]) / t))
    return Growth(P, N2, psi, nu, kap)


def drift(g: Growth, t: int, X: Real, a: Terms) -> Real:
    """Y_t(X)."""
    return g.psi[t] * mp.sqrt(X**2 + a.gamma2) + (1 + g.psi[t]) * mp.sqrt(a.b2) + g.nu[t] * mp.sqrt(a.v2)


def largest_solution(excess: Callable[[Real], Real], scale: Real) -> Real:
    """The largest X >= 0 at which a function, concave in X^2, is not negative (its maximiser where it is negative
    everywhere).
    """
    if scale == 0:
        return ZERO
    high = scale
    for _ in range(400):
        if excess(high) < 0 and excess(high) < excess(high / 2):
            break
        high *= 2
    else:
        return mp.inf
    low = ZERO
    if excess(low) < 0:
        a, b = ZERO, high**2
        for _ in range(160):
            c, d = a + (b - a) * 0.4, a + (b - a) * 0.6
            a, b = (c, b) if excess(mp.sqrt(c)) < excess(mp.sqrt(d)) else (a, d)
        low = mp.sqrt((a + b) / 2)
        if excess(low) < 0:
            return low
    for _ in range(170):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) >= 0 else (low, middle)
    return low


def _scale(a: Terms) -> Real:
    return mp.sqrt(max(abs(a.Phi), a.gamma2, a.v2, a.b2))


def root_i(a: Terms, g: Growth) -> Real:
    """X* of (M-i)."""
    s, tau = a.s, a.tau
    gamma, v, b = mp.sqrt(a.gamma2), mp.sqrt(a.v2), mp.sqrt(a.b2)
    own = (g.kap[tau] * v / mp.sqrt(tau) + (1 + g.psi[tau]) * b) ** 2 / a.m

    def excess(X: Real) -> Real:
        Y = drift(g, tau, X, a)
        right = a.Phi + (1 - s) * X * Y + s / 2 * Y**2 + s / 2 * (a.p * (gamma + Y) ** 2 + own)
        return right - (1 - s / 2) * X**2

    return largest_solution(excess, _scale(a))


def bound_i(a: Terms) -> Real:
    """X*^2."""
    return root_i(a, growth(a.x, a.tau)) ** 2


def bound_ii(a: Terms) -> Real:
    """(1/tau) sum over t of (X* + R_t)^2."""
    g = growth(a.x, a.tau)
    X = root_i(a, g)
    gamma, v, b = mp.sqrt(a.gamma2), mp.sqrt(a.v2), mp.sqrt(a.b2)
    total = X**2
    for t in range(1, a.tau):
        Y = drift(g, t, X, a)
        own = (g.kap[t] * v / mp.sqrt(t) + (1 + g.psi[t]) * b) ** 2 / a.m
        total += (X + a.x * t * mp.sqrt((X + Y) ** 2 + a.p * (gamma + Y) ** 2 + own)) ** 2
    return total / a.tau


def bound_r1(a: Terms) -> Real:
    """M*^2 of (M-r1)."""
    g, x = growth(a.x, a.tau), a.x
    gamma, v, b = mp.sqrt(a.gamma2), mp.sqrt(a.v2), mp.sqrt(a.b2)
    p_rms, n_rms = mp.sqrt(average([q**2 for q in g.P[: a.tau]])), mp.sqrt(average(g.N2[: a.tau]))
    Y = p_rms * (gamma + b) + b + n_rms * v * mp.sqrt(1 - real(1) / a.n)

    def excess(M: Real) -> Real:
        return a.Phi + (1 - x) * M * Y + x / 2 * Y**2 + x / 2 * a.v2 / a.n - (1 - x / 2) * M**2

    return largest_solution(excess, _scale(a)) ** 2


def theorem_2(a: Terms) -> Real:
    """The linear form for M^2, theta = 1."""
    x, tau = a.x, a.tau
    numbers = [real(v) / 100 for v in (246, 234, 420, 203, 194, 487)]
    parts = (
        max(a.Phi, ZERO),
        x / a.m * a.v2,
        x**2 * (tau - 1) * a.v2,
        x**2 * tau * (tau - 1) * a.gamma2,
        a.s * a.p * a.gamma2,
        a.b2,
    )
    return mp.fdot(numbers, parts)


def transcribed(a: Terms, bias: Real) -> Real:
    """What O(1) multiplies in Theorem 4.5."""
    inner = a.x * a.tau * (a.tau - 1)
    return a.x * (1 + inner) * a.v2 + a.x * a.gamma2 * (a.p + inner) + bias
