"""Right sides of Lemmas 4.2 to 4.4, as transcribed and sharp.

Smoothness of F (4.2), bias and mean square error of the stochastic meta-gradient (4.3), spread of the users'
meta-gradients (4.4). Proofs: docs/theory/smoothness.md#2 and docs/theory/batches.md#9-1 and
docs/theory/meta-gradients.md#9-3.
"""

from __future__ import annotations

import math
from typing import NamedTuple


def smoothness_paper(alpha: float, L: float, rho: float, B: float) -> float:
    """4 L + alpha rho B."""
    return 4 * L + alpha * rho * B


def smoothness_sharp(alpha: float, L: float, rho: float, B: float) -> float:
    """(1 + alpha L)^2 L + alpha rho B."""
    return (1 + alpha * L) ** 2 * L + alpha * rho * B


def smoothness_one_dimensional(alpha: float, L: float, rho: float, B: float) -> float:
    """(1 + alpha L)^2 L + alpha rho B - alpha L^2 / 2, with L cut to sqrt(2 rho B) (on the whole line L is at most
    that).

    Examples
    --------
    >>> smoothness_one_dimensional(1.0, 1.0, 4.0, 1.0)
    7.5
    """
    L = min(L, math.sqrt(2 * rho * B))
    return smoothness_sharp(alpha, L, rho, B) - alpha * L**2 / 2


def sandwich(alpha: float, L: float, c: float) -> float:
    """m(c), the maximum of (1 - alpha h)^2 (h + c) over 0 <= h <= L, for alpha L <= 1: at h = (1 - 2 alpha c) / (3
    alpha), cut to [0, L].

    Examples
    --------
    >>> round(27 * sandwich(1.0, 1.0, 0.0), 12)
    4.0
    """
    h = L if alpha == 0 else min(max((1 - 2 * alpha * c) / (3 * alpha), 0.0), L)
    return (1 - alpha * h) ** 2 * (h + c)


def smoothness_convex(alpha: float, L: float, rho: float, B: float, dim: int = 2) -> float:
    """min(L, m(c)) + c with c = alpha rho B; in one dimension at most L + c - alpha L^2 / 2 as well.

    Examples
    --------
    >>> smoothness_convex(1.0, 1.0, 1.0, 1.0), smoothness_convex(1.0, 1.0, 1.0, 1.0, dim=1)
    (2.0, 1.5)
    """
    c = alpha * rho * B
    any_dimension = min(L, sandwich(alpha, L, c)) + c
    return min(any_dimension, L + c - alpha * L**2 / 2) if dim == 1 else any_dimension


def huber(s: float, L: float, rho: float) -> float:
    """Phi(s) = rho s^2 / 2 where s <= L / rho, else L s - L^2 / (2 rho).

    Examples
    --------
    >>> huber(0.5, 1.0, 1.0), huber(1.0, 1.0, 1.0), huber(2.0, 1.0, 1.0), huber(1.0, 0.0, 0.0)
    (0.125, 0.5, 1.5, 0.0)
    """
    return rho * s * s / 2 if rho * s <= L else L * s - L * L / (2 * rho)


def bias_paper(alpha: float, L: float, rho: float, sigma_G: float, c: float) -> float:
    """2 alpha L sigma_G / sqrt(D); c = 1/D."""
    return 2 * alpha * L * sigma_G * math.sqrt(c)


def bias_sharp(alpha: float, L: float, rho: float, sigma_G: float, c: float) -> float:
    """(1 + alpha L) Phi(alpha sigma_G sqrt(c))."""
    return (1 + alpha * L) * huber(alpha * sigma_G * math.sqrt(c), L, rho)


def bias_convex(alpha: float, L: float, rho: float, sigma_G: float, c: float) -> float:
    """Phi(alpha sigma_G sqrt(c)) with L/2 in place of L: a linear term changes no bias, and Hess f - L/2 has norm at
    most L/2.
    """
    return huber(alpha * sigma_G * math.sqrt(c), L / 2, rho)


class Numbers(NamedTuple):
    """What the right sides depend on; c_inner, c_outer, c_hessian are c_D, c_D', c_D''."""

    alpha: float
    L: float
    B: float
    sigma_G: float  # noqa: N815 - the paper's symbol
    sigma_H: float  # noqa: N815 - the paper's symbol
    c_inner: float
    c_outer: float
    c_hessian: float


def error_paper(n: Numbers) -> float:
    """12 [B^2 + sigma_G^2 (1/D' + (alpha L)^2/D)] [1 + sigma_H^2 alpha^2/(4 D'')] - 12 B^2, multiplied out: nothing
    cancels.

    Examples
    --------
    >>> round(error_paper(Numbers(1.0, 1.0, 1.0, 0.1, 0.1, 1 / 4, 1 / 5, 1 / 2)), 10)
    0.0690675
    """
    spread = n.sigma_G**2 * (n.c_outer + (n.alpha * n.L) ** 2 * n.c_inner)
    return 12 * spread + 3 * (n.alpha * n.sigma_H) ** 2 * n.c_hessian * (n.B**2 + spread)


def error_sharp(n: Numbers) -> float:
    """(1 + alpha L)^2 sigma_G^2 [c_D' + (alpha L)^2 c_D] + alpha^2 sigma_H^2 c_D'' (B^2 + sigma_G^2 c_D').

    Examples
    --------
    >>> round(error_sharp(Numbers(1.0, 1.0, 1.0, 0.1, 0.1, 1 / 4, 1 / 5, 1 / 2)), 10)
    0.02301
    """
    return _error(n, 1 + n.alpha * n.L)


def error_convex(n: Numbers) -> float:
    """The sharp bound with 1 in place of 1 + alpha L."""
    return _error(n, 1.0)


def _error(n: Numbers, a: float) -> float:
    spread = n.sigma_G**2 * (n.c_outer + (n.alpha * n.L) ** 2 * n.c_inner)
    return a**2 * spread + (n.alpha * n.sigma_H) ** 2 * n.c_hessian * (n.B**2 + n.sigma_G**2 * n.c_outer)


def spread_paper(alpha: float, L: float, B: float, gamma_G: float, gamma_H: float) -> float:
    """3 B^2 alpha^2 gamma_H^2 + 192 gamma_G^2."""
    return 3 * (B * alpha * gamma_H) ** 2 + 192 * gamma_G**2


def spread_sharp(alpha: float, L: float, B: float, gamma_G: float, gamma_H: float) -> float:
    """((1 + alpha L)^2 gamma_G + alpha B gamma_H)^2."""
    return ((1 + alpha * L) ** 2 * gamma_G + alpha * B * gamma_H) ** 2


def spread_convex(alpha: float, L: float, B: float, gamma_G: float, gamma_H: float) -> float:
    """min{(1 + alpha L) gamma_G + alpha B gamma_H, gamma_G + 2 alpha B gamma_H}^2.

    Examples
    --------
    >>> spread_convex(1.0, 1.0, 1.0, 0.25, 0.5), spread_convex(1.0, 1.0, 1.0, 0.5, 0.25)
    (1.0, 1.0)
    """
    return min((1 + alpha * L) * gamma_G + alpha * B * gamma_H, gamma_G + 2 * alpha * B * gamma_H) ** 2
