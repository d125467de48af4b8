"""Cosine loss for angles, l = c^2 sum_k (1 - cos((w_k - z_k)/c)): bounded, not convex, its gradient bound attained by
every datum.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..constants import Constant
from ..federations.federation import Federation
from .dispatch import implements
from .loss import Loss, checked_hyperparameter, checked_metric
from .row_moments import user_rows


class CosineParameters(NamedTuple):
    """What the kernels see."""

    c: float


def value(loss, user, x, y, scale, rows, coef, w):  # type: ignore[no-untyped-def]
    total = 0.0
    for k in range(len(rows)):
        for j in range(len(w)):
            s = np.sin(0.5 * (w[j] - scale * x[rows[k], j]) / loss.c)  # 1 - cos u = 2 sin^2(u/2), without cancellation
            total += coef[k] * 2.0 * loss.c * loss.c * s * s
    return total


def gradient(loss, user, x, y, scale, rows, coef, w, out):  # type: ignore[no-untyped-def]
    out[:] = 0.0
    for k in range(len(rows)):
        for j in range(len(w)):
            out[j] += coef[k] * loss.c * np.sin((w[j] - scale * x[rows[k], j]) / loss.c)


def hvp(loss, user, x, y, scale, rows, coef, w, v, out):  # type: ignore[no-untyped-def]
    out[:] = 0.0
    for k in range(len(rows)):
        for j in range(len(w)):
            out[j] += coef[k] * np.cos((w[j] - scale * x[rows[k], j]) / loss.c) * v[j]


def hessian(loss, user, x, y, scale, rows, coef, w, out):  # type: ignore[no-untyped-def]
    out[:, :] = 0.0
    for k in range(len(rows)):
        for j in range(len(w)):
            out[j, j] += coef[k] * np.cos((w[j] - scale * x[rows[k], j]) / loss.c)


implements(CosineParameters, value=value, gradient=gradient, hvp=hvp, hessian=hessian)


@dataclass(frozen=True)
class Cosine(Loss):
    """Cosine loss, l(w; z) = c^2 sum_k (1 - cos((w_k - z_k)/c)), no labels: a location family for angles, not convex.

    Parameters
    ----------
    c : float
        Width, > 0: the period is 2 pi c, a derivative is at most c, a curvature between -1 and 1, both attained.

    Notes
    -----
    With phi_k = E exp(i z_k/c), f(w) = c^2 sum_k (1 - |phi_k| cos(w_k/c - arg phi_k)): the constants of a user are
    closed forms in phi_k and E exp(2 i z_k/c), and but for sigma_H in d >= 2 they are exact and, on the whole space,
    attained (rho as a limit).

    Examples
    --------
    >>> import numpy as np, pfl_theory as pfl
    >>> fed = pfl.Federation.from_arrays([[0.0, np.pi / 2]])
    >>> c = pfl.Problem(pfl.losses.Cosine(), fed).constants()
    >>> c["B"].how, round(c["B"].max(), 6), c["B_datum"].max(), round(c["sigma_G"].max(), 6)
    ('exact', 0.707107, 1.0, 0.707107)
    """

    c: float = 1.0

    def __post_init__(self) -> None:
        checked_hyperparameter("Cosine", "c", self.c, positive=True)

    def dim(self, fed: Federation) -> int:
        return fed.n_features

    def parameters(self, fed: Federation, dtype: np.dtype) -> CosineParameters:
        return CosineParameters(dtype.type(self.c))

    def roundings(self, fed: Federation, constants: Mapping[str, Constant]) -> float:
        """An angle (z - z_0)/c is off by some roundings of its size, and with it every phi_k and deviation: relative to
        the smallest constant that is not 0.
        """
        reach = 0.0
        for i in range(fed.n_users):
            z, _, _ = user_rows(fed, i)
            reach = max(reach, float(np.abs(z - z[0]).max()) / self.c)
        size = {"B": self.c, "L": 1.0, "rho": 1 / self.c, "sigma_G": self.c, "sigma_H": 1.0}
        sizes = [(constants[name].values / unit).max() for name, unit in size.items()]
        return 8 * fed.n_features * (reach + 1) / min((s for s in sizes if s > 0), default=1.0) if reach > 0 else 0.0

    def attained_on(self, radius: float, center: NDArray) -> frozenset[str]:
        everywhere = {"lip_gradient_z", "lip_hessian_z"}  # w - z is any vector
        if radius >= math.pi * self.c * math.sqrt(len(center)) * (1 + 2.0**-40):  # a whole period of every coordinate
            everywhere |= {"B", "L", "rho", "sigma_G", "sigma_H", "B_datum", "L_datum"}
        return frozenset(everywhere)

    def lowest(self, fed: Federation) -> NDArray:
        return np.zeros(fed.n_users)  # no term is negative

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
        n, d, c = fed.n_users, fed.n_features, self.c
        full = np.ones(n)
        size, var, var_h = np.empty((n, d)), np.empty((n, d)), np.empty(n)
        for i in range(n):
            z, pi, _ = user_rows(fed, i)
            turn = np.exp(1j * (z - z[0]) / c)  # a turn of all changes no modulus, and close rows have small angles
            phi = pi @ turn
            rise = turn - 1  # 0 for equal rows, whatever the weights sum to
            away = rise - (pi @ rise) / pi.sum()
            square = np.abs(away) ** 2
            size[i] = np.minimum(np.abs(phi), 1.0)  # a sum of weights may be a rounding above 1
            # (E|away|^2 + |E away^2|)/2 = (1 - |phi_1|^2 + |phi_2 - phi_1^2|)/2, without cancellation
            var[i] = (pi @ square + np.abs(pi @ away**2)) / 2
            var_h[i] = min(var[i].sum(), pi @ square.max(1))
        one = "d = 1: max_w Var cos [theory 5.10, 6c]"
        return {
            "B": Constant.exact(c * np.sqrt((size**2).sum(1)), "c sqrt(sum_k |phi_k|^2), attained [theory 5.10, 6b]"),
            "L": Constant.exact(size.max(1), "max_k |phi_k|, attained [theory 5.10, 6b]"),
            "rho": Constant.exact(size.max(1) / c, "max_k |phi_k|/c, a limit of quotients [theory 5.10, 6b]"),
            "sigma_G": Constant.exact(
                c * np.sqrt(var.sum(1)), "c^2 sum_k (1 - |phi_1|^2 + |phi_2 - phi_1^2|)/2, attained [theory 5.10, 6c]"
            ),
            "sigma_H": Constant.exact(np.sqrt(var_h), one)
            if d == 1
            else Constant.upper(np.sqrt(var_h), "min(sum_k, E max_k) [theory 5.10, 6c]"),
            "B_datum": Constant.exact(c * math.sqrt(d) * full, "c sqrt(d), attained at w - z = c pi/2"),
            "L_datum": Constant.exact(full, "cos takes all of [-1, 1]"),
            "lip_gradient_z": Constant.exact(full, "location family: Lip(grad) [theory 5.8]"),
            "lip_hessian_z": Constant.exact(full / c, "location family: Lip(Hess) [theory 5.8]"),
        }
