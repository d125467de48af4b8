"""Averages over K rounds of quadratic users, exactly, in time that grows with log K: what statements about a whole run
compare.

Mean and second moment of w_k follow an affine map, the same every round, and everything asked for is an affine function
of them. Sums over rounds come from doubling. The numbers may be floats, fractions, or balls
(`pfl_theory.rigour.balls`), which enclose the exact value. docs/theory/theorem-4-5.md#9-5-6.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..errors import require
from ..rigour.balls import Ball
from .quadratics import QuadraticUsers, directions

MOST_DIM = 8  # matrices have (d + d^2)^2 numbers, one a local step


class Affine(NamedTuple):
    """z -> M z + b, with the sums over its powers: R = sum of M^i over i < k, b after k steps, u = sum of b after i < k
    steps.
    """

    M: Any
    b: Any
    R: Any
    u: Any


class RunAverages(NamedTuple):
    """Exact expectations of a run of K rounds, averaged over rounds.

    Attributes
    ----------
    X2 : number
        (1/K) sum_k E||grad F(w_k)||^2, k < K.
    M2 : number
        (1/(tau K)) sum_k sum_t E||grad F(wbar_{k+1,t})||^2, t < tau: the left side of Theorem 4.5.
    gamma2 : number
        (1/K) sum_k E (1/n) sum_i ||grad F_i(w_k) - grad F(w_k)||^2.
    gamma2_steps : array, shape (tau,)
        The same at wbar_{k+1,t}.
    v2 : number
        (1/n) sum_i tr Cov of user i's direction.
    first, last : number
        F(w_0) and E F(w_K).
    mean : array, shape (d,)
        E w_K.
    """

    X2: Any
    M2: Any
    gamma2: Any
    gamma2_steps: Any
    v2: Any
    first: Any
    last: Any
    mean: Any


def long_run(
    users: QuadraticUsers, alpha: Any, beta: Any, tau: int, m: int, variant: str, rounds: int, w0: Any
) -> RunAverages:
    """Averages over a run, in the numbers that are given.

    Parameters
    ----------
    users : QuadraticUsers
        Of floats, fractions or balls.
    alpha, beta : number
    tau, m : int
        Local steps and users a round.
    variant : {"exact", "first-order", "plain"}
        ``plain`` is FedAvg measured on F: steps along grad f_i. With alpha = 0 all three are FedAvg on its own f.
    rounds : int
        K; 10^12 takes no longer than 10^3.
    w0 : array, shape (d,)

    Returns
    -------
    RunAverages

    Raises
    ------
    InputError
        d > 8.

    Examples
    --------
    >>> users = QuadraticUsers(np.ones((2, 1, 1)), np.array([[-1.0], [1.0]]), np.zeros((2, 1, 1)), np.zeros((2, 1, 1)))
    >>> found = long_run(users, 0.0, 0.5, 1, 1, "exact", 10**9, np.zeros(1))     # stationary: x/(2 - x), x = 1/2
    >>> round(float(found.X2), 6), round(float(found.gamma2), 6)
    (0.333333, 1.0)
    """
    n, d = users.c.shape
    require(d <= MOST_DIM, f"long_run: d = {d}; it is for d <= {MOST_DIM}. Use quadratic_moments, round by round")
    c = users.c
    smooth, step, noise = directions(users, alpha, variant)
    p = _quotient(n - m, m * (n - 1), c) if n > 1 else 0 * beta
    objective, pull = smooth.sum(0) / n, (smooth @ c[..., None])[..., 0].sum(0) / n
    # coordinates about a point near the minimiser: squares of small differences, not small differences of squares
    shift = _near_minimiser(objective, pull, d, c)
    c, w0 = c - shift, w0 - shift
    pull = (smooth @ c[..., None])[..., 0].sum(0) / n
    P, D, N = _local(beta * step, c, beta * beta * noise, tau)
    maps, offsets = _moment_maps(P, D, (D @ c[..., None])[..., 0], N, n, m, p)

    # affine functions of z = (mean, second moment): E||grad F||^2, spread over users, F
    gradient = _square(objective[None], pull[None])
    away = smooth - objective
    pulled = (smooth @ c[..., None])[..., 0] - pull
    spread = _square(away, pulled)
    value = (-pull, objective.reshape(d * d) / 2, ((smooth @ c[..., None])[..., 0] * c).sum() / (2 * n))

    start = _joined(w0, (w0[:, None] * w0[None, :]).reshape(d * d))
    power = _powers(maps[tau], offsets[tau], rounds)
    total = power.R @ start + power.u  # sum of z_k over k < K
    end = power.M @ start + power.b
    local = maps[:tau] @ total + rounds * offsets[:tau]  # sums over rounds of the moments of wbar_{k+1,t}
    over_t, spreads = _average(gradient, local, rounds), _average(spread, local, rounds)
    return RunAverages(
        X2=over_t[0],
        M2=over_t.sum() / tau,
        gamma2=spreads[0],
        gamma2_steps=spreads,
        v2=_trace(noise).sum() / n,
        first=_average(value, start, 1),
        last=_average(value, end, 1),
        mean=end[:d] + shift,
    )


# --- numbers of three kinds ---


def _quotient(a: int, b: int, like: Any) -> Any:
    from fractions import Fraction

    if isinstance(like, Ball):
        return Ball(float(a)) / Ball(float(b))
    return Fraction(a, b) if like.dtype.kind == "O" else a / b


def _identity(d: int, like: Any) -> Any:
    from fractions import Fraction

    if isinstance(like, Ball):
        return Ball(np.eye(d))
    return (
        np.array([[Fraction(int(i == k)) for k in range(d)] for i in range(d)], dtype=object)
        if like.dtype.kind == "O"
        else np.eye(d)
    )


def _joined(*parts: Any, axis: int = -1) -> Any:
    if any(isinstance(part, Ball) for part in parts):
        balls = [Ball.of(part) for part in parts]
        return Ball(np.concatenate([b.mid for b in balls], axis), np.concatenate([b.rad for b in balls], axis))
    return np.concatenate(parts, axis)


def _near_minimiser(objective: Any, pull: Any, d: int, like: Any) -> Any:
    """A float point near the minimiser of F; 0 where the Hessian of F is singular. Any point is right, a near one is
    precise.
    """
    if not isinstance(like, Ball) and like.dtype.kind == "O":
        return like[0] * 0
    a = objective.mid if isinstance(objective, Ball) else objective
    b = pull.mid if isinstance(pull, Ball) else pull
    size = np.abs(a).max()
    if size == 0 or np.linalg.matrix_rank(a, tol=1e-9 * size) < d or np.linalg.cond(a) > 1e6:
        return np.zeros(d)
    found = np.linalg.solve(a, b)
    return np.zeros(d) if np.abs(found).max() < 1e-12 else found


# --- maps of moments ---


def _local(step: Any, c: Any, noise: Any, tau: int) -> tuple[Any, Any, Any]:
    """P_t = M^t, D_t = I - P_t and N_t for t = 0 .. tau, shapes (tau + 1, n, d, d), by doubling; M = I - step.

    D is carried, not M^t: 1 - x keeps few digits of a small x.
    """
    D = _joined((step * 0)[None], step[None], axis=0)
    N = _joined((noise * 0)[None], noise[None], axis=0)
    one = _identity(c.shape[1], c)
    while len(D) <= tau:
        top = len(D) - 1
        more = min(top, tau - top) + 1
        last, own = D[top], N[top]
        turn = one - last
        D = _joined(D, last + D[1:more] - last @ D[1:more], axis=0)
        N = _joined(N, own + turn @ N[1:more] @ turn.swapaxes(-1, -2), axis=0)
    return one - D, D, N


def _kron(a: Any, b: Any, d: int) -> Any:
    """Kronecker products over the last two axes: what a S b^T does to vec(S)."""
    product = a[..., :, None, :, None] * b[..., None, :, None, :]
    return product.reshape(*product.shape[:-4], d * d, d * d)


def _outer(a: Any, b: Any, d: int) -> Any:
    """vec(a b^T)."""
    product = a[..., :, None] * b[..., None, :]
    return product.reshape(*product.shape[:-2], d * d)


def _mixed(P: Any, h: Any, d: int) -> Any:
    """mean -> vec(P mean h^T + h mean^T P^T), a (d^2, d) matrix."""
    one = P[..., :, None, :] * h[..., None, :, None]
    other = h[..., :, None, None] * P[..., None, :, :]
    both = one + other
    return both.reshape(*both.shape[:-3], d * d, d)


def _moment_maps(P: Any, D: Any, h: Any, N: Any, n: int, m: int, p: Any) -> tuple[Any, Any]:
    """For every t: (mean, second moment) of w_k -> those of wbar_{k+1,t}."""
    d = P.shape[-1]
    Pb, hb = P.sum(1) / n, h.sum(1) / n
    dP, dh = (D.sum(1) / n)[:, None] - D, h - hb[:, None]
    second = _kron(Pb, Pb, d) + p * (_kron(dP, dP, d).sum(1) / n)
    mixed = _mixed(Pb, hb, d) + p * (_mixed(dP, dh, d).sum(1) / n)
    fixed = _outer(hb, hb, d) + p * (_outer(dh, dh, d).sum(1) / n) + (N.sum(1) / (n * m)).reshape(len(P), d * d)
    top = _joined(Pb, 0 * mixed.swapaxes(-1, -2))
    return _joined(top, _joined(mixed, second), axis=-2), _joined(hb, fixed)


def _powers(M: Any, b: Any, count: int) -> Affine:
    """The map applied `count` times, with its sums, by doubling."""
    one = Affine(M, b, M * 0 + _identity(M.shape[0], M), b * 0)
    now = one
    for bit in bin(count)[3:]:
        now = Affine(now.M @ now.M, now.b + now.M @ now.b, now.R + now.M @ now.R, now.u + now.u + now.R @ now.b)
        if bit == "1":
            now = Affine(M @ now.M, b + M @ now.b, now.R + now.M, now.u + now.b)
    return now


def _square(matrices: Any, pulls: Any) -> tuple[Any, Any, Any]:
    """(linear, quadratic, constant) of the mean over i of E||D_i w - e_i||^2."""
    k, d, _ = matrices.shape
    transposed = matrices.swapaxes(-1, -2)
    linear = (transposed @ pulls[..., None])[..., 0].sum(0) * (-2) / k
    quadratic = (transposed @ matrices).sum(0).reshape(d * d) / k
    return linear, quadratic, (pulls * pulls).sum() / k


def _average(function: tuple[Any, Any, Any], total: Any, count: int) -> Any:
    linear, quadratic, constant = function
    return (total @ _joined(linear, quadratic)) / count + constant


def _trace(matrices: Any) -> Any:
    total = matrices[..., 0, 0]
    for i in range(1, matrices.shape[-1]):
        total = total + matrices[..., i, i]
    return total
