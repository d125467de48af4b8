"""Exact expectations of a run on quadratic users: closed recursions, batch noise included.

Nothing is sampled and no subset of users is enumerated. The recursions hold in whatever numbers they are given:
float64, or fractions, which come out as fractions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..algorithms.algorithm import Algorithm, participants
from ..algorithms.baselines import FedAvg
from ..algorithms.per_fedavg import PerFedAvg
from ..errors import require
from ..losses.quadratic import Quadratic
from ..losses.row_moments import user_rows
from ..problems.problem import Problem
from ..rigour.rounding import weigh_equally

# up to this dimension second moments go through d^2 x d^2 matrices, one a local step; beyond, through all users every
# round
KEPT_DIM = 24


@dataclass(frozen=True, eq=False)
class QuadraticUsers:
    """Users f_i(w) = (1/2)(w - c_i)^T A_i (w - c_i) and the noise of their batch gradients.

    Attributes
    ----------
    A : ndarray, shape (n, d, d)
    c : ndarray, shape (n, d)
    inner, outer : ndarray, shape (n, d, d)
        Covariance of the *mean* gradient of a batch D, D' about grad f_i; independent over users, steps and the two
        batches. The Hessian has no noise, so Hessian-free steps are exact steps.
    """

    A: NDArray
    c: NDArray
    inner: NDArray
    outer: NDArray


class Moments(NamedTuple):
    """Exact expectations of a run.

    Attributes
    ----------
    mean, covariance : ndarray, shapes (K + 1, d) and (K + 1, d, d)
        Of w_k.
    value : ndarray, shape (K + 1,)
        E F(w_k).
    meta_gradient : ndarray, shape (K + 1,)
        E ||grad F(w_k)||^2.
    local_gradient : ndarray, shape (K, tau)
        E ||grad F(wbar_{k+1,t})||^2 for t = 0 .. tau - 1.
    """

    mean: NDArray
    covariance: NDArray
    value: NDArray
    meta_gradient: NDArray
    local_gradient: NDArray

    @property
    def statement_i(self) -> Any:
        """(1/K) sum_k E ||grad F(w_k)||^2 over k < K."""
        return self.meta_gradient[:-1].sum() / len(self.local_gradient)

    @property
    def statement_ii(self) -> Any:
        """The left side of Theorem 4.5: (1/(tau K)) sum_k sum_t E ||grad F(wbar_{k+1,t})||^2."""
        return self.local_gradient.sum() / self.local_gradient.size


def quadratic_users(problem: Problem, algorithm: Algorithm) -> QuadraticUsers:
    """Users of a quadratic problem, with the noise that the algorithm's batches make.

    A batch of size D has covariance c_D A Cov_i A: c_D = 1/D with replacement, (m - D)/(D (m - 1)) without.

    Raises
    ------
    InputError
        Another loss, rows with unequal weights and batches without replacement, or another algorithm than Per-FedAvg
        and FedAvg.

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> problem = pfl.Problem(pfl.losses.Quadratic(2.0), pfl.Federation.from_arrays([[0.0, 2.0], [3.0]]))
    >>> quadratic_users(problem, pfl.PerFedAvg(alpha=0.1, beta=0.1, batch_outer=2)).outer.ravel().tolist()
    [2.0, 0.0]
    """
    loss, fed = problem.loss, problem.federation
    if not isinstance(loss, Quadratic):
        require(False, f"exact moments are for quadratic losses; this problem has {loss.name}")
    assert isinstance(loss, Quadratic)
    batches = _batches(algorithm)
    a = loss.matrices(fed.n_users, problem.dim).astype(np.float64)
    c, inner, outer = np.empty((fed.n_users, problem.dim)), np.empty_like(a), np.empty_like(a)
    for i in range(fed.n_users):
        z, pi, _ = user_rows(fed, i)
        c[i] = pi @ z
        spread = a[i] @ ((z - c[i]).T * pi @ (z - c[i])) @ a[i]
        for out, size in ((inner, batches[0]), (outer, batches[1])):
            out[i] = spread * checked_batch_factor(size, pi, replace=bool(getattr(algorithm, "replace", True)))
    return QuadraticUsers(a, c, inner, outer)


def _batches(algorithm: Algorithm) -> tuple[int | None, int | None]:
    if isinstance(algorithm, PerFedAvg):
        return algorithm.batch_inner, algorithm.batch_outer
    if not isinstance(algorithm, FedAvg):
        require(False, f"exact moments are for PerFedAvg and FedAvg; given {type(algorithm).__name__}")
    assert isinstance(algorithm, FedAvg)
    return None, algorithm.batch


def batch_factor(size: int | None, m: int, *, replace: bool) -> float:
    """c_D: the mean of a batch of `size` of m data has c_D times the variance of one datum; 0 for the exact
    expectation.

    Examples
    --------
    >>> batch_factor(4, 20, replace=True), batch_factor(20, 20, replace=False), batch_factor(None, 20, replace=True)
    (0.25, 0.0, 0.0)
    """
    if size is None:
        return 0.0
    if replace:
        return 1.0 / size
    return 0.0 if m == 1 else (m - size) / (size * (m - 1))


def checked_batch_factor(size: int | None, weights: NDArray, *, replace: bool) -> float:
    """c_D of a user with these weights, refused where a batch without replacement makes no sense."""
    if size is not None and not replace:
        require(weigh_equally(weights), "batches without replacement need rows of equal weight")
        require(
            size <= len(weights),
            f"a batch of {size} without replacement from {len(weights)} rows; use at most {len(weights)}",
        )
    return batch_factor(size, len(weights), replace=replace)


def quadratic_moments(
    users: QuadraticUsers, algorithm: Algorithm, *, rounds: int, w0: ArrayLike | None = None
) -> Moments:
    """Exact moments of a run on quadratics: different curvatures, users drawn without replacement, batch noise, every
    variant.

    Parameters
    ----------
    users : QuadraticUsers
        From :func:`quadratic_users`, or given.
    algorithm : PerFedAvg or FedAvg
        FedAvg is measured by its own objective f (alpha = 0).
    rounds : int
        K.
    w0 : array_like, shape (d,), optional

    Returns
    -------
    Moments

    Notes
    -----
    docs/theory/expectations.md#9-6. Setting up costs O(tau n d^4), a round O(tau d^4), free of n.

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> users = QuadraticUsers(np.ones((2, 1, 1)), np.array([[-1.0], [1.0]]), np.zeros((2, 1, 1)), np.zeros((2, 1, 1)))
    >>> found = quadratic_moments(users, pfl.FedAvg(beta=0.5, participation=1), rounds=1)
    >>> float(found.mean[1, 0]), float(found.covariance[1, 0, 0])
    (0.0, 0.25)
    """
    alpha, beta, tau, variant = _steps(algorithm)
    n, d = users.c.shape
    start = np.zeros(d) if w0 is None else np.asarray(w0, dtype=np.float64)
    require(start.shape == (d,), f"w0 has shape {start.shape}; must be ({d},)")
    return recursion(users, alpha, beta, tau, participants(algorithm.participation, n), variant, rounds, start)  # type: ignore[attr-defined]


def _steps(algorithm: Algorithm) -> tuple[float, float, int, str]:
    if isinstance(algorithm, PerFedAvg):
        return (
            algorithm.alpha,
            algorithm.beta,
            algorithm.local_steps,
            "first-order" if algorithm.variant == "first-order" else "exact",
        )
    assert isinstance(algorithm, FedAvg)
    return 0.0, algorithm.beta, algorithm.local_steps, "exact"


def directions(users: QuadraticUsers, alpha: Any, variant: str) -> tuple[Any, Any, Any]:
    """Hessians of F_i, the matrices Lambda_i of the mean direction Lambda_i (w - c_i), and the covariance of the
    direction, in any numbers.

    ``plain`` steps along grad f_i, whatever F is.
    """
    a, own = users.A, users.A - alpha * (users.A @ users.A)  # A J
    smooth = own - alpha * (users.A @ own)  # J A J
    if variant == "plain":
        return smooth, a, users.outer
    q = users.outer + alpha * alpha * (a @ users.inner @ a)
    if variant == "first-order":
        return smooth, own, q
    half = q - alpha * (a @ q)
    return smooth, smooth, half - alpha * (half @ a)


class _Maps(NamedTuple):
    """What a local step t does to mean and covariance of w_k."""

    P: NDArray  # mean over users of M_i^t
    h: NDArray  # mean over users of (I - M_i^t) c_i
    p_away: NDArray  # deviations from these means, per user
    h_away: NDArray
    N: NDArray  # mean over users of the noise's covariance


def recursion(
    users: QuadraticUsers, alpha: Any, beta: Any, tau: int, m: int, variant: str, rounds: int, w0: NDArray
) -> Moments:
    """The recursion itself, in the numbers it is given (arrays of fractions stay fractions).

    Parameters
    ----------
    users : QuadraticUsers
    alpha, beta : number
    tau, m, rounds : int
        Local steps, users a round, rounds.
    variant : {"exact", "first-order", "plain"}
    w0 : ndarray, shape (d,)
    """
    n, d = users.c.shape
    p = _share(n - m, m * (n - 1), users.c.dtype) if n > 1 else 0 * beta
    one = np.eye(d).astype(users.c.dtype) if users.c.dtype.kind != "O" else _identity(d)
    smooth, step, q = directions(users, alpha, variant)
    maps = _local_maps(one - beta * step, users.c, beta * beta * q, tau)
    objective = smooth.sum(0) / n
    pull = (smooth @ users.c[..., None])[..., 0].sum(0) / n
    offset = (users.c * (smooth @ users.c[..., None])[..., 0]).sum() / (2 * n)
    spreads = [_spread_of(one_map, n) for one_map in maps]

    mean, cov = w0, 0 * (one * w0[0])
    means, covs, values, at_w, local = [mean], [cov], [], [], []
    for _ in range(rounds):
        steps = []
        for t, (one_map, spread) in enumerate(zip(maps, spreads, strict=True)):
            average = one_map.P @ mean + one_map.h
            covariance = one_map.P @ cov @ one_map.P.T + p * spread(mean, cov) + one_map.N / m
            if t < tau:
                steps.append(_norm(objective, pull, average, covariance))
        at_w.append(steps[0])
        values.append(_value(objective, pull, offset, mean, cov))
        local.append(steps)
        mean, cov = average, (covariance + covariance.T) / 2
        means.append(mean)
        covs.append(cov)
    at_w.append(_norm(objective, pull, mean, cov))
    values.append(_value(objective, pull, offset, mean, cov))
    return Moments(
        np.array(means), np.array(covs), np.array(values), np.array(at_w), np.array(local).reshape(rounds, tau)
    )


def _share(a: int, b: int, dtype: Any) -> Any:
    from fractions import Fraction

    return Fraction(a, b) if np.dtype(dtype).kind == "O" else a / b


def _identity(d: int) -> NDArray:
    from fractions import Fraction

    return np.array([[Fraction(int(i == k)) for k in range(d)] for i in range(d)], dtype=object)


def _local_maps(M: NDArray, c: NDArray, noise: NDArray, tau: int) -> list[_Maps]:
    n, d = c.shape
    power = M @ M[:1] * 0 + (_identity(d) if c.dtype.kind == "O" else np.eye(d))
    own, maps = noise * 0, []
    for t in range(tau + 1):
        h = c - (power @ c[..., None])[..., 0]
        P, hb = power.sum(0) / n, h.sum(0) / n
        maps.append(_Maps(P, hb, power - P, h - hb, own.sum(0) / n))
        if t < tau:
            power, own = M @ power, M @ own @ M.transpose(0, 2, 1) + noise
    return maps


def _spread_of(maps: _Maps, n: int) -> Callable[[NDArray, NDArray], NDArray]:
    """(1/n) sum over users of (a_i - abar)(a_i - abar)^T + dP_i C dP_i^T, a_i = P_i mu + h_i, as a function of mu and
    C.

    Deviations from the mean over users are formed first: nothing cancels.
    """
    dP, dh = maps.p_away, maps.h_away
    d = dh.shape[1]
    if d > KEPT_DIM or dh.dtype.kind == "O":

        def through_users(mean: NDArray, cov: NDArray) -> NDArray:
            away = (dP @ mean) + dh
            return (away.T @ away + (dP @ cov @ dP.transpose(0, 2, 1)).sum(0)) / n

        return through_users
    flat = dP.reshape(n, d * d)
    second = (
        (flat.T @ flat / n).reshape(d, d, d, d).transpose(0, 2, 1, 3).reshape(d * d, d * d)
    )  # vec(S) -> vec(mean of dP S dP^T)
    cross = (flat.T @ dh / n).reshape(d, d, d)  # (a, b), c: mean of dP[a, b] dh[c]
    fixed = dh.T @ dh / n

    def through_matrix(mean: NDArray, cov: NDArray) -> NDArray:
        mixed = np.tensordot(mean, cross, (0, 1))
        return (second @ (cov + np.outer(mean, mean)).ravel()).reshape(d, d) + mixed + mixed.T + fixed

    return through_matrix


def _norm(objective: NDArray, pull: NDArray, mean: NDArray, cov: NDArray) -> Any:
    g = objective @ mean - pull
    return g @ g + (objective @ cov @ objective).diagonal().sum()


def _value(objective: NDArray, pull: NDArray, offset: Any, mean: NDArray, cov: NDArray) -> Any:
    return (mean @ objective @ mean + (objective @ cov).diagonal().sum()) / 2 - pull @ mean + offset


def stationary(users: QuadraticUsers, algorithm: Algorithm) -> tuple[NDArray, NDArray, float]:
    """Mean and covariance of w_k as k grows, and E ||grad F||^2 there.

    Raises
    ------
    InputError
        The recursion does not contract.
    """
    alpha, beta, tau, variant = _steps(algorithm)
    n, d = users.c.shape
    m = participants(algorithm.participation, n)  # type: ignore[attr-defined]
    p = (n - m) / (m * (n - 1)) if n > 1 else 0.0
    one = np.eye(d)
    smooth, step, q = directions(users, alpha, variant)
    last = _local_maps(one - beta * step, users.c, beta * beta * q, tau)[-1]
    flat = last.p_away.reshape(n, d * d)
    second = (flat.T @ flat / n).reshape(d, d, d, d).transpose(0, 2, 1, 3).reshape(d * d, d * d)
    whole = np.kron(last.P, last.P) + p * second
    radius = max(np.abs(np.linalg.eigvals(last.P)).max(), np.abs(np.linalg.eigvals(whole)).max())
    require(
        bool(radius < 1), f"the recursion does not contract (spectral radius {radius:.6g}); there is no stationary law"
    )
    mean = np.linalg.solve(one - last.P, last.h)
    away = last.p_away @ mean + last.h_away
    cov = np.linalg.solve(np.eye(d * d) - whole, (p * (away.T @ away) / n + last.N / m).ravel()).reshape(d, d)
    return mean, cov, float(_norm(smooth.sum(0) / n, (smooth @ users.c[..., None])[..., 0].sum(0) / n, mean, cov))
