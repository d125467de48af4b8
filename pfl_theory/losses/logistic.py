"""Logistic regression, l = log(1 + e^u) - y u, u = <w, x>, y in {0, 1}, with optional penalties."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..constants import Constant
from ..federations.federation import Federation
from ..kernels.vector_math import exp
from .loss import Loss, ball_center, checked_hyperparameter, checked_metric, class_labels
from .margin import implements_margin, sigmoid
from .row_moments import ENUMERATION_LIMIT, box_variance, row_moments, signed_sums, third_directional, user_rows

SUP_D2_SIGMOID = 1 / (6 * math.sqrt(3))  # sup |sigma''|, at |u| = ln(2 + sqrt 3)
# sup |g'|, |g''|, |g'''| of g(u) = u^2 / (1 + u^2), at u = 1/sqrt 3, 0, tan(pi/10)
SUP_NONCONVEX = (3 * math.sqrt(3) / 8, 2.0, 6 * math.cos(math.pi / 10) ** 5)
ONE_FEATURE_LIP_Z = 1.0998393202  # sup_u |sigma(u) + u sigma'(u)|, at u tanh(u/2) = 2; rounded up


class LogisticParameters(NamedTuple):
    """What the kernels see."""

    l2: float
    nonconvex: float


def phi(loss, u, y):  # type: ignore[no-untyped-def]
    return max(u, 0.0) + np.log1p(np.exp(-abs(u))) - y * u


def dphi(loss, u, y):  # type: ignore[no-untyped-def]
    return sigmoid(u) - y


def d2phi(loss, u, y):  # type: ignore[no-untyped-def]
    e = exp(-abs(u))
    q = 1.0 / (1.0 + e)  # the same division as in sigmoid: done once where both are asked for
    return e * q * q


def penalty(loss, w):  # type: ignore[no-untyped-def]
    total = 0.0
    for j in range(len(w)):
        square = w[j] * w[j]
        total += 0.5 * loss.l2 * square + loss.nonconvex * square / (1.0 + square)
    return total


def add_penalty_gradient(loss, w, out):  # type: ignore[no-untyped-def]
    for j in range(len(w)):
        q = 1.0 + w[j] * w[j]
        out[j] += loss.l2 * w[j] + loss.nonconvex * 2.0 * w[j] / (q * q)


def add_penalty_hvp(loss, w, v, out):  # type: ignore[no-untyped-def]
    for j in range(len(w)):
        q = 1.0 + w[j] * w[j]
        out[j] += (loss.l2 + loss.nonconvex * 2.0 * (1.0 - 3.0 * w[j] * w[j]) / (q * q * q)) * v[j]


def add_penalty_hessian(loss, w, out):  # type: ignore[no-untyped-def]
    for j in range(len(w)):
        q = 1.0 + w[j] * w[j]
        out[j, j] += loss.l2 + loss.nonconvex * 2.0 * (1.0 - 3.0 * w[j] * w[j]) / (q * q * q)


implements_margin(
    LogisticParameters,
    classifies=True,
    phi=phi,
    dphi=dphi,
    d2phi=d2phi,
    penalty=penalty,
    add_penalty_gradient=add_penalty_gradient,
    add_penalty_hvp=add_penalty_hvp,
    add_penalty_hessian=add_penalty_hessian,
)


@dataclass(frozen=True)
class Logistic(Loss):
    """Logistic regression, labels 0 and 1, no intercept of its own.

    l(w; x, y) = log(1 + e^<w,x>) - y <w,x> + (l2/2) ||w||^2 + nonconvex * sum_j w_j^2 / (1 + w_j^2).

    Parameters
    ----------
    l2 : float
        l2 coefficient: the factor of (1/2)||w||^2, >= 0.
    nonconvex : float
        Coefficient of the bounded nonconvex term, >= 0.

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> fed = pfl.Federation.from_arrays([[[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]], [[1, 0, 1]])
    >>> c = pfl.Problem(pfl.losses.Logistic(), fed).constants()
    >>> c["B"].how, round(c["B"].max(), 6), round(c["L"].max(), 6)
    ('exact', 0.745356, 0.441898)
    """

    l2: float = 0.0
    nonconvex: float = 0.0
    classifies: ClassVar[bool] = True
    canonical_link: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checked_hyperparameter("Logistic", "l2", self.l2)
        checked_hyperparameter("Logistic", "nonconvex", self.nonconvex)

    @property
    def convex(self) -> bool:  # type: ignore[override]
        """Without the nonconvex term."""
        return self.nonconvex == 0.0

    @property
    def one_margin(self) -> bool:  # type: ignore[override]
        """Gram steps need a penalty that is a multiple of ||w||^2."""
        return self.nonconvex == 0.0

    def span_l2(self) -> float:
        return self.l2

    def dim(self, fed: Federation) -> int:
        return fed.n_features

    def parameters(self, fed: Federation, dtype: np.dtype) -> LogisticParameters:
        return LogisticParameters(dtype.type(self.l2), dtype.type(self.nonconvex))

    def attained_on(self, radius: float, center: NDArray) -> frozenset[str]:
        at_zero = float(np.linalg.norm(center)) <= radius
        return frozenset({"L", "L_datum", "lip_hessian_z"} if at_zero else ())

    def targets(self, fed: Federation, dtype: np.dtype) -> NDArray:
        return class_labels(self, fed, 2).astype(dtype)

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
        m, d, n = row_moments(fed), self.dim(fed), fed.n_users
        c = {
            "B": self._gradient_bound(fed, m),
            "L": Constant.exact(m.lmax_s / 4, "lmax(S)/4, attained at w = 0 [theory 5.5, 2c]"),
            "rho": Constant.upper(
                third_directional(m) * SUP_D2_SIGMOID, "lmax(E||x||xx^T)/(6 sqrt 3) [theory 5.5, 2d]"
            ),
            "sigma_G": Constant.upper(
                np.sqrt([self._gradient_variance(fed, i) for i in range(n)]),
                "gradients lie on segments [theory 5.5, 2f]",
            ),
            "sigma_H": Constant.upper(np.sqrt(m.m4) / 4, "E||x||^4/16 [theory 5.5, 2f]"),
            "B_datum": Constant.exact(m.radius, "max ||x||, not attained, one datum [theory 5.5, 2a]"),
            "L_datum": Constant.exact(m.radius**2 / 4, "max ||x||^2/4, one datum [theory 5.5, 2c]"),
        }
        if self.nonconvex:
            b, curvature, third = (self.nonconvex * s for s in SUP_NONCONVEX)
            c["B"] = c["B"].plus(b * math.sqrt(d), "nonconvex term", "upper")
            c["B_datum"] = c["B_datum"].plus(b * math.sqrt(d), "nonconvex term", "upper")
            c["L"] = c["L"].plus(curvature, "nonconvex term, also largest at w = 0")
            c["L_datum"] = c["L_datum"].plus(curvature, "nonconvex term, also largest at w = 0")
            c["rho"] = c["rho"].plus(third, "nonconvex term [theory 5.5, 2g, 2h]")
        if self.l2:
            c["L"], c["L_datum"] = c["L"].plus(self.l2, "l2"), c["L_datum"].plus(self.l2, "l2")
            for name in ("B", "B_datum"):
                if radius is None:
                    c[name] = Constant.none(n, "the l2 term grows linearly; give radius= for a ball of w")
                else:
                    c[name] = c[name].plus(
                        self.l2 * (radius + float(np.linalg.norm(ball_center(d, center)))),
                        f"l2 on the ball of radius {radius:g}",
                        "upper",
                    )
        c |= self._data_constants(fed, m.radius, radius, center, metric, kappa)
        return c

    def _gradient_bound(self, fed: Federation, m) -> Constant:  # type: ignore[no-untyped-def]
        values, exact = np.empty(fed.n_users), True
        for i in range(fed.n_users):
            x, pi, y = user_rows(fed, i)
            assert y is not None
            signed = (pi * (2 * y - 1))[:, None] * x
            if x.shape[1] == 1:
                values[i] = max(signed[signed > 0].sum(), -signed[signed < 0].sum())
            elif len(x) <= ENUMERATION_LIMIT:
                values[i] = signed_sums(signed, 0.0, 1.0)
            else:
                exact = False
                values[i] = (float(np.linalg.norm(signed.sum(0))) + min(m.m1[i], math.sqrt(m.lmax_s[i]))) / 2
        if exact:
            return Constant.exact(values, "max over subsets J of ||sum_J pi s x||, not attained [theory 5.5, 2a]")
        return Constant.upper(values, "(||E s x|| + min(E||x||, sqrt lmax S))/2 [theory 5.5, 2b]")

    def _gradient_variance(self, fed: Federation, i: int) -> float:
        x, pi, y = user_rows(fed, i)
        assert y is not None
        return box_variance(np.zeros_like(x), -(2.0 * y - 1)[:, None] * x, pi)

    def _data_constants(
        self,
        fed: Federation,
        size: NDArray,
        radius: float | None,
        center: NDArray | None,
        metric: str | None,
        kappa: float | None,
    ) -> dict[str, Constant]:
        metric = checked_metric(metric, kappa, "labelled")
        n, x_max = fed.n_users, float(size.max())
        if metric == "euclidean":
            none = Constant.none(n, "labels move the gradient but not ||x - x'||; use metric='labelled' with kappa=")
            grad_jump = None
        else:
            grad_jump = x_max / kappa if kappa is not None else None
            none = Constant.none(n, "features move: give radius= for a ball of w, and kappa=")
        if fed.n_features == 1 and not (self.l2 or self.nonconvex):
            hessian = Constant.exact(np.full(n, x_max / 2), "one feature, every w: X/2 [theory 5.8, 5b]")
            gradient = (
                none
                if grad_jump is None
                else Constant.upper(
                    np.full(n, max(ONE_FEATURE_LIP_Z, grad_jump)), "one feature, every w [theory 5.8, 5a, 5b]"
                )
            )
            return {"lip_gradient_z": gradient, "lip_hessian_z": hessian}
        if radius is None:
            return {
                "lip_gradient_z": none,
                "lip_hessian_z": Constant.none(n, "features move: give radius= for a ball of w"),
            }
        s = (radius + float(np.linalg.norm(ball_center(fed.n_features, center)))) * x_max
        gradient = (
            none
            if grad_jump is None
            else Constant.upper(
                np.full(n, max(feature_lipschitz(s), grad_jump)),
                f"max(L_x, X/kappa), ball of radius {radius:g} [theory 5.8, 5a, 5c]",
            )
        )
        return {
            "lip_gradient_z": gradient,
            "lip_hessian_z": Constant.upper(
                np.full(n, x_max * (0.5 + s * SUP_D2_SIGMOID)),
                f"X(1/2 + RX/(6 sqrt 3)), ball of radius {radius:g} [theory 5.8]",
            ),
        }


def feature_lipschitz(s: float) -> float:
    """Lipschitz constant of x -> gradient on ||w|| ||x|| <= s [theory 5.8, 5c], maximised over |u| <= s and rounded up
    by 1e-6 relative.

    Examples
    --------
    >>> round(feature_lipschitz(4.0), 4)
    1.3094
    """
    # the maximum lies at u >= 0, where what stands under the root is at least 1; the grid misses it by less than the
    # margin added (docs/theory/constants.md#5-8-logistic-on-a-ball)
    u = np.linspace(0.0, s, 100_001)
    e = np.exp(-u)
    a, b = 1 / (1 + e), e / (1 + e) ** 2
    return float((0.5 * (b * s + np.sqrt(b * b * s * s + 4 * a * a + 4 * a * b * u))).max()) * (1 + 1e-6)
