"""Quadratic location loss, l = (1/2)(w - z)^T A (w - z)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..constants import Constant
from ..errors import require
from ..federations.federation import Federation
from ..kernels.jit import helper
from ..rigour.norms import norms, root_mean_square
from .dispatch import implements
from .loss import Loss, ball_center, checked_metric
from .row_moments import user_rows


class QuadraticParameters(NamedTuple):
    """What the kernels see: A of shape (1, d, d), or (n_users, d, d); (1, 1, 1) for a number."""

    A: NDArray


def value(loss, user, x, y, scale, rows, coef, w):  # type: ignore[no-untyped-def]
    d, k = len(w), user if loss.A.shape[0] > 1 else 0
    number = loss.A.shape[1] == 1 and d > 1
    total = 0.0
    for r in range(len(rows)):
        square = 0.0
        for a in range(d):
            za = w[a] - scale * x[rows[r], a]
            if number:
                square += loss.A[k, 0, 0] * za * za
            else:
                for b in range(d):
                    square += za * loss.A[k, a, b] * (w[b] - scale * x[rows[r], b])
        total += 0.5 * coef[r] * square
    return total


@helper
def apply(loss, user, v, out):  # type: ignore[no-untyped-def]
    """out = A v."""
    d, k = len(v), user if loss.A.shape[0] > 1 else 0
    if loss.A.shape[1] == 1 and d > 1:
        for a in range(d):
            out[a] = loss.A[k, 0, 0] * v[a]
    else:
        for a in range(d):
            total = 0.0
            for b in range(d):
                total += loss.A[k, a, b] * v[b]
            out[a] = total


def gradient(loss, user, x, y, scale, rows, coef, w, out):  # type: ignore[no-untyped-def]
    away = np.zeros_like(w)
    for r in range(len(rows)):
        for a in range(len(w)):
            away[a] += coef[r] * (w[a] - scale * x[rows[r], a])
    apply(loss, user, away, out)


def hvp(loss, user, x, y, scale, rows, coef, w, v, out):  # type: ignore[no-untyped-def]
    apply(loss, user, v, out)
    mass = 0.0
    for r in range(len(rows)):
        mass += coef[r]
    for a in range(len(w)):
        out[a] *= mass


def hessian(loss, user, x, y, scale, rows, coef, w, out):  # type: ignore[no-untyped-def]
    d, k = len(w), user if loss.A.shape[0] > 1 else 0
    for a in range(d):
        for b in range(d):
            if loss.A.shape[1] == 1 and d > 1:
                out[a, b] = loss.A[k, 0, 0] if a == b else 0.0
            else:
                out[a, b] = loss.A[k, a, b]


implements(QuadraticParameters, value=value, gradient=gradient, hvp=hvp, hessian=hessian)


@dataclass(frozen=True, eq=False)
class Quadratic(Loss):
    """Quadratic location loss, l(w; z) = (1/2)(w - z)^T A (w - z), no labels.

    Parameters
    ----------
    A : float, (d, d) or (n_users, d, d) array_like
        Curvature: a number times the identity, one symmetric matrix for all users, or one a user. May be indefinite.

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> fed = pfl.Federation.from_arrays([[[0.0, 0.0]], [[2.0, 0.0]]])
    >>> problem = pfl.Problem(pfl.losses.Quadratic([[2.0, 0.0], [0.0, -1.0]]), fed)
    >>> problem.constants()["L"].max(), float(problem.gamma_G([0.0, 0.0]))
    (2.0, 2.0)
    """

    A: Any = 1.0

    def __post_init__(self) -> None:
        a = np.asarray(self.A, dtype=np.float64)
        require(a.ndim in (0, 2, 3), f"Quadratic: A has shape {a.shape}; give a number, (d, d) or (n_users, d, d)")
        require(bool(np.isfinite(a).all()), "Quadratic: A contains NaN or infinity")
        a = a.reshape((1, 1, 1)) if a.ndim == 0 else a.reshape((-1, *a.shape[-2:]))
        require(a.shape[1] == a.shape[2], f"Quadratic: A has shape {a.shape}; its last two sizes must agree")
        require(bool(np.array_equal(a, a.transpose(0, 2, 1))), "Quadratic: A is not symmetric; use (A + A.T) / 2")
        object.__setattr__(self, "A", np.ascontiguousarray(a))

    @property
    def convex(self) -> bool:  # type: ignore[override]
        """No negative eigenvalue, as computed: a singular A may be denied it by a rounding."""
        return bool(np.linalg.eigvalsh(self.A).min() >= 0)

    def poolable(self) -> bool:
        return bool(self.A.shape[0] == 1)

    def attained_on(self, radius: float, center: NDArray) -> frozenset[str]:
        return frozenset({"L", "rho", "sigma_G", "sigma_H", "L_datum", "lip_gradient_z", "lip_hessian_z"})

    def of_user(self, user: int) -> Quadratic:
        return self if self.poolable() else Quadratic(self.A[user])

    def dim(self, fed: Federation) -> int:
        d, k = fed.n_features, self.A.shape
        require(k[1] in (1, d), f"Quadratic: A is {k[1]} x {k[1]} but the points have {d} features")
        require(k[0] in (1, fed.n_users), f"Quadratic: A holds {k[0]} matrices but there are {fed.n_users} users")
        return d

    def parameters(self, fed: Federation, dtype: np.dtype) -> QuadraticParameters:
        return QuadraticParameters(self.A.astype(dtype))

    def matrices(self, n_users: int, dim: int) -> NDArray:
        """A for every user, shape (n_users, d, d)."""
        a = self.A * np.eye(dim) if self.A.shape[1] == 1 else self.A
        return np.broadcast_to(a, (n_users, dim, dim))

    def meta_smoothness(self, fed: Federation, alpha: float) -> tuple[NDArray, NDArray]:
        """Exact Lipschitz constant of grad F_i per user: max over eigenvalues a of |a| (1 - alpha a)^2 [theory 5.3,
        1b], and its rounding error.
        """
        d = self.dim(fed)
        eigenvalues = np.linalg.eigvalsh(self.matrices(fed.n_users, d))
        top = np.abs(eigenvalues).max(1)
        # an eigenvalue is off by some d roundings of the largest; the derivative of a (1 - alpha a)^2 is at most (1 +
        # alpha L)(1 + 3 alpha L)
        error = 64 * d * np.finfo(np.float64).eps * top * (1 + alpha * top) * (1 + 3 * alpha * top)
        return np.asarray(np.abs(eigenvalues * (1 - alpha * eigenvalues) ** 2).max(1)), error

    def heterogeneity(self, fed: Federation) -> dict[str, Constant]:
        """One curvature A for all users: gamma_G^2 = (1/n) sum ||A (zbar_i - zbar)||^2, gamma_H = 0; with A_i of their
        own gamma_G is infinite and gamma_H the root mean square of ||A_i - Abar|| [theory 5.9].
        """
        a = self.matrices(fed.n_users, self.dim(fed))
        # one matrix for all, exactly: the mean of equal numbers may be off by a rounding
        same = bool((a == a[0]).all())
        spread = np.zeros(fed.n_users) if same else np.linalg.norm(a - a.mean(0), ord=2, axis=(1, 2))
        gamma_h = Constant.exact(root_mean_square(spread), "r.m.s. of ||A_i - mean A|| [theory 5.9]")
        if not same:
            unknown = "users' curvatures differ: the gradient difference grows linearly in w"
            return {"gamma_G": Constant.none(1, unknown), "gamma_H": gamma_h}
        means = np.stack([pi @ z for z, pi, _ in (user_rows(fed, i) for i in range(fed.n_users))])
        away = (means - means.mean(0)) @ a[0]
        how = "r.m.s. of ||A(mean_i - mean)||, every w [theory 5.9]"
        return {"gamma_G": Constant.exact(root_mean_square(away), how), "gamma_H": gamma_h}

    def lowest(self, fed: Federation) -> NDArray:
        if not self.convex:
            return super().lowest(fed)
        a, low = self.matrices(fed.n_users, self.dim(fed)), np.empty(fed.n_users)
        for i in range(fed.n_users):  # f_i at its minimiser, the mean of its rows
            z, pi, _ = user_rows(fed, i)
            away = z - pi @ z
            low[i] = pi @ np.einsum("kj,jl,kl->k", away, a[i], away) / 2
        low *= 1 - 4 * (fed.sizes + fed.n_features**2 + 16) * np.finfo(np.float64).eps  # rounded down
        return low

    def constants(
        self,
        fed: Federation,
        *,
        radius: float | None = None,
        center: NDArray | None = None,
        metric: str | None = None,
        kappa: float | None = None,
    ) -> dict[str, Constant]:
        checked_metric(metric, kappa, "labelled")
        n, d = fed.n_users, self.dim(fed)
        a = self.matrices(n, d)
        norm = np.abs(np.linalg.eigvalsh(a)).max(1)
        spread, away, datum = np.empty(n), np.empty(n), np.empty(n)
        w0 = ball_center(d, center)
        for i in range(n):
            z, pi, _ = user_rows(fed, i)
            mean = pi @ z
            spread[i] = root_mean_square((z - mean) @ a[i], pi)
            away[i] = norms(a[i] @ (w0 - mean))
            datum[i] = norms((w0 - z) @ a[i]).max()
        grows = "grows linearly in w; give radius= for a ball of w"
        bounds = (
            {"B": Constant.none(n, grows), "B_datum": Constant.none(n, grows)}
            if radius is None
            else {
                "B": Constant.upper(
                    away + radius * norm,
                    f"||A(center - mean)|| + R||A|| on the ball of radius {radius:g} [theory 5.3, 1a]",
                ),
                "B_datum": Constant.upper(
                    datum + radius * norm, f"the same with the farthest point, radius {radius:g}"
                ),
            }
        )
        if not norm.any():
            bounds = {name: Constant.exact(np.zeros(n), "A = 0") for name in bounds}
        return bounds | {
            "L": Constant.exact(norm, "||A||, everywhere [theory 5.3]"),
            "rho": Constant.exact(np.zeros(n), "quadratic [theory 5.3]"),
            "sigma_G": Constant.exact(spread, "tr(A Cov A), every w [theory 5.3]"),
            "sigma_H": Constant.exact(np.zeros(n), "the Hessian does not see the data [theory 5.3]"),
            "L_datum": Constant.exact(norm, "||A||, everywhere [theory 5.3]"),
            "lip_gradient_z": Constant.exact(norm, "location family: ||A|| [theory 5.8]"),
            "lip_hessian_z": Constant.exact(np.zeros(n), "location family [theory 5.8]"),
        }
