"""Instance I: the family on which the participation term of Theorem 4.5, as transcribed, fails, with its closed forms.

User i has f_i(w) = phi(w) - L c_i w, phi'' = L on [-R, R], falling to 0 over a further length a, so that every
hypothesis holds on the whole line. While the iterates stay in [-R, R] a local step is w <- (1 - x) w + x c_i, x = beta
lam, lam = L (1 - alpha L)^2. docs/theory/theorem-4-5.md#9-5-1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..algorithms.baselines import FedAvg
from ..algorithms.per_fedavg import PerFedAvg
from ..errors import require
from ..losses.piecewise import Curve, Piecewise
from ..problems.problem import Problem
from ..rigour.balls import Ball
from . import instance_one
from .instance import Instance


def users(c: Sequence[float] = (-1.0, 1.0), L: float = 1.0, R: float = 2.0, a: float = 2.0) -> Problem:
    """The users, on the whole line.

    Parameters
    ----------
    c : sequence of float
        Minimisers, with sum 0 and |c_i| <= R.
    L, R, a : float
        Curvature, where it is constant, and over which length it then falls to 0.
    """
    require(
        abs(sum(c)) < 1e-12 * len(c) and max(abs(v) for v in c) <= R,
        f"instance I: c = {list(c)}; needs sum 0 and |c_i| <= R = {R:g}",
    )
    x, h = np.array([-R - a, -R, R, R + a]), np.array([0.0, L, L, 0.0])
    return Problem.from_curves(Piecewise([Curve(x, h, 0.0, -L * v) for v in c]))


def instance(
    *,
    tau: int,
    rounds: int,
    beta: float,
    alpha: float = 0.0,
    c: Sequence[float] = (-1.0, 1.0),
    participation: int = 1,
    w0: float = 0.0,
    runs: int | None = None,
    name: str = "",
) -> Instance:
    """A run on instance I."""
    if alpha:
        algorithm: PerFedAvg | FedAvg = PerFedAvg(alpha=alpha, beta=beta, local_steps=tau, participation=participation)
    else:
        algorithm = FedAvg(beta=beta, local_steps=tau, participation=participation)
    title = name or f"instance I, n = {len(c)}, r n = {participation}, tau = {tau}"
    return Instance(users(c), alpha, name=title, algorithm=algorithm, rounds=rounds, w0=np.array([w0]), runs=runs)


class ClosedForm(NamedTuple):
    """Left sides (i) and (ii), in closed form."""

    X2: Ball
    M2: Ball


def closed_form(
    *,
    tau: int,
    rounds: int,
    beta: float,
    alpha: float = 0.0,
    c: Sequence[float] = (-1.0, 1.0),
    participation: int = 1,
    w0: float = 0.0,
    L: float = 1.0,
) -> ClosedForm:
    """X^2 and M^2 by formula: a second route, independent of the recursion.

    Examples
    --------
    >>> round(float(closed_form(tau=64, rounds=10**12, beta=1e-3 / 64).X2) / 1e-3, 5)
    0.5
    """
    n, m = len(c), participation
    # 80 digits: the formulas are differences of nearly equal numbers for small x, and powers for large K
    from decimal import Decimal, localcontext

    with localcontext() as context:
        context.prec, context.Emin = 80, -(10**15)
        lam = (1 - Decimal(alpha)) ** 2
        x = Decimal(beta) * lam
        q1 = 1 - x
        q, K = q1**tau, Decimal(rounds)
        V = sum((Decimal(v) ** 2 for v in c), Decimal(0)) / n * (n - m) / (m * (n - 1)) if n > 1 else Decimal(0)
        q2k = (2 * K * q.ln()).exp()
        geo = (1 - q2k) / (K * (1 - q * q))
        a1, a2 = (1 - q) / (tau * x), (1 - q * q) / (tau * (2 * x - x * x))
        S = V * (1 - q) / (1 + q)
        start = Decimal(w0) ** 2 * geo + S * (1 - geo)
        X2, M2 = lam**2 * start, lam**2 * (start * a2 + V * (1 - 2 * a1 + a2))
        return ClosedForm(*(Ball.relative(float(v), 2.0**-52) for v in (X2, M2)))


def refuting(
    tau: int,
    *,
    lemma: bool = False,
    rounds: int = 10**12,
    participation: int = 1,
    w0: float = 0.0,
    runs: int | None = None,
) -> Instance:
    """Instance I at beta = 1/(10 tau^2 L_F), started at the minimiser: the first term of the bound is 0."""
    beta = 1.0 / (10 * tau**2 * (4 if lemma else 1))
    return instance_one.instance(tau=tau, rounds=rounds, beta=beta, participation=participation, w0=w0, runs=runs)


S, TAU = 1e-3, 64  # where single terms are judged: s = beta tau L_F


def one_quadratic(s: float = S, tau: int = TAU) -> Instance:
    """One user, curvature 1 wherever the run comes, w_0 = 1, K = 50/s: only the first term."""
    return instance_one.instance(
        tau=tau,
        rounds=round(50 / s),
        beta=s / tau,
        c=(0.0,),
        participation=1,
        w0=1.0,
        name=f"one quadratic user, s = {s:g}",
    )
