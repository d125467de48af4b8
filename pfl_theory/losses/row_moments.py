"""Moments of a user's rows that enter the constants (proofs: docs/theory/constants.md#5-1)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..federations.federation import Federation
from ..kernels.jit import chunks, over_users
from ..memory import remembered

DENSE_LIMIT = 64  # up to this size all eigenvalues are computed
ENUMERATION_LIMIT = 12  # 2^12 sign patterns times a row product: a millisecond


class RowMoments(NamedTuple):
    """Per user, shape (n_users,); weighted means over rows x of the user with positive weight.

    `lmax_s` = largest eigenvalue of S = E x x^T, `m1`, `m2`, `m3`, `m4` = E||x||^k, `lmax_s3` = largest eigenvalue of E
    ||x|| x x^T, `radius` = max ||x||, `frobenius_s` = ||S||_F, `size` = number of rows.
    """

    lmax_s: NDArray
    m1: NDArray
    m2: NDArray
    m3: NDArray
    m4: NDArray
    lmax_s3: NDArray
    radius: NDArray
    frobenius_s: NDArray
    size: NDArray


def user_rows(fed: Federation, i: int) -> tuple[NDArray, NDArray, NDArray | None]:
    """Features (float64, scaled), weights and labels of the rows of user i that have positive weight."""
    rows = fed.rows(i)
    keep = fed.weights[rows] > 0
    return fed.x[rows][keep] * float(fed.scale), fed.weights[rows][keep], None if fed.y is None else fed.y[rows][keep]


def largest_eigenvalue(x: NDArray, weights: NDArray) -> tuple[float, float]:
    """Largest eigenvalue and Frobenius norm of sum_j weights_j x_j x_j^T, on the smaller of the two Gram matrices.

    A large matrix gets a Lanczos value, raised by 1e-10 relative and certified from above by a Cholesky factorisation:
    it is then an upper bound that is off by no more than that. If the certificate fails, all eigenvalues are computed.
    """
    root = np.sqrt(weights)[:, None] * x
    gram = root @ root.T if len(root) < root.shape[1] else root.T @ root
    k = len(gram)
    if k > DENSE_LIMIT and gram.any():
        from scipy.linalg import LinAlgError, cholesky
        from scipy.sparse.linalg import ArpackError, eigsh

        try:
            top = float(eigsh(gram, k=1, v0=np.ones(k), return_eigenvectors=False)[0]) * (1 + 1e-10)
            cholesky(top * np.eye(k) - gram, lower=True, check_finite=False)
            return top * (1 + 1.01 * k * (k + 2) * 2.0**-53), float(
                np.linalg.norm(gram)
            )  # what the factorisation's own rounding may hide
        except (LinAlgError, ArpackError):
            pass
    return max(float(np.linalg.eigvalsh(gram)[-1]), 0.0), float(np.linalg.norm(gram))


def row_moments(fed: Federation) -> RowMoments:
    """All moments, user by user; kept on the federation, for every metric and ball asks for the same."""
    return remembered(fed, "row moments", lambda: _row_moments(fed))


def _row_moments(fed: Federation) -> RowMoments:
    columns: list[tuple[float, ...]] = [()] * fed.n_users

    def some(_: int, first: int, last: int) -> None:
        for i in range(first, last):
            columns[i] = _moments_of_user(fed, i)

    # on threads with BLAS at one: its own fight with ours, and a factorisation then takes thirty times as long
    over_users(
        some, chunks(fed.n_users, float(len(fed.x)) * fed.n_features * min(fed.n_features, int(fed.sizes.max())))
    )
    return RowMoments(*(np.array(c, dtype=np.float64) for c in zip(*columns, strict=True)))


def _moments_of_user(fed: Federation, i: int) -> tuple[float, ...]:
    x, pi, _ = user_rows(fed, i)
    r = np.sqrt(np.einsum("ij,ij->i", x, x))
    top, frobenius = largest_eigenvalue(x, pi)
    top3, _ = largest_eigenvalue(x, pi * r)
    return top, pi @ r, pi @ r**2, pi @ r**3, pi @ r**4, min(top3, float(pi @ r**3)), r.max(), frobenius, len(x)


def third_directional(m: RowMoments) -> NDArray:
    """Upper bound of T3 = sup_v E|<x, v>|^3: the largest eigenvalue of E ||x|| x x^T (itself at most min(m3, radius *
    lmax_s)).
    """
    return np.minimum(m.lmax_s3, np.minimum(m.m3, m.radius * m.lmax_s))


def signed_sums(parts: NDArray, low: float, high: float) -> float:
    """max over choices c_j in {low, high} of ||sum_j c_j parts_j||, by enumeration (at most 2^12 patterns)."""
    m = len(parts)
    patterns = ((np.arange(2**m)[:, None] >> np.arange(m)) & 1) * (high - low) + low
    sums = patterns @ parts
    return float(np.sqrt(np.einsum("ij,ij->i", sums, sums).max()))


def box_variance(segments_from: NDArray, segments_to: NDArray, weights: NDArray) -> float:
    """Bound of E||g - E g||^2 where g_j lies on the segment from_j .. to_j: min over c on a line of E max(||from -
    c||^2, ||to - c||^2).

    Any c is allowed (a convex function on a segment is largest at an end); the line runs from 0 through the mean of the
    midpoints.
    """
    mid = weights @ ((segments_from + segments_to) / 2)
    best = np.inf
    for t in np.linspace(0.0, 1.5, 31):
        c = t * mid
        ends = np.maximum(((segments_from - c) ** 2).sum(1), ((segments_to - c) ** 2).sum(1))
        best = min(best, float(weights @ ends))
    return best
